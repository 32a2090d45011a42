//! Escaping of values, so that no value can begin a line of its own, write to a terminal or pass for another field.

use std::fmt::{self, Write};

/// The most bytes of a value or a message. A client can make some values as long as its request.
pub(super) const MAX_VALUE_BYTES: usize = 16 << 10;

/// Appends a JSON string (RFC 8259 §7). Every control character is escaped, DEL and the C1 range (U+0080 to U+009F)
/// included, which JSON would allow and a terminal obeys.
pub(super) fn push_json_string(line: &mut String, text: &str) {
    line.push('"');
    push_bounded(line, text, push_json_text);
    line.push('"');
}

/// Appends a value of the pretty format: as it is when it is one plain word, else in quotes.
pub(super) fn push_value(line: &mut String, text: &str) {
    let is_word = !text.is_empty()
        && text.len() <= MAX_VALUE_BYTES
        && !text.chars().any(|c| c.is_whitespace() || must_be_escaped(c) || matches!(c, '"' | '=' | '\\'));
    if is_word {
        line.push_str(text);
    } else {
        push_json_string(line, text);
    }
}

/// Appends a message of the pretty format: without quotes, control characters escaped.
pub(super) fn push_message(line: &mut String, text: &str) {
    push_bounded(line, text, |line, text| {
        for character in text.chars() {
            if must_be_escaped(character) {
                line.extend(character.escape_default());
            } else {
                line.push(character);
            }
        }
    });
}

/// Appends the beginning of a text, and how much was left out, if it is too long.
fn push_bounded(line: &mut String, text: &str, push: impl FnOnce(&mut String, &str)) {
    let beginning = beginning(text, MAX_VALUE_BYTES);
    push(line, beginning);
    push_left_out(line, text.len() - beginning.len());
}

/// Appends a note of what was left out of a value, if anything was.
pub(super) fn push_left_out(line: &mut String, bytes: usize) {
    if bytes > 0 {
        let _ = write!(line, "… [{bytes} more bytes]");
    }
}

/// The beginning of a text, at most so many bytes, without a part of a character.
pub(super) fn beginning(text: &str, most: usize) -> &str {
    &text[..text.floor_char_boundary(most)]
}

/// Appends the inside of a JSON string.
fn push_json_text(line: &mut String, text: &str) {
    if is_plain(text.as_bytes()) {
        line.push_str(text);
        return;
    }
    for character in text.chars() {
        match character {
            '"' => line.push_str("\\\""),
            '\\' => line.push_str("\\\\"),
            '\n' => line.push_str("\\n"),
            '\r' => line.push_str("\\r"),
            '\t' => line.push_str("\\t"),
            _ if must_be_escaped(character) => {
                let _ = write!(line, "\\u{:04x}", u32::from(character));
            }
            _ => line.push(character),
        }
    }
}

/// Whether the inside of a JSON string is the text itself. Eight bytes at a time, which the compiler compares at once.
fn is_plain(text: &[u8]) -> bool {
    let is_plain = |byte: &u8| (b' '..=b'~').contains(byte) & (*byte != b'"') & (*byte != b'\\');
    let (blocks, rest) = text.as_chunks::<8>();
    blocks.iter().all(|block| block.iter().fold(true, |all, byte| all & is_plain(byte))) && rest.iter().all(is_plain)
}

/// Whether a character could change what a reader sees of the line: controls, the line separators of Unicode, which some
/// viewers break a line at, and the controls of direction, which show a text in another order (CVE-2021-42574). All of
/// them have at most four hexadecimal digits.
fn must_be_escaped(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{2028}' | '\u{2029}' | '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        )
}

/// An error with its sources, as `what: why: why`. A source is left out if the text before names it already.
pub(super) struct WithSources<'a>(pub(super) &'a (dyn std::error::Error + 'static));

impl fmt::Display for WithSources<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = self.0.to_string();
        let mut source = self.0.source();
        while let Some(error) = source {
            let reason = error.to_string();
            if !text.contains(&reason) {
                text.push_str(": ");
                text.push_str(&reason);
            }
            source = error.source();
        }
        f.write_str(&text)
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    const HOSTILE: &str = "a\nb\r\u{1b}[2J\u{9b}31m\u{7f}\u{2028}\u{202e}\u{2066}\"\\";

    fn pushed(push: fn(&mut String, &str), text: &str) -> String {
        let mut line = String::new();
        push(&mut line, text);
        line
    }

    #[test]
    fn a_json_string_holds_no_control_character_and_reads_back() {
        let line = pushed(push_json_string, HOSTILE);
        assert_eq!(line, r#""a\nb\r\u001b[2J\u009b31m\u007f\u2028\u202e\u2066\"\\""#);
        assert_eq!(serde_json::from_str::<String>(&line).ok().as_deref(), Some(HOSTILE));
    }

    #[test]
    fn a_character_is_escaped_at_any_place_of_a_string() {
        for place in 0..20 {
            for character in ['"', '\\', '\n', '\u{7f}', 'ä'] {
                let mut text = "x".repeat(20);
                text.insert(place, character);
                let line = pushed(push_json_string, &text);
                let is_as_it_was = line == format!("\"{text}\"");
                assert_eq!((is_as_it_was, serde_json::from_str::<String>(&line).ok()), (character == 'ä', Some(text)));
            }
        }
    }

    #[test]
    fn a_pretty_value_is_quoted_unless_it_is_one_word() {
        assert_eq!(pushed(push_value, "127.0.0.1:80"), "127.0.0.1:80");
        assert_eq!(pushed(push_value, "connection refused"), "\"connection refused\"");
        assert_eq!(pushed(push_value, "x requestId=1"), "\"x requestId=1\"");
        assert_eq!(pushed(push_value, ""), "\"\"");
        assert!(!pushed(push_value, HOSTILE).chars().any(must_be_escaped));
    }

    #[test]
    fn a_pretty_message_stays_on_its_line() {
        assert_eq!(pushed(push_message, "a\nb \u{1b}[1m"), "a\\nb \\u{1b}[1m");
        assert_eq!(pushed(push_message, "a\u{202e}b\u{85}c"), "a\\u{202e}b\\u{85}c");
    }

    #[test]
    fn a_long_text_is_cut_and_says_so() {
        // Two bytes a character, so that the bound falls within one.
        let long = format!("x{}", "ä".repeat(MAX_VALUE_BYTES));
        for (push, quotes) in [(push_json_string as fn(&mut String, &str), 2), (push_value, 2), (push_message, 0)] {
            let line = pushed(push, &long);
            let note = format!("… [{} more bytes]", long.len() - (MAX_VALUE_BYTES - 1));
            assert!(line.trim_end_matches('"').ends_with(&note), "{}", &line[line.len() - 50..]);
            assert_eq!(line.len(), MAX_VALUE_BYTES - 1 + note.len() + quotes);
        }
        let exact = "x".repeat(MAX_VALUE_BYTES);
        assert_eq!(pushed(push_json_string, &exact), format!("\"{exact}\""));
    }

    #[test]
    fn each_source_of_an_error_is_written_once() {
        #[derive(Debug)]
        struct Outer(&'static str, io::Error);
        impl fmt::Display for Outer {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.0)
            }
        }
        impl std::error::Error for Outer {
            fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
                Some(&self.1)
            }
        }
        for text in ["broken", "broken: reset by peer"] {
            let error = Outer(text, io::Error::other("reset by peer"));
            assert_eq!(WithSources(&error).to_string(), "broken: reset by peer");
        }
    }
}
