//! One user: details, changes, role, deletion.

use portcullis_identity::UserProfileInput;
use portcullis_model::{Role, User};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::UserData;
use super::permissions::UserPermissions;
use crate::input::{Body, Patch, path};
use crate::operation::{Example, Operation, Tag};
use crate::{ApiError, Call, Reply};

const LAST_ADMINISTRATOR: (u16, &str) = (409, "The user is the last administrator who can sign in.");

pub(crate) const SHOW: Operation =
    Operation::new("user", Tag::Users, "Show a user with all permissions", "User retrieved successfully");

pub(crate) const EDIT: Operation =
    Operation::new("editUser", Tag::Users, "Change a user", "User updated successfully").errors(&[LAST_ADMINISTRATOR]);

pub(crate) const DELETE: Operation =
    Operation::new("deleteUser", Tag::Users, "Delete a user", "User deleted successfully")
        .errors(&[LAST_ADMINISTRATOR]);

pub(crate) const SET_ROLE: Operation =
    Operation::new("setRole", Tag::Users, "Change a user's role", "Role updated successfully")
        .errors(&[LAST_ADMINISTRATOR]);

/// One user with all permissions.
#[derive(Serialize, JsonSchema)]
pub(crate) struct UserWithPermissionsData {
    user: UserWithPermissions,
}

#[derive(Serialize, JsonSchema)]
struct UserWithPermissions {
    #[serde(flatten)]
    user: User,
    #[serde(flatten)]
    permissions: UserPermissions,
}

impl Example for UserWithPermissionsData {
    fn example() -> Value {
        let mut user = User::example();
        if let (Some(user), Value::Object(permissions)) = (user.as_object_mut(), UserPermissions::example()) {
            user.extend(permissions);
        }
        json!({ "user": user })
    }
}

/// What an administrator may change of a user. An absent field stays as it is.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EditUserRequest {
    #[schemars(length(min = 1, max = 50))]
    first_name: Option<String>,
    #[schemars(length(min = 1, max = 50))]
    last_name: Option<String>,
    /// An http or https address, or a path; null removes it.
    #[serde(default)]
    #[schemars(length(max = 2048))]
    avatar: Patch<String>,
    /// A disabled user cannot sign in; disabling ends every session and every API key.
    is_active: Option<bool>,
    /// Confirms the e-mail address without a mail; only true.
    #[schemars(extend("const" = true))]
    email_verified: Option<bool>,
}

impl Example for EditUserRequest {
    fn example() -> Value {
        json!({ "isActive": false })
    }
}

/// A new role.
#[derive(Deserialize, JsonSchema)]
pub(crate) struct SetRoleRequest {
    role: Role,
}

impl Example for SetRoleRequest {
    fn example() -> Value {
        json!({ "role": "MANAGER" })
    }
}

/// `GET /api/v1/users/{id}`
pub(crate) async fn show(call: Call, path::User(id): path::User) -> Result<Reply<UserWithPermissionsData>, ApiError> {
    let view = call.services.identity.administration.user(id).await?;
    let permissions = UserPermissions::from(&view);
    let user = UserWithPermissions { user: view.user, permissions };
    Ok(SHOW.reply(&UserWithPermissionsData { user }).private())
}

/// `PUT /api/v1/users/{id}`
pub(crate) async fn edit(
    call: Call,
    (path::User(id), Body(request)): (path::User, Body<EditUserRequest>),
) -> Result<Reply<UserData>, ApiError> {
    let EditUserRequest { first_name, last_name, avatar, is_active, email_verified } = request;
    if email_verified == Some(false) {
        return Err(ApiError::validation(vec!["emailVerified can only be true".to_owned()]));
    }
    let profile = portcullis_identity::ProfileInput { first_name, last_name, avatar: avatar.into_option() };
    let input = UserProfileInput { profile, is_active, verify_email: email_verified.is_some() };
    let user = call.services.identity.administration.edit(&call.actor(), id, input, &call.caller()).await?;
    Ok(EDIT.reply(&UserData { user }).private())
}

/// `DELETE /api/v1/users/{id}`
pub(crate) async fn delete(call: Call, path::User(id): path::User) -> Result<Reply<()>, ApiError> {
    call.services.identity.administration.delete(&call.actor(), id, &call.caller()).await?;
    Ok(DELETE.done())
}

/// `PUT /api/v1/users/{id}/role`
pub(crate) async fn set_role(
    call: Call,
    (path::User(id), Body(request)): (path::User, Body<SetRoleRequest>),
) -> Result<Reply<UserData>, ApiError> {
    let user = call.services.identity.administration.set_role(&call.actor(), id, request.role, &call.caller()).await?;
    Ok(SET_ROLE.reply(&UserData { user }).private())
}
