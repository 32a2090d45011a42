//! Confirmation of an e-mail address.

use portcullis_model::SecretString;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::input::Body;
use crate::operation::{Example, Operation, Tag};
use crate::{ApiError, Call, Reply};

pub(crate) const VERIFY: Operation =
    Operation::new("verifyEmail", Tag::Auth, "Confirm an e-mail address", "Email verified successfully");

pub(crate) const RESEND: Operation = Operation::new(
    "resendVerification",
    Tag::Auth,
    "Send another confirmation mail",
    "If there is an account with this email that is not confirmed yet, a new link is on its way",
)
.description("The response is the same whether or not such an account exists.");

/// The token of a confirmation mail.
#[derive(Deserialize, JsonSchema)]
pub(crate) struct VerifyEmailRequest {
    #[schemars(with = "String")]
    token: SecretString,
}

impl Example for VerifyEmailRequest {
    fn example() -> Value {
        json!({ "token": "b25lLXRpbWUtdG9rZW4" })
    }
}

/// The address of an account.
#[derive(Deserialize, JsonSchema)]
pub(crate) struct EmailRequest {
    pub(super) email: String,
}

impl Example for EmailRequest {
    fn example() -> Value {
        json!({ "email": "ada@example.com" })
    }
}

/// `POST /api/v1/auth/verify-email`
pub(crate) async fn verify(call: Call, Body(request): Body<VerifyEmailRequest>) -> Result<Reply<()>, ApiError> {
    call.services.identity.registration.verify_email(request.token.expose(), &call.caller()).await?;
    Ok(VERIFY.done())
}

/// `POST /api/v1/auth/resend-verification`
pub(crate) async fn resend(call: Call, Body(request): Body<EmailRequest>) -> Result<Reply<()>, ApiError> {
    call.services.identity.registration.resend_verification(&request.email, &call.caller()).await?;
    Ok(RESEND.done())
}
