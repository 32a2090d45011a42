//! `[sentry]`: where the gateway's own errors are reported.

use portcullis_model::InvalidInput;
use portcullis_model::policy::Environment;
use portcullis_telemetry::errors::Dsn;

use crate::engine::key::{DefaultValue, Key, Section};
use crate::engine::notice::{Notice, Problems};
use crate::engine::reader::Reader;
use crate::engine::tree::Table;

/// The section `[sentry]`.
#[derive(Clone, Debug)]
pub struct Sentry {
    /// The project that errors are reported to; `None` for none.
    pub dsn: Option<Dsn>,
    /// The environment that errors are shown under.
    pub environment: String,
    /// The release that errors are shown under, in the database too.
    pub release: String,
    /// The share of requests that are reported as transactions, from 0 to 1.
    pub traces_sample_rate: f64,
}

static DSN: Key = Key::restart(
    "dsn",
    DefaultValue::Described("none: errors are kept in the database only"),
    "URL",
    "The DSN of a project of Sentry, or of a server that speaks its protocol: `https://key@sentry.example.com/1`. Panics, 5xx \
     of the gateway's own making and failed jobs are reported there.",
)
.environment(&["SENTRY_DSN"])
.secret();
static ENVIRONMENT: Key = Key::restart(
    "environment",
    DefaultValue::Described("the environment of the gateway"),
    "text",
    "The environment that errors are shown under.",
)
.environment(&["SENTRY_ENVIRONMENT"]);
static RELEASE: Key = Key::restart(
    "release",
    DefaultValue::Described("the version of Portcullis"),
    "text",
    "The release that errors are shown under, in the database too.",
)
.environment(&["SENTRY_RELEASE"]);
static TRACES_SAMPLE_RATE: Key = Key::restart(
    "traces_sample_rate",
    DefaultValue::Text("0"),
    "share from 0 to 1",
    "The share of requests that are reported to Sentry as transactions.",
)
.environment(&["SENTRY_TRACES_SAMPLE_RATE"]);

pub(crate) static SECTION: Section = Section {
    name: "sentry",
    about: "Reports of the gateway's own errors, and of requests, see [errors.md](errors.md).",
    keys: &[&DSN, &ENVIRONMENT, &RELEASE, &TRACES_SAMPLE_RATE],
};

/// The longest name of an environment or a release, which Sentry takes.
const LONGEST: usize = 64;

pub(crate) fn read(
    tree: &Table,
    environment: Environment,
    problems: &mut Problems,
    warnings: &mut Vec<Notice>,
) -> Sentry {
    let mut section = Reader::open(tree, &SECTION, problems);
    if section.node(&DSN).is_none() && section.node(&TRACES_SAMPLE_RATE).is_some() {
        let message = "sentry.traces_sample_rate has no effect without sentry.dsn";
        warnings.push(Notice::new(&section.place_of(&TRACES_SAMPLE_RATE), message).hint("set SENTRY_DSN"));
    }
    let dsn = section.optional(&DSN, |text| {
        text.parse().map_err(|_| InvalidInput("write a DSN as in https://key@sentry.example.com/1".to_owned()))
    });
    Sentry {
        dsn,
        environment: section.optional(&ENVIRONMENT, name).unwrap_or_else(|| environment.as_str().to_owned()),
        release: section.optional(&RELEASE, name).unwrap_or_else(|| env!("CARGO_PKG_VERSION").to_owned()),
        traces_sample_rate: section.value(&TRACES_SAMPLE_RATE, share),
    }
}

fn share(text: &str) -> Result<f64, InvalidInput> {
    let share = text.parse::<f64>().ok().filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| InvalidInput("write a share from 0 to 1 (0.1 is one request in ten)".to_owned()))
}

fn name(text: &str) -> Result<String, InvalidInput> {
    if text.is_empty() || text.chars().count() > LONGEST || text.chars().any(|c| c.is_control() || c == '/') {
        return Err(InvalidInput(format!("write 1 to {LONGEST} characters, without slashes and control characters")));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use crate::testing::{refused, settings};

    #[test]
    fn errors_are_reported_nowhere_by_default() {
        let sentry = settings("", &[]).sentry;
        assert!(sentry.dsn.is_none() && sentry.traces_sample_rate.abs() < f64::EPSILON);
        assert_eq!((sentry.environment.as_str(), sentry.release.as_str()), ("development", env!("CARGO_PKG_VERSION")));
    }

    #[test]
    fn the_variables_of_sentry_are_read() {
        let sentry = settings(
            "",
            &[
                ("SENTRY_DSN", "https://key@sentry.example.com/1"),
                ("SENTRY_ENVIRONMENT", "staging"),
                ("SENTRY_RELEASE", "gate@7"),
                ("SENTRY_TRACES_SAMPLE_RATE", "0.25"),
            ],
        )
        .sentry;
        assert_eq!(sentry.dsn.map(|dsn| dsn.host().to_owned()).as_deref(), Some("sentry.example.com"));
        assert_eq!((sentry.environment.as_str(), sentry.release.as_str()), ("staging", "gate@7"));
        assert!((sentry.traces_sample_rate - 0.25).abs() < f64::EPSILON);
        let message = refused("", &[("SENTRY_DSN", "hunter2"), ("SENTRY_RELEASE", "a/b")]);
        assert!(message.contains("write a DSN") && message.contains("without slashes"), "{message}");
        assert!(!message.contains("hunter2"), "{message}");
        let message = refused("", &[("SENTRY_TRACES_SAMPLE_RATE", "10%")]);
        assert!(message.contains("write a share from 0 to 1"), "{message}");
    }

    #[test]
    fn a_share_without_a_project_gets_a_warning() {
        let warnings = settings("", &[("SENTRY_TRACES_SAMPLE_RATE", "0.1")]).warnings;
        assert!(warnings[0].message.contains("no effect without sentry.dsn"), "{warnings:?}");
    }
}
