//! CSRF tokens (`docs/contract.md`, "CSRF").

use portcullis_gate::CookieName;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};

use crate::operation::{Example, Operation, Tag};
use crate::{ApiError, Call, Reply};

pub(crate) const TOKEN: Operation =
    Operation::new("csrfToken", Tag::System, "Issue a CSRF token and its cookie", "CSRF token generated")
        .description("The token stays the same while the request carries a valid token and cookie.");

/// The token to send in `X-CSRF-Token`.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub(crate) struct CsrfToken {
    csrf_token: String,
}

impl Example for CsrfToken {
    fn example() -> Value {
        json!({ "csrfToken": "5f0c….9a1b…" })
    }
}

/// `GET /api/v1/csrf-token`: the token that belongs to the request's session or pre-session. It stays the same while the
/// request carries a valid pair, because the tabs of a browser share their cookies.
pub(crate) async fn token(call: Call) -> Result<Reply<CsrfToken>, ApiError> {
    let gate = &call.services.gate;
    let issued = gate.issue_csrf(&call.permit);
    let cookie = call.cookies().set(gate.cookie_name(CookieName::Csrf), &issued.token, None);
    let mut reply = TOKEN.reply(&CsrfToken { csrf_token: issued.token }).private();
    if let Some(pre_session) = &issued.new_pre_session {
        reply = reply.cookie(call.cookies().set(gate.cookie_name(CookieName::Pre), pre_session, None));
    }
    Ok(reply.cookie(cookie))
}
