//! The most used passwords, which guessers try first (SR-04).

use std::cmp::Ordering;

/// One password per line in lower case, of at least 8 characters, sorted by bytes.
/// `most_used_passwords.licence.txt` names the source.
static LIST: &str = include_str!("most_used_passwords.txt");

/// Whether a password, given in lower case, is on the list.
pub(crate) fn is_most_used(lower: &str) -> bool {
    holds_line(LIST, lower)
}

/// Whether one of the sorted lines equals `wanted`.
fn holds_line(lines: &str, wanted: &str) -> bool {
    let bytes = lines.as_bytes();
    let (mut low, mut high) = (0, bytes.len());
    while low < high {
        let middle = low + (high - low) / 2;
        let begin = bytes[low..middle].iter().rposition(|byte| *byte == b'\n').map_or(low, |at| low + at + 1);
        let end = bytes[middle..high].iter().position(|byte| *byte == b'\n').map_or(high, |at| middle + at);
        match bytes[begin..end].cmp(wanted.as_bytes()) {
            Ordering::Equal => return true,
            Ordering::Less => low = end + 1,
            Ordering::Greater => high = begin,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sr_04_the_list_has_ten_thousand_sorted_passwords() {
        let lines: Vec<&str> = LIST.lines().collect();
        assert!(lines.len() >= 10_000, "{}", lines.len());
        assert!(lines.is_sorted_by(|one, next| one.as_bytes() < next.as_bytes()));
        for line in &lines {
            assert!(line.chars().count() >= 8 && *line == line.to_lowercase(), "{line:?}");
        }
    }

    #[test]
    fn every_line_is_found_and_no_other_text() {
        for line in LIST.lines() {
            assert!(is_most_used(line), "{line}");
        }
        for other in ["", "\n", "passwor", "password\n", "correct horse battery staple", "~~~~~~~~~~~~~", "\u{10ffff}"]
        {
            assert!(!is_most_used(other), "{other:?}");
        }
        for lines in ["", "b", "b\n", "b\nd", "b\nd\n"] {
            for word in ["a", "b", "c", "d", "e", ""] {
                let there = lines.lines().any(|line| line == word);
                assert_eq!(holds_line(lines, word), there, "{word:?} in {lines:?}");
            }
        }
    }
}
