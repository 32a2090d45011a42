//! `[sentry]`: where the gateway's own errors are reported.

use portcullis_model::InvalidInput;
use portcullis_model::policy::Environment;
use portcullis_telemetry::errors::Dsn;

use crate::engine::key::{DefaultValue, Key, Section};
use crate::engine::notice::Problems;
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

pub(crate) static SECTION: Section = Section {
    name: "sentry",
    about: "Reports of the gateway's own errors, see [errors.md](errors.md).",
    keys: &[&DSN, &ENVIRONMENT, &RELEASE],
};

/// The longest name of an environment or a release, which Sentry takes.
const LONGEST: usize = 64;

pub(crate) fn read(tree: &Table, environment: Environment, problems: &mut Problems) -> Sentry {
    let mut section = Reader::open(tree, &SECTION, problems);
    let dsn = section.optional(&DSN, |text| {
        text.parse().map_err(|_| InvalidInput("write a DSN as in https://key@sentry.example.com/1".to_owned()))
    });
    Sentry {
        dsn,
        environment: section.optional(&ENVIRONMENT, name).unwrap_or_else(|| environment.as_str().to_owned()),
        release: section.optional(&RELEASE, name).unwrap_or_else(|| env!("CARGO_PKG_VERSION").to_owned()),
    }
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
        assert!(sentry.dsn.is_none());
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
            ],
        )
        .sentry;
        assert_eq!(sentry.dsn.map(|dsn| dsn.host().to_owned()).as_deref(), Some("sentry.example.com"));
        assert_eq!((sentry.environment.as_str(), sentry.release.as_str()), ("staging", "gate@7"));
        let message = refused("", &[("SENTRY_DSN", "hunter2"), ("SENTRY_RELEASE", "a/b")]);
        assert!(message.contains("write a DSN") && message.contains("without slashes"), "{message}");
        assert!(!message.contains("hunter2"), "{message}");
    }
}
