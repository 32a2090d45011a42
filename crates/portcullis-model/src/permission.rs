//! Permissions: names such as `USER_VIEW`. Operators may define further ones.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::InvalidInput;

/// A permission that Portcullis itself asks for; a constant of [`Permission`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BuiltInPermission(&'static str);

impl BuiltInPermission {
    /// Returns the name.
    pub const fn as_str(self) -> &'static str {
        self.0
    }
}

impl From<BuiltInPermission> for Permission {
    fn from(permission: BuiltInPermission) -> Self {
        Self(permission.0.into())
    }
}

impl PartialEq<Permission> for BuiltInPermission {
    fn eq(&self, other: &Permission) -> bool {
        self.0 == other.as_str()
    }
}

/// Declares the built-in permissions as constants and lists them.
macro_rules! built_in {
    ($($(#[$doc:meta])* $name:ident,)+) => {
        impl Permission {
            $($(#[$doc])* pub const $name: BuiltInPermission = BuiltInPermission(stringify!($name));)+
        }

        /// The permissions that Portcullis itself asks for.
        pub const ALL_BUILT_IN: [BuiltInPermission; BUILT_IN.len()] = [$(Permission::$name),+];

        /// The names of the permissions that Portcullis itself asks for.
        pub const BUILT_IN: [&str; [$(stringify!($name)),+].len()] = [$(stringify!($name)),+];
    };
}

built_in! {
    /// Allows to list users, their roles and permissions.
    USER_VIEW,
    /// Allows to invite users.
    USER_CREATE,
    /// Allows to change and disable users, and to list and end their sessions.
    USER_EDIT,
    /// Allows to delete users.
    USER_DELETE,
    /// Allows to change the role of users.
    USER_MANAGE_ROLES,
    /// Allows to give and take permissions beyond the role.
    USER_MANAGE_PERMISSIONS,
    /// Allows to read logs.
    SYSTEM_VIEW_LOGS,
    /// Allows to read metrics and the warnings of health checks.
    SYSTEM_VIEW_METRICS,
    /// Allows to change the running gateway, such as to reset rate limits.
    SYSTEM_MANAGE_SETTINGS,
    /// Allows to read the audit log.
    SYSTEM_VIEW_AUDIT_LOGS,
    /// Allows to see refusals and the state of rate limits.
    GATEWAY_VIEW,
    /// Allows to ask how the gate would decide on a request.
    GATEWAY_EXPLAIN,
    /// Reserved for reading the webhooks that were received. Nothing asks for it yet.
    WEBHOOKS_VIEW,
    /// Reserved for delivering a webhook again. Nothing asks for it yet.
    WEBHOOKS_REPLAY,
}

/// The name of a permission, `[A-Z][A-Z0-9_]{2,63}`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Permission(Arc<str>);

/// The permissions of a role, a user or a request.
pub type PermissionSet = BTreeSet<Permission>;

impl Permission {
    /// Checks the form of a permission's name.
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

    /// The permission's name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl JsonSchema for Permission {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Permission".into()
    }

    fn json_schema(_generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^[A-Z][A-Z0-9_]{2,63}$",
            "description": "Built in, or named by the operator's settings.",
        })
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
    fn built_in_names_follow_the_rule_for_names() {
        for name in BUILT_IN {
            assert!(Permission::parse(name).is_ok(), "{name}");
        }
        for bad in ["", "AB", "1ABC", "user_view", "_ABC", &"A".repeat(65), "USER-VIEW"] {
            assert!(Permission::parse(bad).is_err(), "{bad:?} was accepted");
        }
    }
}
