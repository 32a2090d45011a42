//! Making the first administrator in a browser (requirement 45).
//!
//! The link's token travels in the fragment, which browsers send to nobody; the
//! page posts it with the form.

use http::HeaderValue;
use http::header::{CONTENT_SECURITY_POLICY, REFERRER_POLICY, X_FRAME_OPTIONS};
use portcullis_model::SecretString;
use serde_json::json;

use crate::auth::{register_input, tokens_json};
use crate::{Call, Fault, Reply};

const PAGE: &str = include_str!("setup.html");
const SCRIPT: &str = include_str!("setup.js");

/// `GET /setup`: the form. Says nothing of whether an administrator exists.
pub(crate) async fn page(_call: Call) -> Result<Reply, Fault> {
    let hash = {
        use base64::Engine as _;
        base64::engine::general_purpose::STANDARD.encode(portcullis_model::secret::sha256(SCRIPT.as_bytes()))
    };
    let policy = format!(
        "default-src 'none'; script-src 'sha256-{hash}'; style-src 'unsafe-inline'; connect-src 'self'; \
         form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
    );
    let page = PAGE.replace("{{script}}", SCRIPT);
    Ok(Reply::bare("text/html; charset=utf-8", page)
        .header(CONTENT_SECURITY_POLICY, HeaderValue::try_from(policy).expect("a base64 hash is plain ASCII"))
        .header(REFERRER_POLICY, HeaderValue::from_static("no-referrer"))
        .header(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"))
        .private())
}

/// `POST /api/v1/auth/first-administrator`: spends the link.
pub(crate) async fn claim(mut call: Call) -> Result<Reply, Fault> {
    let mut body = call.json().await?;
    let token = SecretString::new(body.text("token"));
    let input = register_input(&mut body);
    body.finish()?;
    let registered = call.services.identity.claim_first_administrator(token.expose(), input, &call.caller()).await?;
    let data = json!({ "user": registered.user, "tokens": registered.tokens.as_ref().map(tokens_json) });
    Ok(Reply::created("Administrator created successfully", data).private())
}
