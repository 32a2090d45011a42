//! The permissions of one user.

use portcullis_identity::{IdentityError, PermissionChange, UserDetails};
use portcullis_model::{Permission, PermissionSet, UserId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::input::{Body, path};
use crate::operation::{Example, Operation, Tag};
use crate::{ApiError, Call, Reply};

const UPDATED: &str = "Permissions updated successfully";

pub(crate) const SHOW: Operation =
    Operation::new("userPermissions", Tag::Users, "Show a user's permissions", "Permissions retrieved successfully");

pub(crate) const SET: Operation =
    Operation::new("setPermissions", Tag::Users, "Set the permissions that a user holds beyond the role", UPDATED);

pub(crate) const ADD: Operation = Operation::new("addPermission", Tag::Users, "Give a user a permission", UPDATED);

pub(crate) const REMOVE: Operation =
    Operation::new("removePermission", Tag::Users, "Take a permission from a user", UPDATED);

/// What a user may do, and why.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct UserPermissions {
    /// Those of the role.
    role_permissions: PermissionSet,
    /// Those that the user holds beyond the role.
    custom_permissions: PermissionSet,
    /// Both together.
    all_permissions: PermissionSet,
}

impl From<&UserDetails> for UserPermissions {
    fn from(view: &UserDetails) -> Self {
        Self {
            role_permissions: (*view.role_permissions).clone(),
            custom_permissions: view.custom_permissions.clone(),
            all_permissions: view.all_permissions(),
        }
    }
}

impl Example for UserPermissions {
    fn example() -> Value {
        json!({
            "rolePermissions": ["SYSTEM_VIEW_LOGS", "USER_VIEW"],
            "customPermissions": [],
            "allPermissions": ["SYSTEM_VIEW_LOGS", "USER_VIEW"],
        })
    }
}

/// The permissions that a user shall hold beyond the role.
#[derive(Deserialize, JsonSchema)]
pub(crate) struct SetPermissionsRequest {
    #[schemars(with = "Vec<Permission>")]
    permissions: Vec<String>,
}

impl SetPermissionsRequest {
    /// Parses the names, and tells every one that is no permission's.
    fn parse(self) -> Result<PermissionSet, ApiError> {
        let mut permissions = PermissionSet::new();
        let mut problems = Vec::new();
        for text in self.permissions {
            match Permission::parse(&text) {
                Ok(permission) => _ = permissions.insert(permission),
                Err(rejected) => problems.push(rejected.0),
            }
        }
        if problems.is_empty() { Ok(permissions) } else { Err(ApiError::validation(problems)) }
    }
}

impl Example for SetPermissionsRequest {
    fn example() -> Value {
        json!({ "permissions": ["USER_VIEW"] })
    }
}

/// `GET /api/v1/users/{id}/permissions`
pub(crate) async fn show(call: Call, path::User(id): path::User) -> Result<Reply<UserPermissions>, ApiError> {
    let view = call.services.identity.administration.user(id).await?;
    Ok(SHOW.reply(&UserPermissions::from(&view)).private())
}

/// `PUT /api/v1/users/{id}/permissions`
pub(crate) async fn set(
    call: Call,
    (Body(request), path::User(id)): (Body<SetPermissionsRequest>, path::User),
) -> Result<Reply<UserPermissions>, ApiError> {
    let change = PermissionChange::Set(request.parse()?);
    change_permissions(&call, &SET, id, change).await.map_err(|error| refusal(error, ApiError::validation))
}

/// `POST /api/v1/users/{id}/permissions/{permission}`
pub(crate) async fn add(
    call: Call,
    (path::Permission(permission), path::User(id)): (path::Permission, path::User),
) -> Result<Reply<UserPermissions>, ApiError> {
    let change = PermissionChange::Add(permission);
    change_permissions(&call, &ADD, id, change).await.map_err(|error| refusal(error, ApiError::invalid_path))
}

/// `DELETE /api/v1/users/{id}/permissions/{permission}`
pub(crate) async fn remove(
    call: Call,
    (path::Permission(permission), path::User(id)): (path::Permission, path::User),
) -> Result<Reply<UserPermissions>, ApiError> {
    let change = PermissionChange::Remove(permission);
    change_permissions(&call, &REMOVE, id, change).await.map_err(|error| refusal(error, ApiError::invalid_path))
}

async fn change_permissions(
    call: &Call,
    operation: &Operation,
    id: UserId,
    change: PermissionChange,
) -> Result<Reply<UserPermissions>, IdentityError> {
    let administration = &call.services.identity.administration;
    let view = administration.change_permissions(&call.actor(), id, change, &call.caller()).await?;
    Ok(operation.reply(&UserPermissions::from(&view)).private())
}

/// The refusal of a change. `invalid` says which part of the request named the permissions.
fn refusal(error: IdentityError, invalid: fn(Vec<String>) -> ApiError) -> ApiError {
    match error {
        IdentityError::Validation(problems) => invalid(problems),
        // The user whose permissions change was deleted meanwhile, not the caller.
        IdentityError::UserGone => ApiError::not_found("That user"),
        other => other.into(),
    }
}
