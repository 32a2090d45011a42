//! Passwords: what a new one must be, and what a presented one is.

use unicode_normalization::UnicodeNormalization;

use crate::{InvalidInput, SecretString};

/// A password that passed the policy, in NFC, never trimmed or cut.
#[derive(Clone, Debug)]
pub struct NewPassword(SecretString);

/// The longest password, in code points (NIST SP 800-63B-4 asks for at least 64).
pub const MAX_LENGTH: usize = 128;
/// The floor under which the minimum length cannot be set.
pub const MIN_LENGTH_FLOOR: usize = 8;

/// The form in which passwords are compared with lists of those that are not
/// accepted: NFC in lower case.
pub fn comparable(text: &str) -> String {
    text.nfc().collect::<String>().to_lowercase()
}

impl NewPassword {
    /// Checks a new password against the length policy; `min` is the configured minimum.
    pub fn parse(text: &str, min: usize) -> Result<Self, InvalidInput> {
        let min = min.max(MIN_LENGTH_FLOOR);
        let normal: String = text.nfc().collect();
        if normal.contains('\0') {
            return Err(InvalidInput::because("Password must not contain a NUL character"));
        }
        let length = normal.chars().count();
        if (min..=MAX_LENGTH).contains(&length) {
            Ok(Self(SecretString::new(normal)))
        } else {
            Err(InvalidInput::because(format!("Password must be {min} to {MAX_LENGTH} characters")))
        }
    }

    /// The password, for hashing.
    pub fn expose(&self) -> &str {
        self.0.expose()
    }
}

/// Whatever was typed at a sign-in: any text at all, in NFC. It is compared, never judged.
#[derive(Clone, Debug)]
pub struct PresentedPassword(SecretString);

impl PresentedPassword {
    /// Takes what was typed. A text longer than any password could be is cut to a
    /// length that still cannot match, so that hashing it stays cheap.
    pub fn new(text: &str) -> Self {
        Self(SecretString::new(text.nfc().take(MAX_LENGTH + 1).collect::<String>()))
    }

    /// The password, for comparing.
    pub fn expose(&self) -> &str {
        self.0.expose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sr_02_from_8_to_128_code_points_spaces_and_unicode_and_never_cut() {
        assert!(NewPassword::parse("1234567", 8).is_err());
        assert!(NewPassword::parse("12345678", 8).is_ok());
        assert!(NewPassword::parse(&"é".repeat(128), 8).is_ok());
        assert!(NewPassword::parse(&"é".repeat(129), 8).is_err());
        assert_eq!(NewPassword::parse("  spaced out  ", 8).expect("valid").expose(), "  spaced out  ");
    }

    #[test]
    fn sr_01_the_minimum_cannot_be_set_under_8() {
        assert!(NewPassword::parse("1234567", 1).is_err());
        assert!(NewPassword::parse("12345678901234", 15).is_err());
    }

    #[test]
    fn sr_03_no_rule_of_composition() {
        assert!(NewPassword::parse("aaaaaaaabbbb", 8).is_ok());
    }

    #[test]
    fn a_presented_password_that_is_too_long_never_equals_its_beginning() {
        let stored = NewPassword::parse(&"a".repeat(128), 8).expect("valid");
        assert_ne!(PresentedPassword::new(&"a".repeat(1_000_000)).expose(), stored.expose());
    }
}
