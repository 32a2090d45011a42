//! Changing, forgetting and setting passwords (contract §3).

use portcullis_identity::{ChangePasswordInput, ResetPasswordInput};
use portcullis_model::SecretString;
use serde_json::Value;

use crate::{Call, Fault, Reply};

/// `POST /api/v1/auth/change-password`
pub(crate) async fn change(mut call: Call) -> Result<Reply, Fault> {
    let mut body = call.json().await?;
    let input = ChangePasswordInput {
        current: SecretString::new(body.text("currentPassword")),
        new: SecretString::new(body.text("newPassword")),
        confirm: SecretString::new(body.text("confirmPassword")),
    };
    body.finish()?;
    call.services.identity.change_password(&call.principal().session, &input, &call.caller()).await?;
    Ok(Reply::ok("Password changed successfully", Value::Null))
}

/// `POST /api/v1/auth/forgot-password`: the same answer for every address.
pub(crate) async fn forgot(mut call: Call) -> Result<Reply, Fault> {
    let mut body = call.json().await?;
    let email = body.text("email");
    body.finish()?;
    call.services.identity.forgot_password(&email, &call.caller()).await?;
    let message = "If there is an account with this email, a link to reset its password is on its way";
    Ok(Reply::ok(message, Value::Null))
}

/// `POST /api/v1/auth/reset-password`: by the link of a reset or of an invitation.
pub(crate) async fn reset(mut call: Call) -> Result<Reply, Fault> {
    let mut body = call.json().await?;
    let input = ResetPasswordInput {
        token: SecretString::new(body.text("token")),
        new: SecretString::new(body.text("newPassword")),
        confirm: SecretString::new(body.text("confirmPassword")),
    };
    body.finish()?;
    call.services.identity.reset_password(&input, &call.caller()).await?;
    Ok(Reply::ok("Password reset successfully. Sign in with the new password.", Value::Null))
}

/// `POST /api/v1/auth/resend-verification`: the same answer for every address.
pub(crate) async fn resend_verification(mut call: Call) -> Result<Reply, Fault> {
    let mut body = call.json().await?;
    let email = body.text("email");
    body.finish()?;
    call.services.identity.resend_verification(&email, &call.caller()).await?;
    let message = "If there is an account with this email that is not confirmed yet, a new link is on its way";
    Ok(Reply::ok(message, Value::Null))
}
