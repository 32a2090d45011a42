//! Sign-out.

use std::sync::Arc;

use portcullis_gate::CookieName;
use portcullis_identity::Logout;
use portcullis_model::SecretString;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::cookies;
use crate::error::ErrorKind;
use crate::input::OptionalBody;
use crate::operation::{Example, Operation, Tag};
use crate::{ApiError, Call, Reply};

pub(crate) const LOGOUT: Operation =
    Operation::new("logout", Tag::Auth, "Sign out of this session or of all sessions", "Logout successful")
        .errors(&[(401, "Neither a valid access token nor a valid refresh token was sent.")]);

/// A sign-out.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LogoutRequest {
    /// Names the session when no access token is sent.
    #[schemars(with = "Option<String>")]
    refresh_token: Option<SecretString>,
    /// Ends every session of the user.
    all: Option<bool>,
}

impl Example for LogoutRequest {
    fn example() -> Value {
        json!({ "all": false })
    }
}

/// The longest text that is read as a refresh token, in bytes. Ours are shorter.
const LONGEST_TOKEN: usize = 512;

/// Whether a text may be a refresh token. Any other is refused before it has an effect, also where a session would be
/// ended without it.
fn may_be_a_token(text: &SecretString) -> bool {
    text.expose().len() <= LONGEST_TOKEN && !text.expose().chars().any(char::is_control)
}

/// `POST /api/v1/auth/logout`: with a valid access token, or with a valid refresh token in the body. The refresh cookie
/// alone ends nothing, because only requests with the session cookie are held to the CSRF rules.
pub(crate) async fn logout(
    call: Call,
    OptionalBody(request): OptionalBody<LogoutRequest>,
) -> Result<Reply<()>, ApiError> {
    let LogoutRequest { refresh_token, all } = request;
    if refresh_token.as_ref().is_some_and(|token| !may_be_a_token(token)) {
        let problem = format!("refreshToken must be at most {LONGEST_TOKEN} characters, without control characters");
        return Err(ApiError::validation(vec![problem]));
    }
    let session = call.permit.principal().map(|principal| Arc::clone(&principal.session));
    if session.is_none() && refresh_token.is_none() {
        let sent = call.permit.presented_credential();
        return Err(if sent { ErrorKind::INVALID_TOKEN } else { ErrorKind::TOKEN_REQUIRED }.into());
    }
    let logout = Logout { session, refresh_token, all: all.unwrap_or_default() };
    call.services.identity.sign_in.logout(logout, &call.caller()).await?;
    let reply = LOGOUT.done();
    if !call.permit.has_session_cookie() {
        return Ok(reply);
    }
    let all = [CookieName::Session, CookieName::Refresh, CookieName::Csrf, CookieName::Pre];
    Ok(cookies::clear(&call, reply, &all))
}
