//! `[audit]`: how long the audit log is kept.

use std::time::Duration;

use portcullis_model::InvalidInput;
use portcullis_model::duration::parse_duration;

use crate::engine::key::{DefaultValue, Key, Section};
use crate::engine::notice::Problems;
use crate::engine::reader::Reader;
use crate::engine::tree::Table;

/// The shortest time that entries are kept: a day, so that yesterday can be investigated.
const MIN_KEEP: Duration = Duration::from_secs(86_400);

static KEEP: Key = Key::restart(
    "keep",
    DefaultValue::Text("365d"),
    "duration of at least 1d, or `off`",
    "How long entries of the audit log are kept; `off` keeps them for ever. `portcullis audit export` prints them.",
);

pub(crate) static SECTION: Section = Section {
    name: "audit",
    about: "The audit log of security events, see [identity.md](identity.md#the-audit-log).",
    keys: &[&KEEP],
};

/// Reads how long entries are kept; `None` for ever.
pub(crate) fn read(tree: &Table, problems: &mut Problems) -> Option<Duration> {
    Reader::open(tree, &SECTION, problems).value(&KEEP, |text| match text {
        "off" => Ok(None),
        text => match parse_duration(text)? {
            kept if kept < MIN_KEEP => Err(InvalidInput("write at least 1d".to_owned())),
            kept => Ok(Some(kept)),
        },
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::testing::{refused, settings};

    #[test]
    fn the_log_is_kept_for_a_year_by_default() {
        assert_eq!(settings("", &[]).audit_kept, Some(Duration::from_secs(365 * 86_400)));
        assert_eq!(settings("[audit]\nkeep = \"30d\"\n", &[]).audit_kept, Some(Duration::from_secs(30 * 86_400)));
        assert_eq!(settings("[audit]\nkeep = \"off\"\n", &[]).audit_kept, None);
        assert!(refused("[audit]\nkeep = \"1h\"\n", &[]).contains("write at least 1d"));
    }
}
