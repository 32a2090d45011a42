//! Usernames: `[a-z0-9]{3,30}` after trimming and lower-casing.

use std::fmt;

use serde::Serialize;

use crate::InvalidInput;

/// A normalised username. It is unique in an installation.
#[derive(Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct Username(String);

impl Username {
    /// Normalises and checks a username that a user typed.
    pub fn parse(text: &str) -> Result<Self, InvalidInput> {
        let name = text.trim().to_ascii_lowercase();
        let valid =
            (3..=30).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        if valid {
            Ok(Self(name))
        } else {
            Err(InvalidInput::because("Username must be 3 to 30 characters, letters a-z and digits only"))
        }
    }

    /// Takes a username from the database, which holds normalised ones only.
    pub fn from_stored(text: String) -> Self {
        Self(text)
    }

    /// The normalised username as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Username {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Username {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::Username;

    #[test]
    fn usernames_are_trimmed_and_lower_cased() {
        assert_eq!(Username::parse(" AdaLovelace1 ").expect("valid").as_str(), "adalovelace1");
    }

    #[test]
    fn other_characters_and_lengths_are_refused() {
        for bad in ["", "ab", "ada_l", "ada l", "adä", &"a".repeat(31), "ada\0x"] {
            assert!(Username::parse(bad).is_err(), "{bad:?} was accepted");
        }
    }
}
