//! One's own API keys (contract §4).

use portcullis_identity::ApiKeyInput;
use portcullis_model::{SessionId, Timestamp, user::rfc3339_millis};
use portcullis_storage::ApiKeyRecord;
use serde_json::{Value, json};

use crate::{Call, Fault, Reply};

/// `GET /api/v1/api-keys`
pub(crate) async fn list(call: Call) -> Result<Reply, Fault> {
    let keys = call.services.identity.api_keys(&call.principal().session).await?;
    let list: Vec<Value> = keys.iter().map(key_json).collect();
    Ok(Reply::ok("API keys retrieved successfully", json!({ "apiKeys": list })).private())
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
    let issued = call.services.identity.create_api_key(&call.principal().session, input, &call.caller()).await?;
    let data = json!({ "apiKey": key_json(&issued.record) });
    let reply = Reply::created("API key created successfully. It is shown this once.", data);
    Ok(reply.credential("secret", &issued.secret, "API key created earlier. It was shown then.").private())
}

/// `DELETE /api/v1/api-keys/{id}`
pub(crate) async fn revoke(call: Call) -> Result<Reply, Fault> {
    let id = call.permit.parameter("id").and_then(|text| text.parse::<SessionId>().ok());
    let id = id.ok_or_else(|| Fault::not_found("That API key"))?;
    call.services.identity.revoke_api_key(&call.principal().session, id, &call.caller()).await?;
    Ok(Reply::ok("API key revoked successfully", Value::Null))
}

fn key_json(key: &ApiKeyRecord) -> Value {
    json!({
        "id": key.id,
        "name": key.name,
        "prefix": key.prefix,
        "scopes": key.scopes,
        "expiresAt": key.expires_at.map(rfc3339_millis),
        "lastUsedAt": key.last_used_at.map(rfc3339_millis),
        "createdAt": rfc3339_millis(key.created_at),
    })
}
