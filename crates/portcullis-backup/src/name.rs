//! The name of an archive's file: `portcullis-20261127T020000Z-<id>.backup`.

use std::fmt;

use portcullis_model::Timestamp;

use crate::archive::Manifest;

const PREFIX: &str = "portcullis-";
const SUFFIX: &str = ".backup";
/// `20261127T020000Z`.
const TIME_CHARACTERS: usize = 16;
/// Hexadecimal digits of an id.
const ID_DIGITS: usize = 16;

/// The name of an archive: when its snapshot was begun, in UTC, and its id. Names sort by time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ArchiveName {
    time: String,
    id: String,
}

impl ArchiveName {
    /// Returns the name of an archive that was begun at that time.
    pub fn new(created_at: Timestamp, id: &str) -> Self {
        Self { time: created_at.format("%Y%m%dT%H%M%SZ").to_string(), id: id.to_owned() }
    }

    /// Returns the name that an archive with this manifest was made under.
    pub fn of(manifest: &Manifest) -> Self {
        Self::new(manifest.created_at.0, &manifest.id)
    }

    /// Reads a name; `None` for a file that is no archive.
    pub fn parse(name: &str) -> Option<Self> {
        let (time, id) = name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?.split_once('-')?;
        let is_time = time.len() == TIME_CHARACTERS
            && time.bytes().enumerate().all(|(position, byte)| match position {
                8 => byte == b'T',
                15 => byte == b'Z',
                _ => byte.is_ascii_digit(),
            });
        let is_id = id.len() == ID_DIGITS && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        (is_time && is_id).then(|| Self { time: time.to_owned(), id: id.to_owned() })
    }

    /// The archive's id.
    pub fn id(&self) -> &str {
        &self.id
    }
}

impl fmt::Display for ArchiveName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { time, id } = self;
        write!(f, "{PREFIX}{time}-{id}{SUFFIX}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_time_and_id() {
        let at = Timestamp::from_timestamp_micros(1_795_744_800_000_001).expect("a time");
        let name = ArchiveName::new(at, "0123456789abcdef");
        assert_eq!(name.to_string(), "portcullis-20261127T020000Z-0123456789abcdef.backup");
        assert_eq!(ArchiveName::parse(&name.to_string()), Some(name));
    }

    #[test]
    fn other_names_are_no_archives() {
        for name in [
            "portcullis-20261127T020000Z-0123456789abcdef.backup.partial",
            ".portcullis-20261127T020000Z-0123456789abcdef.backup",
            "portcullis-20261127T020000Z-../../etc/passwd.backup",
            "portcullis-20261127T020000Z-0123456789abcde/.backup",
            "portcullis-2026-11-27T02000-0123456789abcdef.backup",
            "portcullis-20261127T020000Z-0123456789ABCDEF.backup",
            "backup.tar",
        ] {
            assert_eq!(ArchiveName::parse(name), None, "{name}");
        }
    }
}
