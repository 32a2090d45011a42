//! Changing a password, and resetting a forgotten one.

use portcullis_identity::{ChangePasswordInput, ResetPasswordInput};
use portcullis_model::SecretString;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::email::EmailRequest;
use crate::input::Body;
use crate::operation::{Example, Operation, Tag};
use crate::{ApiError, Call, Reply};

pub(crate) const CHANGE: Operation = Operation::new("changePassword", Tag::Auth, "Change one's own password", CHANGED)
    .description("The session of the request and the API keys stay; every other session of the user ends.");

/// The message after a change, which tells that API keys go on.
const CHANGED: &str =
    "Password changed successfully. Your other sessions have ended; your API keys still work until you revoke them.";

pub(crate) const FORGOT: Operation = Operation::new(
    "forgotPassword",
    Tag::Auth,
    "Send a mail with which to choose a new password",
    "If there is an account with this email, a link to reset its password is on its way",
)
.description("The response is the same whether or not such an account exists.");

pub(crate) const RESET: Operation = Operation::new(
    "resetPassword",
    Tag::Auth,
    "Choose a new password by a mailed link",
    "Password reset successfully. Sign in with the new password.",
)
.description("Every session and every API key of the user ends, and no session begins.");

/// A change of the caller's password.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ChangePasswordRequest {
    #[schemars(with = "String", extend("format" = "password"))]
    current_password: SecretString,
    /// 8 to 128 characters of any kind; the operator may ask for more. Common passwords are refused.
    #[schemars(with = "String", length(min = 8, max = 128), extend("format" = "password"))]
    new_password: SecretString,
    /// The new password again.
    #[schemars(with = "String", length(min = 8, max = 128), extend("format" = "password"))]
    confirm_password: SecretString,
}

impl Example for ChangePasswordRequest {
    fn example() -> Value {
        json!({
            "currentPassword": "correct horse battery staple",
            "newPassword": "another good passphrase",
            "confirmPassword": "another good passphrase",
        })
    }
}

/// A new password for the account of a mailed link.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ResetPasswordRequest {
    /// The token of the link.
    #[schemars(with = "String")]
    token: SecretString,
    /// 8 to 128 characters of any kind; the operator may ask for more. Common passwords are refused.
    #[schemars(with = "String", length(min = 8, max = 128), extend("format" = "password"))]
    new_password: SecretString,
    /// The new password again.
    #[schemars(with = "String", length(min = 8, max = 128), extend("format" = "password"))]
    confirm_password: SecretString,
}

impl Example for ResetPasswordRequest {
    fn example() -> Value {
        json!({
            "token": "b25lLXRpbWUtdG9rZW4",
            "newPassword": "another good passphrase",
            "confirmPassword": "another good passphrase",
        })
    }
}

/// `POST /api/v1/auth/change-password`
pub(crate) async fn change(call: Call, Body(request): Body<ChangePasswordRequest>) -> Result<Reply<()>, ApiError> {
    let ChangePasswordRequest { current_password: current, new_password: new, confirm_password: confirm } = request;
    let input = ChangePasswordInput { current, new, confirm };
    call.services.identity.passwords.change(call.session(), &input, &call.caller()).await?;
    Ok(CHANGE.done())
}

/// `POST /api/v1/auth/forgot-password`
pub(crate) async fn forgot(call: Call, Body(request): Body<EmailRequest>) -> Result<Reply<()>, ApiError> {
    call.services.identity.passwords.forgot(&request.email, &call.caller()).await?;
    Ok(FORGOT.done())
}

/// `POST /api/v1/auth/reset-password`: by the link of a reset or of an invitation.
pub(crate) async fn reset(call: Call, Body(request): Body<ResetPasswordRequest>) -> Result<Reply<()>, ApiError> {
    let ResetPasswordRequest { token, new_password: new, confirm_password: confirm } = request;
    let input = ResetPasswordInput { token, new, confirm };
    call.services.identity.passwords.reset(&input, &call.caller()).await?;
    Ok(RESET.done())
}
