//! E-mail addresses, normalised so that one mailbox has one spelling.

use std::fmt;

use serde::Serialize;
use unicode_normalization::UnicodeNormalization;

use crate::InvalidInput;

/// A normalised e-mail address: trimmed, the local part in NFC with ASCII letters in lower case, the domain as its A-label
/// (RFC 5890), exactly one `@`, at most 254 bytes (RFC 5321 §4.5.3.1.3 without the angle brackets).
#[derive(Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct Email(String);

/// The longest address accepted, in bytes.
const MAX_BYTES: usize = 254;
/// The longest local part, in bytes (RFC 5321 §4.5.3.1.1).
const MAX_LOCAL_BYTES: usize = 64;

impl Email {
    /// Normalises and checks an address that a user typed.
    pub fn parse(text: &str) -> Result<Self, InvalidInput> {
        let reject = || InvalidInput::because("Email must be a valid email address");
        let trimmed = text.trim();
        let (local, domain) = trimmed.split_once('@').ok_or_else(reject)?;
        if local.is_empty() || domain.contains('@') {
            return Err(reject());
        }
        let local: String = local.nfc().map(|c| c.to_ascii_lowercase()).collect();
        if local.len() > MAX_LOCAL_BYTES || !valid_local(&local) {
            return Err(reject());
        }
        let domain = idna::domain_to_ascii_strict(domain).map_err(|_| reject())?;
        if !valid_domain(&domain) {
            return Err(reject());
        }
        let normalised = format!("{local}@{domain}");
        if normalised.len() > MAX_BYTES {
            return Err(InvalidInput::because(format!("Email must be at most {MAX_BYTES} bytes")));
        }
        Ok(Self(normalised))
    }

    /// Takes an address from the database, which holds normalised addresses only.
    pub fn from_stored(text: String) -> Self {
        Self(text)
    }

    /// The normalised address as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Accepts the dot-atom of RFC 5322 §3.2.3 with the non-ASCII letters of RFC 6531. Quoted strings and comments are
/// refused, as nearly every mailbox provider does.
fn valid_local(local: &str) -> bool {
    local.split('.').all(|atom| {
        !atom.is_empty()
            && atom.chars().all(|c| {
                if c.is_ascii() {
                    c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c)
                } else {
                    !c.is_control() && !c.is_whitespace() && !invisible(c)
                }
            })
    })
}

/// Whether a character is invisible: it would make two different addresses look alike.
fn invisible(c: char) -> bool {
    matches!(c, '\u{00ad}' | '\u{061c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff0}'..='\u{fffb}')
}

fn valid_domain(domain: &str) -> bool {
    !domain.is_empty()
        && domain.len() <= 253
        && domain.split('.').all(|label| {
            !label.is_empty()
                && label.len() <= 63
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_mailbox_has_one_spelling() {
        for spelling in ["Ada@Example.COM", " ada@example.com ", "ADA@EXAMPLE.com"] {
            assert_eq!(Email::parse(spelling).expect("valid").as_str(), "ada@example.com");
        }
        assert_eq!(Email::parse("ada@bücher.example").expect("valid").as_str(), "ada@xn--bcher-kva.example");
        assert_eq!(Email::parse("ada+tag@example.com").expect("valid").as_str(), "ada+tag@example.com");
    }

    #[test]
    fn what_is_not_an_address_is_refused() {
        let long = format!("{}@example.com", "a".repeat(320));
        for bad in [
            "",
            "ada",
            "@example.com",
            "ada@",
            "a@b@example.com",
            "ada@-x.com",
            "a b@example.com",
            "ada@exam ple.com",
            ".ada@example.com",
            "ada.@example.com",
            "a..b@example.com",
            "\"ada\"@example.com",
            "ada(comment)@example.com",
            "ada@[127.0.0.1]",
            "ada\0@example.com",
            "ada\r\n@example.com",
            "a\u{200b}da@example.com",
            &long,
        ] {
            assert!(Email::parse(bad).is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn parsing_what_was_parsed_changes_nothing() {
        let once = Email::parse("A\u{0301}da@Bücher.example").expect("valid");
        assert_eq!(Email::parse(once.as_str()).expect("valid"), once);
    }
}
