//! The five roles and the permissions of each.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::permission::{self, BuiltInPermission, Permission, PermissionSet};

/// The roles from low to high. Their order is their rank.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Role {
    /// May use what every signed-in user may use, by default.
    Viewer,
    /// May use what every signed-in user may use, by default.
    Tester,
    /// The role of a new account. By default it may use what every signed-in user may use.
    Developer,
    /// May see, create and edit users, by default.
    Manager,
    /// Has every permission, those that operators define included.
    Admin,
}

impl Role {
    /// All roles, the lowest first.
    pub const ALL: [Self; 5] = [Self::Viewer, Self::Tester, Self::Developer, Self::Manager, Self::Admin];

    /// The role of users who register themselves, and of invited ones for whom none is named.
    pub const OF_REGISTRANTS: Self = Self::Developer;

    /// The role's name in the API, the database and the settings.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "VIEWER",
            Self::Tester => "TESTER",
            Self::Developer => "DEVELOPER",
            Self::Manager => "MANAGER",
            Self::Admin => "ADMIN",
        }
    }
}

impl JsonSchema for Role {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Role".into()
    }

    fn json_schema(_generator: &mut SchemaGenerator) -> Schema {
        let names = Self::ALL.map(Self::as_str);
        json_schema!({ "type": "string", "enum": names, "description": "Roles from low to high." })
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text is not one of the five role names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a role is one of VIEWER, TESTER, DEVELOPER, MANAGER, ADMIN")]
pub struct UnknownRole;

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|role| role.as_str() == text).ok_or(UnknownRole)
    }
}

/// The permissions of each role: the defaults and what the settings add.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RolePermissions {
    by_role: BTreeMap<Role, Arc<PermissionSet>>,
}

impl RolePermissions {
    /// The default permissions, and those that the settings grant to roles. `ADMIN` has every permission that is named
    /// anywhere.
    pub fn with_grants(granted: &BTreeMap<Role, Vec<Permission>>) -> Self {
        let mut by_role = BTreeMap::new();
        for role in Role::ALL {
            let mut set: PermissionSet = default_permissions(role).iter().copied().map(Permission::from).collect();
            if role == Role::Admin {
                set.extend(granted.values().flatten().cloned());
            } else {
                set.extend(granted.get(&role).into_iter().flatten().cloned());
            }
            by_role.insert(role, Arc::new(set));
        }
        Self { by_role }
    }

    /// The permissions of one role.
    pub fn of(&self, role: Role) -> &Arc<PermissionSet> {
        self.by_role.get(&role).expect("every role was inserted by the constructor")
    }

    /// Every permission that exists, which is what `ADMIN` has.
    pub fn all(&self) -> &Arc<PermissionSet> {
        self.of(Role::Admin)
    }
}

impl Default for RolePermissions {
    fn default() -> Self {
        Self::with_grants(&BTreeMap::new())
    }
}

fn default_permissions(role: Role) -> &'static [BuiltInPermission] {
    match role {
        // Anybody may become a DEVELOPER by registering, so that a permission here would be everybody's (SR-61).
        Role::Viewer | Role::Tester | Role::Developer => &[],
        Role::Manager => &[
            Permission::USER_VIEW,
            Permission::SYSTEM_VIEW_LOGS,
            Permission::USER_CREATE,
            Permission::USER_EDIT,
            Permission::SYSTEM_VIEW_METRICS,
            Permission::GATEWAY_VIEW,
        ],
        Role::Admin => &permission::ALL_BUILT_IN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_are_ordered_and_round_trip() {
        assert!(Role::Viewer < Role::Tester && Role::Manager < Role::Admin);
        for role in Role::ALL {
            assert_eq!(role.as_str().parse::<Role>(), Ok(role));
        }
        assert!("admin".parse::<Role>().is_err());
    }

    #[test]
    fn sr_61_roles_below_manager_have_no_permission_by_default() {
        let roles = RolePermissions::default();
        for role in [Role::Viewer, Role::Tester, Role::Developer] {
            assert!(roles.of(role).is_empty(), "{role}");
        }
        let of_manager: Vec<&str> = roles.of(Role::Manager).iter().map(Permission::as_str).collect();
        let expected =
            ["GATEWAY_VIEW", "SYSTEM_VIEW_LOGS", "SYSTEM_VIEW_METRICS", "USER_CREATE", "USER_EDIT", "USER_VIEW"];
        assert_eq!(of_manager, expected);
    }

    #[test]
    fn an_admin_has_operator_defined_permissions_too() {
        let custom = Permission::parse("PROJECT_VIEW").expect("valid");
        let roles = RolePermissions::with_grants(&BTreeMap::from([(Role::Developer, vec![custom.clone()])]));
        assert!(roles.of(Role::Developer).contains(&custom));
        assert!(roles.of(Role::Admin).contains(&custom));
        assert!(!roles.of(Role::Manager).contains(&custom));
        assert!(roles.of(Role::Manager).contains(&Permission::parse("USER_EDIT").expect("valid")));
        assert!(roles.of(Role::Viewer).is_empty());
    }
}
