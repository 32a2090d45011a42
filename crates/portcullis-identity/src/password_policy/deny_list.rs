//! The operator's list of refused passwords: a file with one password per line.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::sync::Arc;

use portcullis_model::password::comparable;
use portcullis_model::secret::sha256;

/// A list of passwords, such as those known from breaches. It takes eight bytes per password: the beginning of a
/// hash, long enough that another password does not share it by chance.
#[derive(Clone, Debug, Default)]
pub struct DenyList(Arc<[u64]>);

/// Why a list cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum DenyListError {
    /// The file cannot be opened or read.
    #[error("the file cannot be read: {0}")]
    Unreadable(#[source] std::io::Error),
    /// A line, given by its number, is not UTF-8.
    #[error("line {0} is not UTF-8")]
    NotText(u64),
}

impl DenyList {
    /// Reads a file with one password per line. Case is ignored, and empty lines are skipped.
    pub fn read(path: &Path) -> Result<Self, DenyListError> {
        let file = std::fs::File::open(path).map_err(DenyListError::Unreadable)?;
        Self::of(BufReader::new(file))
    }

    fn of(mut lines: impl BufRead) -> Result<Self, DenyListError> {
        let mut prints = Vec::new();
        let mut line = Vec::new();
        for number in 1.. {
            line.clear();
            if lines.read_until(b'\n', &mut line).map_err(DenyListError::Unreadable)? == 0 {
                break;
            }
            let text = std::str::from_utf8(&line).map_err(|_| DenyListError::NotText(number))?;
            let text = text.strip_prefix('\u{feff}').filter(|_| number == 1).unwrap_or(text);
            let text = text.trim_end_matches(['\r', '\n']);
            if !text.is_empty() {
                prints.push(print(&comparable(text)));
            }
        }
        prints.sort_unstable();
        prints.dedup();
        Ok(Self(prints.into()))
    }

    /// Returns the number of passwords.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether the list has no password.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the list has this password, given in the form of [`comparable`].
    pub(crate) fn holds(&self, comparable: &str) -> bool {
        !self.0.is_empty() && self.0.binary_search(&print(comparable)).is_ok()
    }
}

fn print(text: &str) -> u64 {
    let digest = sha256(text.as_bytes());
    u64::from_be_bytes(*digest.first_chunk().expect("32 bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(file: &[u8]) -> Result<DenyList, DenyListError> {
        DenyList::of(file)
    }

    #[test]
    fn sr_04_lines_are_passwords_in_any_case_and_line_ending() {
        let list =
            list("\u{feff}Acme Rockets\r\n\ncafe\u{301}-paris-12\n  spaced  \nlast one".as_bytes()).expect("text");
        assert_eq!(list.len(), 4);
        for held in ["ACME rockets", "caf\u{e9}-Paris-12", "  spaced  ", "last one"] {
            assert!(list.holds(&comparable(held)), "{held}");
        }
        for other in ["", "spaced", "last one\n", "acme"] {
            assert!(!list.holds(&comparable(other)), "{other:?}");
        }
        assert!(DenyList::default().is_empty() && !DenyList::default().holds("anything"));
    }

    #[test]
    fn a_line_that_is_no_text_is_told_by_its_number() {
        let refused = list(b"fine\nalso fine\n\xff\xfe\n").expect_err("not UTF-8");
        assert_eq!(refused.to_string(), "line 3 is not UTF-8");
    }
}
