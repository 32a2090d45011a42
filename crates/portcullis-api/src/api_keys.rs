//! One's own API keys (contract §4).

use portcullis_identity::{ApiKeyInput, Done};
use portcullis_model::{SessionId, Timestamp};
use serde_json::{Value, json};

use crate::{Call, Fault, Reply};

/// `GET /api/v1/api-keys`
pub(crate) async fn list(call: Call) -> Result<Reply, Fault> {
    let keys = call.services.identity.api_keys(&call.principal().session).await?;
    Ok(Reply::ok("API keys retrieved successfully", json!({ "apiKeys": keys })).private())
}

/// `POST /api/v1/api-keys`: the only answer that holds the key.
pub(crate) async fn create(mut call: Call) -> Result<Reply, Fault> {
    let mut body = call.json().await?;
    let name = body.text("name");
    let scopes = body.optional_list("scopes");
    let expires_at = body.optional_text("expiresAt").and_then(|text| {
        let parsed = text.parse::<Timestamp>().ok();
        if parsed.is_none() {
            body.problem("expiresAt must be a time as in 2026-01-31T12:00:00Z (RFC 3339)");
        }
        parsed
    });
    body.finish()?;
    let input = ApiKeyInput { name, scopes, expires_at };
    let session = &call.principal().session;
    let reply = match call.services.identity.create_api_key(session, input, &call.caller(), call.once()).await? {
        Done::Now(issued) => {
            let data = json!({ "apiKey": issued.key, "secret": issued.secret.expose() });
            Reply::created("API key created successfully. It is shown this once.", data)
        }
        Done::Before(key) => {
            Reply::created("API key created earlier. It was shown then.", json!({ "apiKey": key })).replayed()
        }
    };
    Ok(reply.private())
}

/// `DELETE /api/v1/api-keys/{id}`
pub(crate) async fn revoke(call: Call) -> Result<Reply, Fault> {
    let id = call.permit.parameter("id").and_then(|text| text.parse::<SessionId>().ok());
    let id = id.ok_or_else(|| Fault::not_found("That API key"))?;
    call.services.identity.revoke_api_key(&call.principal().session, id, &call.caller()).await?;
    Ok(Reply::ok("API key revoked successfully", Value::Null))
}
