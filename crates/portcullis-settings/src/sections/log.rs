//! `[log]`: the level and the format of log lines.

use portcullis_model::{InvalidInput, policy::Environment};
use portcullis_telemetry::{LogFormat, LogOptions};

use crate::engine::key::{DefaultValue, Key, Section};
use crate::engine::notice::Problems;
use crate::engine::reader::{Reader, unknown_hint};
use crate::engine::tree::Table;
use crate::engine::values::one_of;

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

static LEVEL: Key = Key::restart(
    "level",
    DefaultValue::Text("info"),
    "`off`, `error`, `warn`, `info`, `debug`, `trace`",
    "The lowest level that is logged; `info,portcullis_gate=debug` sets another one for a part.",
)
.environment(&["LOG_LEVEL"]);
static FORMAT: Key = Key::restart(
    "format",
    DefaultValue::Described("`pretty`; in production `json`"),
    "`pretty` or `json`",
    "The form of log lines: `pretty` for a terminal, `json` one object a line.",
)
.environment(&["LOG_FORMAT"]);

pub(crate) static SECTION: Section = Section { name: "log", about: "", keys: &[&LEVEL, &FORMAT] };

pub(crate) fn read(tree: &Table, environment: Environment, problems: &mut Problems) -> LogOptions {
    let mut section = Reader::open(tree, &SECTION, problems);
    let by_default = if environment == Environment::Production { LogFormat::Json } else { LogFormat::Pretty };
    let format =
        section.optional(&FORMAT, |text| one_of(text, &[("pretty", LogFormat::Pretty), ("json", LogFormat::Json)]));
    LogOptions { filter: section.value(&LEVEL, parse_filter), format: format.unwrap_or(by_default) }
}

fn parse_filter(text: &str) -> Result<String, InvalidInput> {
    for part in text.split(',') {
        let (target, level) = part.rsplit_once('=').map_or((None, part), |(target, level)| (Some(target), level));
        if !LEVELS.contains(&level.to_ascii_lowercase().as_str()) {
            return Err(InvalidInput(unknown_hint(level, LEVELS.into_iter())));
        }
        if target.is_some_and(|target| target.is_empty() || !target.bytes().all(is_target)) {
            return Err(InvalidInput("write the name of a module before = (info,portcullis_gate=debug)".to_owned()));
        }
    }
    Ok(text.to_ascii_lowercase())
}

fn is_target(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b':'
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{PRODUCTION, refused, settings};

    #[test]
    fn levels_and_formats_are_parsed() {
        assert_eq!(settings("", &[]).log.filter, "info");
        assert_eq!(
            settings("", &[("LOG_LEVEL", "INFO,portcullis_gate=debug")]).log.filter,
            "info,portcullis_gate=debug"
        );
        assert!(refused("", &[("LOG_LEVEL", "wran")]).contains("hint: did you mean `warn`?"));
        assert!(refused("", &[("LOG_LEVEL", "info,=debug")]).contains("write the name of a module before ="));
        assert_eq!(settings("", &[]).log.format, LogFormat::Pretty);
        assert_eq!(settings("", PRODUCTION).log.format, LogFormat::Json);
        assert_eq!(settings("", &[("LOG_FORMAT", "json")]).log.format, LogFormat::Json);
    }
}
