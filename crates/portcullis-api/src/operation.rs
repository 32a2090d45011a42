//! What the API's document says of one endpoint beyond its row in the table and its types. A handler's module holds the
//! operation beside the handler, and the handler takes its status and its message from there.

use http::StatusCode;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;
use serde_json::{Map, Value, json};

/// The subjects by which the document groups operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tag {
    System,
    Health,
    Auth,
    ApiKeys,
    Users,
    Gateway,
    Audit,
    Setup,
}

impl Tag {
    pub(crate) const ALL: [Self; 8] =
        [Self::System, Self::Health, Self::Auth, Self::ApiKeys, Self::Users, Self::Gateway, Self::Audit, Self::Setup];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Health => "health",
            Self::Auth => "auth",
            Self::ApiKeys => "api-keys",
            Self::Users => "users",
            Self::Gateway => "gateway",
            Self::Audit => "audit",
            Self::Setup => "setup",
        }
    }

    pub(crate) const fn description(self) -> &'static str {
        match self {
            Self::System => "The gateway itself",
            Self::Health => "Health checks for orchestrators and load balancers",
            Self::Auth => "Sign-in, and the caller's own account",
            Self::ApiKeys => "API keys for programs",
            Self::Users => "Administration of users",
            Self::Gateway => "Diagnosis for operators",
            Self::Audit => "The audit log",
            Self::Setup => "The first administrator",
        }
    }
}

/// The prose of an endpoint, and the status and message of its usual response.
#[derive(Debug)]
pub(crate) struct Operation {
    /// Names the operation in generated clients; unique.
    pub(crate) id: &'static str,
    pub(crate) tag: Tag,
    /// One line, without a full stop.
    pub(crate) summary: &'static str,
    /// What the summary leaves open; may be empty.
    pub(crate) description: &'static str,
    pub(crate) status: StatusCode,
    /// The `message` of the usual response.
    pub(crate) message: &'static str,
    /// Good responses other than the usual one.
    pub(crate) others: &'static [OtherResponse],
    /// Errors of this operation, by their status, with what they mean here. Those of the gate need no mention.
    pub(crate) errors: &'static [(u16, &'static str)],
}

/// A good response other than the usual one.
#[derive(Debug)]
pub(crate) enum OtherResponse {
    /// 304, when `If-None-Match` names the current version.
    NotModified,
    /// 503 with the same data as the usual response: a health check that failed.
    Unhealthy,
    /// Another status with data of its own.
    Enveloped {
        status: StatusCode,
        message: &'static str,
        schema: fn(&mut SchemaGenerator) -> Schema,
        example: fn() -> Value,
    },
}

impl OtherResponse {
    pub(crate) const fn enveloped<T: JsonSchema + Example>(status: StatusCode, message: &'static str) -> Self {
        Self::Enveloped { status, message, schema: |schemas| schemas.subschema_for::<T>(), example: T::example }
    }
}

impl Operation {
    /// An operation that answers 200 with `message`.
    pub(crate) const fn new(id: &'static str, tag: Tag, summary: &'static str, message: &'static str) -> Self {
        Self { id, tag, summary, description: "", status: StatusCode::OK, message, others: &[], errors: &[] }
    }

    pub(crate) const fn description(self, description: &'static str) -> Self {
        Self { description, ..self }
    }

    /// Answers 201 instead of 200.
    pub(crate) const fn created(self) -> Self {
        Self { status: StatusCode::CREATED, ..self }
    }

    pub(crate) const fn others(self, others: &'static [OtherResponse]) -> Self {
        Self { others, ..self }
    }

    pub(crate) const fn errors(self, errors: &'static [(u16, &'static str)]) -> Self {
        Self { errors, ..self }
    }
}

/// A type with an example for the API's document.
pub(crate) trait Example {
    /// A value of the type as it stands on the wire. A test holds it against the type's schema.
    fn example() -> Value;
}

impl Example for () {
    fn example() -> Value {
        Value::Null
    }
}

/// Writes an example that was built as a value of its type.
pub(crate) fn example_of(value: &impl Serialize) -> Value {
    serde_json::to_value(value).expect("responses are plain data with string keys")
}

/// The body of a good response: data in the envelope, or a document of its own.
pub(crate) trait Output {
    /// The response as OpenAPI describes it, without its headers.
    fn describe(operation: &Operation, schemas: &mut SchemaGenerator) -> Value;
}

impl<T: JsonSchema + Example> Output for T {
    fn describe(operation: &Operation, schemas: &mut SchemaGenerator) -> Value {
        let data = schemas.subschema_for::<T>().to_value();
        enveloped(operation.status, operation.message, &data, &T::example())
    }
}

/// A response in the envelope.
pub(crate) fn enveloped(status: StatusCode, message: &str, data: &Value, example: &Value) -> Value {
    let (success, status) = (status.is_success(), status.as_u16());
    let schema = json!({
        "type": "object",
        "required": ["success", "data", "message", "timestamp", "path", "statusCode"],
        "properties": {
            "success": { "const": success },
            "data": data,
            "message": { "type": "string" },
            "timestamp": { "type": "string", "format": "date-time" },
            "path": { "type": "string" },
            "statusCode": { "const": status },
        },
    });
    let example = json!({
        "success": success,
        "data": example,
        "message": message,
        "timestamp": "2026-11-24T09:00:00.000Z",
        "path": "/api/v1/…",
        "statusCode": status,
    });
    json!({ "description": message, "content": { "application/json": { "schema": schema, "example": example } } })
}

/// A response without the envelope, by media type.
pub(crate) fn without_envelope(contents: &[(&str, Value)]) -> Value {
    let content: Map<String, Value> = contents
        .iter()
        .map(|(media_type, example)| {
            let kind = if example.is_string() { "string" } else { "object" };
            ((*media_type).to_owned(), json!({ "schema": { "type": kind }, "example": example }))
        })
        .collect();
    json!({ "description": "The document itself, without an envelope.", "content": content })
}
