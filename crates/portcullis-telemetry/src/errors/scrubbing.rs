//! Takes secrets and personal data out of the message of an error (SR-47).
//!
//! A message may quote what a client sent: a panic prints a value, PostgreSQL names the text that it could not read. So
//! everything in quotes goes, unless it is the name of something in the schema or in the code.

use crate::logs::{REDACTED, redacted};

/// The most characters of a message that are looked at. More is cut off.
const MOST_CHARACTERS: usize = 2_000;
/// Words before a name in quotes, as databases write them.
const BEFORE_NAMES: [&str; 10] =
    ["constraint", "relation", "table", "column", "index", "function", "type", "schema", "database", "role"];
/// Parts of names whose value is a secret.
const SECRET_NAMES: [&str; 9] =
    ["password", "passwd", "secret", "token", "cookie", "authorization", "api-key", "api_key", "csrf"];
/// Authentication schemes, which stand before a credential.
const SCHEMES: [&str; 2] = ["bearer", "basic"];

/// Returns a message without secrets, without quoted values and without e-mail addresses.
pub fn scrubbed(message: &str) -> String {
    let cut: String = message.chars().filter(|c| *c != '\0').take(MOST_CHARACTERS).collect();
    redacted(&without_secret_words(&without_quoted(&cut)))
}

/// Takes out quoted values, and those in brackets that follow a column: `Key (email)=(ada@example.com)`.
fn without_quoted(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(['"', '\'', '`', '(']) {
        let opening = rest[at..].chars().next().unwrap_or_default();
        let before = &rest[..at];
        safe.push_str(before);
        let after = &rest[at + 1..];
        let is_apostrophe = opening == '\'' && before.ends_with(char::is_alphanumeric);
        let is_value = opening != '(' || safe.ends_with('=');
        if is_apostrophe || !is_value {
            safe.push(opening);
            rest = after;
            continue;
        }
        let closing = if opening == '(' { ')' } else { opening };
        let end = end_of_quote(after, closing);
        let content = &after[..end];
        safe.push(opening);
        safe.push_str(if is_name(content, opening, before) { content } else { REDACTED });
        rest = &after[end..];
        if !rest.is_empty() {
            safe.push(closing);
            rest = &rest[1..];
        }
    }
    safe.push_str(rest);
    safe
}

/// The place of the closing quote, which no backslash escapes, or the end of the text.
fn end_of_quote(text: &str, closing: char) -> usize {
    let mut is_escaped = false;
    for (at, character) in text.char_indices() {
        if character == closing && !is_escaped {
            return at;
        }
        is_escaped = character == '\\' && !is_escaped;
    }
    text.len()
}

/// Whether something in quotes is the name of a thing in the schema, or code that Rust's own messages quote.
fn is_name(content: &str, opening: char, before: &str) -> bool {
    let is_identifier = content.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    match opening {
        '"' => is_identifier && before.split_whitespace().next_back().is_some_and(|word| BEFORE_NAMES.contains(&word)),
        '`' => matches!(content, "Result::unwrap()" | "Option::unwrap()" | "Err" | "None" | "Some" | "Ok"),
        _ => false,
    }
}

/// Takes out e-mail addresses, queries, credentials, and the values of names that tell a secret.
fn without_secret_words(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    let mut is_secret = false;
    for word in text.split_inclusive(char::is_whitespace) {
        let bare = word.trim_end();
        let space = &word[bare.len()..];
        let lower = bare.to_ascii_lowercase();
        if is_secret && !bare.is_empty() {
            safe.push_str(REDACTED);
        } else {
            push_word(&mut safe, bare, &lower);
        }
        safe.push_str(space);
        // What follows `Authorization:` is a scheme and then a credential; what follows `Cookie:` is a list.
        let names_secret = lower.ends_with([':', '=']) && is_secret_name(&lower);
        let begins_list = is_secret && (lower.ends_with(';') || SCHEMES.contains(&lower.as_str()));
        is_secret = names_secret || begins_list || SCHEMES.contains(&lower.as_str());
    }
    safe
}

fn push_word(safe: &mut String, word: &str, lower: &str) {
    if let Some((name, _)) = word.split_once('=')
        && is_secret_name(&lower[..name.len()])
    {
        safe.push_str(name);
        safe.push('=');
        safe.push_str(REDACTED);
    } else if word.contains("://") {
        // `redacted` knows URLs.
        safe.push_str(word);
    } else if let Some((path, _)) = word.split_once('?').filter(|(path, _)| path.contains('/')) {
        safe.push_str(path);
        safe.push('?');
        safe.push_str(REDACTED);
    } else {
        push_without_addresses(safe, word);
    }
}

fn is_secret_name(lower: &str) -> bool {
    SECRET_NAMES.iter().any(|name| lower.contains(name))
}

fn push_without_addresses(safe: &mut String, word: &str) {
    for part in word.split_inclusive(['<', '>', '(', ')', '[', ']', '{', '}', ',', ';', ':', '=', '"', '\'']) {
        let end =
            part.find(['<', '>', '(', ')', '[', ']', '{', '}', ',', ';', ':', '=', '"', '\'']).unwrap_or(part.len());
        let (text, delimiter) = part.split_at(end);
        let is_address = text.split_once('@').is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty());
        safe.push_str(if is_address { REDACTED } else { text });
        safe.push_str(delimiter);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sr_47_a_message_of_an_error_holds_no_secret() {
        for (message, secret) in [
            ("invalid input syntax for type uuid: \"hunter2\"", "hunter2"),
            ("Key (email)=(ada@example.com) already exists.", "ada"),
            ("Key (username)=(hunter2) already exists.", "hunter2"),
            ("near 'hunter2': syntax error", "hunter2"),
            ("called `Result::unwrap()` on an `Err` value: Weak { password: \"hunter2\" }", "hunter2"),
            ("a value with a quote: \"\\\"hunter2\"", "hunter2"),
            ("the quote does not end: \"hunter2", "hunter2"),
            ("no mailbox for ada@example.com", "example"),
            ("no mailbox <ada@example.com>, sorry", "example"),
            ("password=hunter2", "hunter2"),
            ("new_password: hunter2", "hunter2"),
            ("X-CSRF-Token: hunter2", "hunter2"),
            ("Cookie: a=hunter2; b=hunter2", "hunter2"),
            ("Authorization: Bearer hunter2", "hunter2"),
            ("sent Basic aHVu", "aHVu"),
            ("GET /reset?to=hunter2 failed", "hunter2"),
            ("https://gate.example/reset?to=hunter2 failed", "hunter2"),
            ("body {\"note\":\"hunter2\"}", "hunter2"),
        ] {
            let safe = scrubbed(message);
            assert!(!safe.contains(secret) && safe.contains(REDACTED), "{safe}");
        }
    }

    #[test]
    fn what_tells_the_cause_stays() {
        for message in [
            "duplicate key value violates unique constraint \"users_email\"",
            "relation \"users\" does not exist",
            "called `Result::unwrap()` on an `Err` value: Timeout",
            "the database doesn't answer (after 3 s): connection refused",
            "index out of bounds: the len is 3 but the index is 7",
            "the token has expired, the password is too short",
            "",
        ] {
            assert_eq!(scrubbed(message), message);
        }
    }

    #[test]
    fn a_long_message_is_cut() {
        assert_eq!(scrubbed(&"é ".repeat(100_000)).chars().count(), MOST_CHARACTERS);
    }
}
