//! `[audit]`: how long the audit log is kept.

use std::time::Duration;

use portcullis_model::InvalidInput;
use portcullis_model::duration::parse_duration;

use crate::engine::key::{Key, Preset, Section};
use crate::engine::notice::Problems;
use crate::engine::reader::Reader;
use crate::engine::tree::Table;

/// A day: shorter, and nobody could look into what happened yesterday.
const LEAST: Duration = Duration::from_secs(86_400);

static KEEP: Key = Key::new(
    "keep",
    Preset::Value("365d"),
    "duration of at least 1d, or `off`",
    "How long lines of the audit log are kept; `off` keeps them for ever. `portcullis audit export` writes them out.",
);

pub(crate) static SECTION: Section = Section { name: "audit", keys: &[&KEEP] };

/// How long lines are kept; `None` for ever.
pub(crate) fn read(tree: &Table, problems: &mut Problems) -> Option<Duration> {
    Reader::open(tree, &SECTION, problems).value(&KEEP, |text| match text {
        "off" => Ok(None),
        text => match parse_duration(text)? {
            kept if kept < LEAST => Err(InvalidInput("the audit log is kept for a day at least (1d)".to_owned())),
            kept => Ok(Some(kept)),
        },
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::testing::{refused, settings};

    #[test]
    fn the_log_is_kept_for_a_year_or_as_long_as_one_says() {
        assert_eq!(settings("", &[]).audit_kept, Some(Duration::from_secs(365 * 86_400)));
        assert_eq!(settings("[audit]\nkeep = \"30d\"\n", &[]).audit_kept, Some(Duration::from_secs(30 * 86_400)));
        assert_eq!(settings("[audit]\nkeep = \"off\"\n", &[]).audit_kept, None);
        assert!(refused("[audit]\nkeep = \"1h\"\n", &[]).contains("for a day at least"));
    }
}
