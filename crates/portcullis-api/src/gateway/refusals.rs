//! The latest refusals of this process.

use portcullis_gate::RefusalRecord;
use portcullis_model::{ApiTime, UserId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::input::{PageSize, Parsed, Query, path};
use crate::operation::{Example, Operation, Tag};
use crate::{ApiError, Call, Reply};

pub(crate) const LIST: Operation = Operation::new(
    "refusals",
    Tag::Gateway,
    "List the latest refusals of this process",
    "The latest refusals of this process",
);

pub(crate) const SHOW: Operation =
    Operation::new("refusal", Tag::Gateway, "Show why a request was refused", "Why the request was turned away")
        .description("Each process remembers its own latest refusals.");

/// How many refusals to list.
#[derive(Deserialize, JsonSchema)]
pub(crate) struct RefusalsQuery {
    /// The most entries.
    limit: Option<Parsed<PageSize>>,
}

/// The latest refusals, newest first.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Refusals {
    refusals: Vec<Refusal>,
}

impl Example for Refusals {
    fn example() -> Value {
        json!({ "refusals": [refusal_example()] })
    }
}

/// One refusal.
#[derive(Serialize, JsonSchema)]
pub(crate) struct RefusalData {
    refusal: Refusal,
}

impl Example for RefusalData {
    fn example() -> Value {
        json!({ "refusal": refusal_example() })
    }
}

/// A request that the gate refused.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Refusal {
    request_id: String,
    timestamp: ApiTime,
    method: String,
    path: String,
    /// The template of the route, or `unmatched`.
    route: String,
    address: String,
    user_id: Option<UserId>,
    /// The phase of the gate that refused it.
    phase: &'static str,
    status: u16,
    code: &'static str,
    message: String,
    details: Value,
}

impl From<&RefusalRecord> for Refusal {
    fn from(record: &RefusalRecord) -> Self {
        let error = ApiError::from(record.refusal.clone());
        Self {
            request_id: record.request_id.as_str().to_owned(),
            timestamp: ApiTime(record.at),
            method: record.method.to_string(),
            path: record.path.to_string(),
            route: record.route.to_string(),
            address: record.client.to_string(),
            user_id: record.user,
            phase: record.phase.as_str(),
            status: error.status().as_u16(),
            code: error.code(),
            message: error.message().to_owned(),
            details: error.details_json().cloned().unwrap_or_default(),
        }
    }
}

fn refusal_example() -> Value {
    json!({
        "requestId": "3a2f2ffb7b57d1e1c5165e72af440175",
        "timestamp": "2026-11-24T09:00:00.000Z",
        "method": "GET",
        "path": "/api/v1/users",
        "route": "/api/v1/users",
        "address": "203.0.113.7",
        "userId": null,
        "phase": "authorise",
        "status": 401,
        "code": "auth.token_required",
        "message": "Sign in and send the access token.",
        "details": null,
    })
}

/// `GET /api/v1/gateway/refusals`
pub(crate) async fn list(call: Call, Query(query): Query<RefusalsQuery>) -> Result<Reply<Refusals>, ApiError> {
    let limit = query.limit.map(|limit| limit.0).unwrap_or_default().get();
    let latest = call.services.gate.latest_refusals(usize::try_from(limit).unwrap_or(usize::MAX));
    Ok(LIST.reply(&Refusals { refusals: latest.iter().map(Refusal::from).collect() }).private())
}

/// `GET /api/v1/gateway/refusals/{requestId}`
pub(crate) async fn show(call: Call, path::RequestId(id): path::RequestId) -> Result<Reply<RefusalData>, ApiError> {
    let record = call.services.gate.refusal_of(&id);
    let record = record.ok_or_else(|| ApiError::not_found("A refusal of this request in this process's memory"))?;
    Ok(SHOW.reply(&RefusalData { refusal: Refusal::from(&record) }).private())
}
