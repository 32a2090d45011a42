//! `GET /api/csrf-token` (contract §5).

use portcullis_gate::CookieName;
use serde_json::json;

use crate::{Call, Fault, Reply};

/// Gives the token that goes with the request's session or pre-session; the same
/// one for as long as the request carries a valid pair, because tabs share a jar.
pub(crate) async fn token(call: Call) -> Result<Reply, Fault> {
    let services = &call.services;
    let issued = services.gate.issue_csrf(&call.permit);
    let mut reply = Reply::ok("CSRF token generated", json!({ "csrfToken": issued.token })).private();
    if let Some(pre) = &issued.new_pre_session {
        reply = reply.cookie(call.cookies().set(services.gate.cookie_name(CookieName::Pre), pre, None));
    }
    Ok(reply.cookie(call.cookies().set(services.gate.cookie_name(CookieName::Csrf), &issued.token, None)))
}
