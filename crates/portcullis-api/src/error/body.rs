//! The two forms of an error response.

use std::borrow::Cow;

use portcullis_model::ApiTime;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

/// The envelope of every error of the gateway.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Error")]
pub(crate) struct ErrorEnvelope<'a> {
    #[schemars(extend("const" = false))]
    pub(crate) success: bool,
    /// A short text that programs may compare.
    pub(crate) error: Cow<'a, str>,
    /// A sentence for users.
    pub(crate) message: Cow<'a, str>,
    /// The stable name of the error.
    #[schemars(regex(pattern = r"^[a-z0-9_]+(\.[a-z0-9_]+)*$"))]
    pub(crate) code: Cow<'a, str>,
    /// More about the error; its form depends on `code`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) details: Option<Value>,
    /// Names the request in logs, and in `GET /api/v1/gateway/refusals/{requestId}`.
    pub(crate) request_id: Cow<'a, str>,
    pub(crate) timestamp: ApiTime,
    pub(crate) path: Cow<'a, str>,
    pub(crate) status_code: u16,
}

/// RFC 9457, for clients that prefer `application/problem+json`.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Problem<'a> {
    /// The address of an explanation of `code`.
    #[serde(rename = "type")]
    pub(crate) kind: Cow<'a, str>,
    pub(crate) title: Cow<'a, str>,
    pub(crate) status: u16,
    pub(crate) detail: Cow<'a, str>,
    pub(crate) instance: Cow<'a, str>,
    pub(crate) code: Cow<'a, str>,
    pub(crate) request_id: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) details: Option<Value>,
}
