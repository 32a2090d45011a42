//! Escaping of values, so that no value can begin a line of its own, write to a terminal or pass for another field.

use std::fmt::{self, Write};

/// Appends a JSON string (RFC 8259 §7). Every control character is escaped, DEL and the C1 range (U+0080 to U+009F)
/// included, which JSON would allow and a terminal obeys.
pub(super) fn push_json_string(line: &mut String, text: &str) {
    line.push('"');
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
    line.push('"');
}

/// Appends a value of the pretty format: as it is when it is one plain word, else in quotes.
pub(super) fn push_value(line: &mut String, text: &str) {
    let is_word = !text.is_empty()
        && !text.chars().any(|c| c.is_whitespace() || must_be_escaped(c) || matches!(c, '"' | '=' | '\\'));
    if is_word {
        line.push_str(text);
    } else {
        push_json_string(line, text);
    }
}

/// Appends a message of the pretty format: without quotes, control characters escaped.
pub(super) fn push_message(line: &mut String, text: &str) {
    for character in text.chars() {
        if must_be_escaped(character) {
            line.extend(character.escape_default());
        } else {
            line.push(character);
        }
    }
}

/// Line separators of Unicode count too: some viewers break a line at them.
fn must_be_escaped(character: char) -> bool {
    character.is_control() || matches!(character, '\u{2028}' | '\u{2029}')
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

    const HOSTILE: &str = "a\nb\r\u{1b}[2J\u{9b}31m\u{7f}\u{2028}\"\\";

    fn pushed(push: fn(&mut String, &str), text: &str) -> String {
        let mut line = String::new();
        push(&mut line, text);
        line
    }

    #[test]
    fn a_json_string_holds_no_control_character_and_reads_back() {
        let line = pushed(push_json_string, HOSTILE);
        assert!(!line.chars().any(must_be_escaped), "{line:?}");
        assert_eq!(line, r#""a\nb\r\u001b[2J\u009b31m\u007f\u2028\"\\""#);
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
