//! Which errors belong together: those of one kind, place and message, whatever numbers and ids the message contains.

use std::fmt::Write as _;

use super::Fault;

/// The shortest run of hexadecimal digits that is taken for an id.
const ID_LENGTH: usize = 8;

impl Fault {
    /// What the errors of a group have in common, as text.
    pub(super) fn group(&self) -> String {
        let mut group = self.kind.as_str().to_owned();
        for part in [&self.route, &self.location] {
            let _ = write!(group, "\n{}", part.as_deref().unwrap_or_default());
        }
        group.push('\n');
        push_without_numbers(&mut group, &self.message);
        group
    }
}

/// Appends a text with a mark in the place of each number and id.
fn push_without_numbers(group: &mut String, text: &str) {
    let mut rest = text;
    while let Some(start) = rest.find(is_of_word) {
        group.push_str(&rest[..start]);
        rest = &rest[start..];
        let end = rest.find(|c| !is_of_word(c)).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        if is_id(word) {
            group.push('*');
        } else {
            let mut in_number = false;
            for character in word.chars() {
                let is_digit = character.is_ascii_digit();
                if !is_digit || !in_number {
                    group.push(if is_digit { '*' } else { character });
                }
                in_number = is_digit;
            }
        }
        rest = after;
    }
    group.push_str(rest);
}

fn is_of_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '-'
}

/// Hexadecimal digits, in groups as of a UUID or not.
fn is_id(word: &str) -> bool {
    word.len() >= ID_LENGTH
        && word.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
        && word.bytes().any(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn without_numbers(text: &str) -> String {
        let mut group = String::new();
        push_without_numbers(&mut group, text);
        group
    }

    #[test]
    fn numbers_and_ids_do_not_tell_groups_apart() {
        for (one, other) in [
            ("row 17 of 250 is broken", "row 4 of 9 is broken"),
            ("user 0198c2a4-7d1e-7c3b-9a55-0123456789ab", "user 0198c2a4-ffff-7c3b-9a55-0123456789ab"),
            ("request 3a2f2ffb7b57d1e1", "request 00000000000000ff"),
            ("127.0.0.1:5432 refused", "10.20.30.40:5433 refused"),
        ] {
            assert_eq!(without_numbers(one), without_numbers(other));
        }
    }

    #[test]
    fn words_tell_groups_apart() {
        for (one, other) in [("the table users", "the table sessions"), ("deadbeef", "feedface"), ("é", "è")] {
            assert_ne!(without_numbers(one), without_numbers(other));
        }
        assert_eq!(without_numbers("index users_email of v2 – 1,5"), "index users_email of v* – *,*");
    }
}
