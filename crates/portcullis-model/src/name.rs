//! First and last names: 1 to 50 code points, no control characters.

use serde::Serialize;

use crate::{Email, InvalidInput};

/// A user's first or last name, trimmed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct ProfileName(String);

impl ProfileName {
    /// Checks a name. The error message begins with `label`, for instance "First name".
    pub fn parse(label: &str, text: &str) -> Result<Self, InvalidInput> {
        let name = text.trim();
        if name.chars().any(char::is_control) {
            return Err(InvalidInput::because(format!("{label} must not contain control characters")));
        }
        match name.chars().take(51).count() {
            1..=50 => Ok(Self(name.to_owned())),
            _ => Err(InvalidInput::because(format!("{label} must be 1 to 50 characters"))),
        }
    }

    /// Makes a name of an e-mail address, for a user whose names nobody knows: its local part, at most 50 code points.
    pub fn of_address(email: &Email) -> Self {
        let local = email.as_str().split('@').next().unwrap_or_default();
        Self(local.chars().take(50).collect())
    }

    /// Takes a name from the database, which holds checked names only.
    pub fn from_stored(text: String) -> Self {
        Self(text)
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Checks the address of an avatar: an `https` or `http` URL, or a path, of at most 2048 bytes.
pub fn parse_avatar(text: &str) -> Result<String, InvalidInput> {
    let avatar = text.trim();
    let shape = avatar.starts_with("https://")
        || avatar.starts_with("http://")
        || (avatar.starts_with('/') && !avatar.starts_with("//"));
    if shape && avatar.len() <= 2048 && !avatar.chars().any(|c| c.is_control() || c.is_whitespace()) {
        Ok(avatar.to_owned())
    } else {
        Err(InvalidInput::because("Avatar must be an http(s) URL or a path of at most 2048 bytes"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_count_code_points_not_bytes() {
        assert!(ProfileName::parse("First name", &"é".repeat(50)).is_ok());
        assert!(ProfileName::parse("First name", &"é".repeat(51)).is_err());
        assert!(ProfileName::parse("First name", "  ").is_err());
        assert!(ProfileName::parse("First name", "A\0da").is_err());
    }

    #[test]
    fn a_name_of_an_address_is_its_local_part() {
        let name = |address: &str| ProfileName::of_address(&Email::parse(address).expect("valid")).0;
        assert_eq!(name("Ada.Lovelace@example.com"), "ada.lovelace");
        assert_eq!(name(&format!("{}@example.com", "a".repeat(64))).chars().count(), 50);
    }

    #[test]
    fn an_avatar_is_a_link_and_never_a_script() {
        assert!(parse_avatar("https://example.com/a.png").is_ok());
        assert!(parse_avatar("/avatars/a.png").is_ok());
        for bad in ["javascript:alert(1)", "//evil.example", "data:text/html,x", ""] {
            assert!(parse_avatar(bad).is_err(), "{bad:?} was accepted");
        }
    }
}
