//! `[log]`: the level and the format of log lines, and the access log.

use std::time::Duration;

use portcullis_gate::AccessLog;
use portcullis_model::duration::parse_duration;
use portcullis_model::{InvalidInput, policy::Environment};
use portcullis_telemetry::logs::{InvalidFilter, LogFilter, LogFormat, LogOptions};

use crate::engine::key::{DefaultValue, Key, Section};
use crate::engine::notice::Problems;
use crate::engine::reader::{Reader, unknown_hint};
use crate::engine::tree::Table;
use crate::engine::values::one_of;

static LEVEL: Key = Key::live(
    "level",
    DefaultValue::Text("info"),
    "`off`, `error`, `warn`, `info`, `debug`, `trace`",
    "The lowest level that is logged; `info,portcullis_gate=debug` sets another one for a module. `portcullis log-level` changes \
     it for a while.",
)
.environment(&["LOG_LEVEL"]);
static FORMAT: Key = Key::restart(
    "format",
    DefaultValue::Described("`pretty`; in production `json`"),
    "`pretty` or `json`",
    "The form of log lines: `pretty` for a terminal, `json` one object a line.",
)
.environment(&["LOG_FORMAT"]);

static ACCESS: Key = Key::live(
    "access",
    DefaultValue::Described("`all`; in production `errors`"),
    "`all`, `errors`, `off` or `sample:<share>`",
    "The requests that get a line with the target `access` when they end ([logging](logging.md)): `errors` are statuses of 5xx and \
     responses slower than `slow`; `sample:0.01` is one request in a hundred.",
);
static SLOW: Key = Key::live(
    "slow",
    DefaultValue::Text("1s"),
    "duration, also in milliseconds (`500ms`)",
    "The time to the head of the response above which `access = \"errors\"` shows a request.",
);

pub(crate) static SECTION: Section = Section { name: "log", about: "", keys: &[&LEVEL, &FORMAT, &ACCESS, &SLOW] };

pub(crate) fn read(tree: &Table, environment: Environment, problems: &mut Problems) -> (LogOptions, AccessLog) {
    let mut section = Reader::open(tree, &SECTION, problems);
    let by_default = if environment == Environment::Production { LogFormat::Json } else { LogFormat::Pretty };
    let format =
        section.optional(&FORMAT, |text| one_of(text, &[("pretty", LogFormat::Pretty), ("json", LogFormat::Json)]));
    let options = LogOptions { filter: section.value(&LEVEL, parse_log_filter), format: format.unwrap_or(by_default) };
    let slow = section.value(&SLOW, parse_slow);
    let access = section.optional(&ACCESS, |text| parse_access(text, slow)).unwrap_or(match environment {
        Environment::Production => AccessLog::Errors { slow },
        Environment::Development | Environment::Test => AccessLog::All,
    });
    (options, access)
}

/// A duration as elsewhere, or milliseconds.
fn parse_slow(text: &str) -> Result<Duration, InvalidInput> {
    match text.strip_suffix("ms").map(str::parse) {
        Some(Ok(millis)) => Ok(Duration::from_millis(u32::into(millis))),
        Some(Err(_)) | None => parse_duration(text).map_err(|reason| InvalidInput(format!("{reason}; or 500ms"))),
    }
}

fn parse_access(text: &str, slow: Duration) -> Result<AccessLog, InvalidInput> {
    if let Some(share) = text.strip_prefix("sample:") {
        let share = share.parse::<f64>().ok().filter(|share| (0.0..=1.0).contains(share));
        return share.map(AccessLog::Sample).ok_or_else(|| {
            InvalidInput("write a share from 0 to 1 after sample: (sample:0.01 is one request in a hundred)".to_owned())
        });
    }
    match text {
        "all" => Ok(AccessLog::All),
        "errors" => Ok(AccessLog::Errors { slow }),
        "off" => Ok(AccessLog::Off),
        _ => Err(InvalidInput(unknown_hint(text, ["all", "errors", "off", "sample:0.01"].into_iter()))),
    }
}

/// Parses the value of `log.level`, which `portcullis log-level` takes too.
///
/// # Errors
/// When a level or a module is unknown. The error is the hint.
pub fn parse_log_filter(text: &str) -> Result<LogFilter, InvalidInput> {
    LogFilter::parse(text).map_err(|invalid| {
        InvalidInput(match invalid {
            InvalidFilter::Level(level) => unknown_hint(&level, LogFilter::LEVELS.into_iter()),
            InvalidFilter::Module(module) => {
                let name = module.split("::").next().unwrap_or_default();
                format!("no crate logs as `{name}`; {}", unknown_hint(name, LogFilter::CRATES.into_iter()))
            }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{PRODUCTION, refused, settings};

    #[test]
    fn levels_and_formats_are_parsed() {
        assert_eq!(settings("", &[]).log.filter.to_string(), "info");
        assert_eq!(
            settings("", &[("LOG_LEVEL", "INFO,portcullis_gate=debug")]).log.filter.to_string(),
            "info,portcullis_gate=debug"
        );
        assert!(refused("", &[("LOG_LEVEL", "wran")]).contains("hint: did you mean `warn`?"));
        let message = refused("", &[("LOG_LEVEL", "info,portcullis_gat=debug")]);
        assert!(message.contains("no crate logs as `portcullis_gat`; did you mean `portcullis_gate`?"), "{message}");
        assert_eq!(settings("", &[]).log.format, LogFormat::Pretty);
        assert_eq!(settings("", PRODUCTION).log.format, LogFormat::Json);
        assert_eq!(settings("", &[("LOG_FORMAT", "json")]).log.format, LogFormat::Json);
    }

    #[test]
    fn the_access_log_shows_errors_in_production_and_else_all() {
        let second = Duration::from_secs(1);
        assert_eq!(settings("", &[]).access_log, AccessLog::All);
        assert_eq!(settings("", PRODUCTION).access_log, AccessLog::Errors { slow: second });
        let file =
            |access: &str| settings(&format!("[log]\naccess = \"{access}\"\nslow = \"250ms\"\n"), &[]).access_log;
        assert_eq!(file("errors"), AccessLog::Errors { slow: second / 4 });
        assert_eq!(file("off"), AccessLog::Off);
        assert_eq!(file("sample:0.01"), AccessLog::Sample(0.01));
        assert_eq!(settings("", &[("PORTCULLIS__LOG__ACCESS", "off")]).access_log, AccessLog::Off);
    }

    #[test]
    fn a_bad_access_mode_is_refused_with_a_hint() {
        let message = |access: &str| refused(&format!("[log]\naccess = \"{access}\"\n"), &[]);
        assert!(message("error").contains("did you mean `errors`?"), "{}", message("error"));
        for bad in ["sample:", "sample:1.5", "sample:-1", "sample:NaN", "sample:1%"] {
            assert!(message(bad).contains("sample:0.01 is one request in a hundred"), "{bad}: {}", message(bad));
        }
        assert!(refused("[log]\nslow = \"fast\"\n", &[]).contains("log.slow"));
    }
}
