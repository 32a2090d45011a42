//! The caller's own API keys (`docs/contract.md`, "Users, audit log and API keys").

use portcullis_identity::{ApiKeyInput, IdempotentOutcome};
use portcullis_model::{ApiKey, ApiTime, Permission};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::input::{Body, path};
use crate::operation::{Example, Operation, Tag};
use crate::reply::Recorded;
use crate::{ApiError, Call, Reply};

pub(crate) const LIST: Operation =
    Operation::new("apiKeys", Tag::ApiKeys, "List one's own API keys", "API keys retrieved successfully");

pub(crate) const CREATE: Operation = Operation::new(
    "createApiKey",
    Tag::ApiKeys,
    "Create an API key",
    "API key created successfully. It is shown this once.",
)
.created()
.errors(&[(409, "The user has the largest number of API keys already.")]);

/// The message when an earlier request with the same `Idempotency-Key` created the API key.
const CREATED_EARLIER: &str = "API key created earlier. It was shown then.";

pub(crate) const REVOKE: Operation =
    Operation::new("revokeApiKey", Tag::ApiKeys, "Revoke an API key", "API key revoked successfully");

/// An API key that a user wants.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CreateApiKeyRequest {
    #[schemars(length(min = 1, max = 100))]
    name: String,
    /// The permissions that the key may use; null or absent for all of the user's.
    #[schemars(with = "Option<Vec<Permission>>")]
    scopes: Option<Vec<String>>,
    /// When the key expires; null or absent for never.
    expires_at: Option<ApiTime>,
}

impl Example for CreateApiKeyRequest {
    fn example() -> Value {
        json!({ "name": "deploys", "scopes": ["USER_VIEW"] })
    }
}

/// The API keys of a user.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ApiKeys {
    api_keys: Vec<ApiKey>,
}

impl Example for ApiKeys {
    fn example() -> Value {
        json!({ "apiKeys": [ApiKey::example()] })
    }
}

/// A new API key: the only response that holds the key itself.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CreatedApiKey {
    api_key: Recorded<ApiKey>,
    /// Shown this once; absent when the request repeats an earlier one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    secret: Option<String>,
}

impl Example for CreatedApiKey {
    fn example() -> Value {
        json!({ "apiKey": ApiKey::example(), "secret": "pk_4fTqexampleexampleexampleexampleexampleexampl" })
    }
}

impl Example for ApiKey {
    fn example() -> Value {
        json!({
            "id": "0198c0de-0000-7000-8000-000000000002",
            "name": "deploys",
            "prefix": "pk_4fTq",
            "scopes": ["USER_VIEW"],
            "expiresAt": null,
            "lastUsedAt": null,
            "createdAt": "2026-11-24T09:00:00.000Z",
        })
    }
}

/// `GET /api/v1/api-keys`
pub(crate) async fn list(call: Call) -> Result<Reply<ApiKeys>, ApiError> {
    let api_keys = call.services.identity.api_keys.list(call.session()).await?;
    Ok(LIST.reply(&ApiKeys { api_keys }).private())
}

/// `POST /api/v1/api-keys`
pub(crate) async fn create(
    call: Call,
    Body(request): Body<CreateApiKeyRequest>,
) -> Result<Reply<CreatedApiKey>, ApiError> {
    let CreateApiKeyRequest { name, scopes, expires_at } = request;
    let input = ApiKeyInput { name, scopes, expires_at: expires_at.map(|at| at.0) };
    let (session, key) = (call.session(), call.idempotency_key());
    let reply = match call.services.identity.api_keys.create(session, input, &call.caller(), key).await? {
        IdempotentOutcome::Fresh(issued) => {
            let secret = Some(issued.secret.expose().to_owned());
            CREATE.reply(&CreatedApiKey { api_key: Recorded::New(issued.key), secret })
        }
        IdempotentOutcome::Replayed(key) => {
            let earlier = CreatedApiKey { api_key: Recorded::Replayed(key), secret: None };
            Reply::enveloped(CREATE.status, CREATED_EARLIER, &earlier).replayed()
        }
    };
    Ok(reply.private())
}

/// `DELETE /api/v1/api-keys/{id}`
pub(crate) async fn revoke(call: Call, path::ApiKey(id): path::ApiKey) -> Result<Reply<()>, ApiError> {
    call.services.identity.api_keys.revoke(call.session(), id, &call.caller()).await?;
    Ok(REVOKE.done())
}
