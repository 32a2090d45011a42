//! The caller's own account.

use portcullis_identity::ProfileInput;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::input::{Body, Patch};
use crate::operation::{Example, Operation, Tag};
use crate::users::UserData;
use crate::{ApiError, Call, Reply};

pub(crate) const SHOW: Operation =
    Operation::new("profile", Tag::Auth, "Show one's own account", "Profile retrieved successfully")
        .errors(&[(404, "The account no longer exists.")]);

pub(crate) const UPDATE: Operation =
    Operation::new("updateProfile", Tag::Auth, "Change one's own names and avatar", "Profile updated successfully")
        .errors(&[(404, "The account no longer exists.")]);

/// What a user may change of their own account. An absent field stays as it is.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ProfileRequest {
    #[schemars(length(min = 1, max = 50))]
    first_name: Option<String>,
    #[schemars(length(min = 1, max = 50))]
    last_name: Option<String>,
    /// An http or https address, or a path; null removes it.
    #[serde(default)]
    #[schemars(length(max = 2048))]
    avatar: Patch<String>,
}

impl From<ProfileRequest> for ProfileInput {
    fn from(request: ProfileRequest) -> Self {
        let ProfileRequest { first_name, last_name, avatar } = request;
        Self { first_name, last_name, avatar: avatar.into_option() }
    }
}

impl Example for ProfileRequest {
    fn example() -> Value {
        json!({ "firstName": "Augusta" })
    }
}

/// `GET /api/v1/auth/profile`
pub(crate) async fn show(call: Call) -> Result<Reply<UserData>, ApiError> {
    let user = call.services.identity.users.profile(call.session()).await?;
    Ok(SHOW.reply(&UserData::from(&*user)).private())
}

/// `PUT /api/v1/auth/profile`
pub(crate) async fn update(call: Call, Body(request): Body<ProfileRequest>) -> Result<Reply<UserData>, ApiError> {
    let user = call.services.identity.users.update_profile(call.session(), request.into(), &call.caller()).await?;
    Ok(UPDATE.reply(&UserData { user }).private())
}
