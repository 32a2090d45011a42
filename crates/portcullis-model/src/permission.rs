//! Permissions: names such as `USER_VIEW`; operators define more.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::InvalidInput;

/// The permissions Portcullis itself asks for.
pub const BUILT_IN: [&str; 12] = [
    "USER_VIEW",
    "USER_CREATE",
    "USER_EDIT",
    "USER_DELETE",
    "USER_MANAGE_ROLES",
    "USER_MANAGE_PERMISSIONS",
    "SYSTEM_VIEW_LOGS",
    "SYSTEM_VIEW_METRICS",
    "SYSTEM_MANAGE_SETTINGS",
    "SYSTEM_VIEW_AUDIT_LOGS",
    "GATEWAY_VIEW",
    "GATEWAY_EXPLAIN",
];

/// A permission's name, `[A-Z][A-Z0-9_]{2,63}`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Permission(Arc<str>);

/// What somebody may do.
pub type PermissionSet = BTreeSet<Permission>;

impl Permission {
    /// Checks a name.
    pub fn parse(text: &str) -> Result<Self, InvalidInput> {
        let mut bytes = text.bytes();
        let valid = (3..=64).contains(&text.len())
            && bytes.next().is_some_and(|b| b.is_ascii_uppercase())
            && bytes.all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
        if valid {
            Ok(Self(text.into()))
        } else {
            Err(InvalidInput::because(
                "A permission is 3 to 64 characters: a capital letter, then capitals, digits and _",
            ))
        }
    }

    /// One of [`BUILT_IN`].
    pub fn built_in(name: &'static str) -> Self {
        debug_assert!(BUILT_IN.contains(&name), "{name}");
        Self(name.into())
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Permission {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn built_in_names_follow_the_rule_that_others_must_follow() {
        for name in BUILT_IN {
            assert!(Permission::parse(name).is_ok(), "{name}");
        }
        for bad in ["", "AB", "1ABC", "user_view", "_ABC", &"A".repeat(65), "USER-VIEW"] {
            assert!(Permission::parse(bad).is_err(), "{bad:?} was accepted");
        }
    }
}
