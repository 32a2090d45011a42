//! Passwords: new ones, which must follow the policy, and presented ones, which are only compared.

use unicode_normalization::UnicodeNormalization;

use crate::{InvalidInput, SecretString};

/// A new password that follows the policy, in NFC, neither trimmed nor cut.
#[derive(Clone, Debug)]
pub struct NewPassword(SecretString);

/// The longest password, in code points (NIST SP 800-63B-4 asks for at least 64).
pub const MAX_LENGTH: usize = 128;
/// The lowest minimum length that the settings may ask for, in code points.
pub const MIN_LENGTH_FLOOR: usize = 8;

/// The form in which passwords are compared with deny lists: NFC in lower case.
pub fn comparable(text: &str) -> String {
    text.nfc().collect::<String>().to_lowercase()
}

impl NewPassword {
    /// Checks the length of a new password in code points. `min` is the configured minimum.
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

    /// The password itself, for hashing only.
    pub fn expose(&self) -> &str {
        self.0.expose()
    }
}

/// The password that a user typed to sign in: any text, in NFC. It is compared and never held against the policy.
#[derive(Clone, Debug)]
pub struct PresentedPassword(SecretString);

impl PresentedPassword {
    /// Takes the typed text. A text that is longer than any password is cut to a length that no password has, so that
    /// hashing it stays cheap and it matches nothing.
    pub fn new(text: &str) -> Self {
        Self(SecretString::new(text.nfc().take(MAX_LENGTH + 1).collect::<String>()))
    }

    /// The password itself, for comparing only.
    pub fn expose(&self) -> &str {
        self.0.expose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sr_02_8_to_128_code_points_of_any_kind_never_cut() {
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
    fn an_overlong_password_never_matches_its_beginning() {
        let stored = NewPassword::parse(&"a".repeat(128), 8).expect("valid");
        assert_ne!(PresentedPassword::new(&"a".repeat(1_000_000)).expose(), stored.expose());
    }
}
