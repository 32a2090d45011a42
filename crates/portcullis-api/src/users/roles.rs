//! The permissions that exist, and those of each role.

use portcullis_model::{PermissionSet, Role};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};

use crate::input::path;
use crate::operation::{Example, Operation, Tag};
use crate::{ApiError, Call, Reply};

pub(crate) const ALL_PERMISSIONS: Operation =
    Operation::new("allPermissions", Tag::Users, "List every permission", "Permissions retrieved successfully");

pub(crate) const ROLE_PERMISSIONS: Operation = Operation::new(
    "rolePermissions",
    Tag::Users,
    "List the permissions of a role",
    "Permissions retrieved successfully",
);

/// Every permission: the built-in ones and those of the settings.
#[derive(Serialize, JsonSchema)]
pub(crate) struct AllPermissions {
    permissions: PermissionSet,
}

impl Example for AllPermissions {
    fn example() -> Value {
        json!({ "permissions": ["USER_VIEW"] })
    }
}

/// A role and its permissions.
#[derive(Serialize, JsonSchema)]
pub(crate) struct RolePermissions {
    role: Role,
    permissions: PermissionSet,
}

impl Example for RolePermissions {
    fn example() -> Value {
        json!({ "role": "TESTER", "permissions": ["USER_VIEW"] })
    }
}

/// `GET /api/v1/users/permissions/all`
pub(crate) async fn all_permissions(call: Call) -> Result<Reply<AllPermissions>, ApiError> {
    let permissions = (**call.services.identity.administration.roles().all()).clone();
    Ok(ALL_PERMISSIONS.reply(&AllPermissions { permissions }))
}

/// `GET /api/v1/users/roles/{role}/permissions`
pub(crate) async fn role_permissions(
    call: Call,
    path::Role(role): path::Role,
) -> Result<Reply<RolePermissions>, ApiError> {
    let permissions = (**call.services.identity.administration.roles().of(role)).clone();
    Ok(ROLE_PERMISSIONS.reply(&RolePermissions { role, permissions }))
}
