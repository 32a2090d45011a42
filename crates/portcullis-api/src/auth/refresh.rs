//! New tokens for a refresh token.

use portcullis_model::SecretString;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::cookies;
use super::tokens::Tokens;
use crate::error::ErrorKind;
use crate::input::Body;
use crate::operation::{Example, Operation, Tag};
use crate::{ApiError, Call, Reply};

pub(crate) const REFRESH: Operation =
    Operation::new("refresh", Tag::Auth, "Exchange a refresh token for new tokens", "Token refreshed successfully")
        .description("Without a token in the body the refresh cookie counts.")
        .errors(&[
            (401, "`Invalid refresh token`: unknown, expired, or used before."),
            (403, "A refresh by cookie from another site."),
        ]);

/// A refresh.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RefreshRequest {
    /// Required unless the refresh cookie is sent.
    #[schemars(with = "Option<String>")]
    refresh_token: Option<SecretString>,
}

impl Example for RefreshRequest {
    fn example() -> Value {
        json!({ "refreshToken": "cnQtZXhhbXBsZS1vcGFxdWUtdG9rZW4" })
    }
}

/// New tokens.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Refreshed {
    tokens: Tokens,
}

impl Example for Refreshed {
    fn example() -> Value {
        json!({ "tokens": Tokens::example() })
    }
}

/// `POST /api/v1/auth/refresh`
pub(crate) async fn refresh(call: Call, Body(request): Body<RefreshRequest>) -> Result<Reply<Refreshed>, ApiError> {
    if let Some(presented) = request.refresh_token {
        let tokens = call.services.identity.sign_in.refresh(presented.expose(), &call.caller()).await?;
        return Ok(REFRESH.reply(&Refreshed { tokens: Tokens::in_body(&tokens) }).private());
    }
    let Some(presented) = call.permit.refresh_cookie().map(SecretString::new) else {
        return Err(ApiError::validation(vec!["refreshToken is required".to_owned()]));
    };
    if !call.origin_allowed() {
        return Err(ErrorKind::CROSS_SITE.into());
    }
    let tokens = call.services.identity.sign_in.refresh(presented.expose(), &call.caller()).await?;
    let reply = REFRESH.reply(&Refreshed { tokens: Tokens::in_cookies(&tokens) });
    Ok(cookies::set_session(&call, reply, &tokens).private())
}
