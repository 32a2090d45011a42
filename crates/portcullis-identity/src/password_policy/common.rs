//! The passwords that people use most, which guessers try first (requirement 4).

use std::cmp::Ordering;

/// In lower case, one a line, in the order of their bytes; those of at least 8
/// characters. `common_passwords.licence.txt` says where they come from.
static LIST: &str = include_str!("common_passwords.txt");

/// Whether this, in lower case, is one of them.
pub(crate) fn is_common(lower: &str) -> bool {
    holds_line(LIST, lower)
}

/// Whether one of the sorted lines is this.
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
    fn sr_04_the_list_is_sorted_in_lower_case_and_holds_ten_thousand_that_are_long_enough() {
        let lines: Vec<&str> = LIST.lines().collect();
        assert!(lines.len() >= 10_000, "{}", lines.len());
        assert!(lines.is_sorted_by(|one, next| one.as_bytes() < next.as_bytes()));
        for line in &lines {
            assert!(line.chars().count() >= 8 && *line == line.to_lowercase(), "{line:?}");
        }
    }

    #[test]
    fn every_line_is_found_and_nothing_else() {
        for line in LIST.lines() {
            assert!(is_common(line), "{line}");
        }
        for other in ["", "\n", "passwor", "password\n", "correct horse battery staple", "~~~~~~~~~~~~~", "\u{10ffff}"]
        {
            assert!(!is_common(other), "{other:?}");
        }
        for lines in ["", "b", "b\n", "b\nd", "b\nd\n"] {
            for word in ["a", "b", "c", "d", "e", ""] {
                let there = lines.lines().any(|line| line == word);
                assert_eq!(holds_line(lines, word), there, "{word:?} in {lines:?}");
            }
        }
    }
}
