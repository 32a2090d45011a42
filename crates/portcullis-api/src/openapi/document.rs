//! Assembles the document from the table of endpoints, the types in its rows and the operations beside the handlers.

use http::{Method, StatusCode};
use portcullis_model::policy::CsrfPolicy;
use schemars::generate::{Contract, SchemaSettings};
use schemars::transform::RecursiveTransform;
use schemars::{Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::responses;
use crate::endpoint::row::{Access, Endpoint};
use crate::error::{ErrorEnvelope, Problem};
use crate::input::InputDescription;
use crate::operation::{OtherResponse, Tag, enveloped};

const ABOUT: &str = "The built-in API of a Portcullis gateway: sign-in, users, API keys and diagnosis for operators. \
Services behind the gateway are not described here; the same gate stands before them.\n\n\
Every path under `/api/v1/` also exists without the version, as `/api/…`; there `Accept-Version`, `X-API-Version` and \
`?api_version=` choose the version. Successful responses have the envelope `{success, data, message, timestamp, path, \
statusCode}`, errors `{success, error, message, code, details?, requestId, timestamp, path, statusCode}`. A client that \
prefers `application/problem+json` receives errors as RFC 9457 describes them.";

/// Returns the whole document, the same each time.
pub(super) fn document(endpoints: &[Endpoint]) -> Value {
    let mut schemas = Schemas::new();
    let mut paths: Map<String, Value> = Map::new();
    for endpoint in endpoints {
        let path = paths.entry(endpoint.template).or_insert_with(|| json!({}));
        path[endpoint.method.as_str().to_ascii_lowercase()] = operation(endpoint, &mut schemas);
    }
    schemas.written.subschema_for::<ErrorEnvelope<'static>>();
    schemas.written.subschema_for::<Problem<'static>>();
    let tags: Vec<Value> =
        Tag::ALL.iter().map(|tag| json!({ "name": tag.as_str(), "description": tag.description() })).collect();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Portcullis",
            "version": env!("CARGO_PKG_VERSION"),
            "description": ABOUT,
            "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
        },
        "servers": [{ "url": "/", "description": "The gateway that serves this document" }],
        "tags": tags,
        "paths": paths,
        "components": components(schemas),
    })
}

/// Takes the widths of Rust's numbers out of a schema: they are no promise to clients. Writes "any value" as `{}`.
fn plain_numbers(schema: &mut Schema) {
    let object = schema.ensure_object();
    // An optional number has the types "integer" and "null".
    let kind = object.get("type").map(|kind| kind.get(0).unwrap_or(kind));
    let number = kind.is_some_and(|kind| kind == "integer" || kind == "number");
    if number && object.remove("format").is_some() {
        object.remove("minimum");
        object.remove("maximum");
    }
}

/// The schemas of requests and of responses. A field with a default may be absent from the first and never is from the
/// second, so each has a generator of its own.
struct Schemas {
    read: SchemaGenerator,
    written: SchemaGenerator,
}

impl Schemas {
    fn new() -> Self {
        let generator = |contract: Contract| {
            let settings = SchemaSettings::draft2020_12().with(|settings| {
                settings.definitions_path = "/components/schemas".into();
                settings.meta_schema = None;
                settings.contract = contract;
            });
            let settings = settings.with_transform(RecursiveTransform(plain_numbers));
            settings.into_generator()
        };
        Self { read: generator(Contract::Deserialize), written: generator(Contract::Serialize) }
    }

    /// All named schemas. A name stands for one type, whichever way it goes.
    fn definitions(mut self) -> Map<String, Value> {
        let mut all = self.written.take_definitions(true);
        for (name, schema) in self.read.take_definitions(true) {
            let known = all.insert(name.clone(), schema.clone());
            assert!(known.is_none_or(|known| known == schema), "{name} names two schemas");
        }
        all
    }
}

fn operation(endpoint: &Endpoint, schemas: &mut Schemas) -> Value {
    let told = endpoint.operation;
    let mut input = InputDescription { schemas: &mut schemas.read, parameters: Vec::new(), body: None };
    (endpoint.describe_input)(&mut input);
    let InputDescription { mut parameters, body, .. } = input;
    if endpoint.idempotent {
        parameters.push(json!({ "$ref": "#/components/parameters/IdempotencyKey" }));
    }
    if is_unsafe(&endpoint.method)
        && endpoint.csrf != CsrfPolicy::Exempt
        && endpoint.csrf != CsrfPolicy::ExemptWithOriginCheck
    {
        parameters.push(json!({ "$ref": "#/components/parameters/CsrfToken" }));
    }
    let description: Vec<String> =
        [told.description.to_owned(), access(&endpoint.access)].into_iter().filter(|text| !text.is_empty()).collect();
    let mut operation = json!({
        "operationId": told.id,
        "tags": [told.tag.as_str()],
        "summary": told.summary,
        "description": description.join("\n\n"),
        "security": security(&endpoint.access),
        "responses": all_responses(endpoint, body.is_some(), &mut schemas.written),
    });
    if !parameters.is_empty() {
        operation["parameters"] = Value::from(parameters);
    }
    if let Some(body) = body {
        operation["requestBody"] = body;
    }
    operation
}

/// Says in a sentence who may call.
fn access(access: &Access) -> String {
    match access {
        Access::Anyone => "Needs no credential.".to_owned(),
        Access::Authenticated => "Needs a signed-in user or an API key.".to_owned(),
        Access::SignedIn => "Needs a signed-in user; an API key is not enough.".to_owned(),
        Access::Holding(permission) => format!("Needs `{}`.", permission.as_str()),
    }
}

fn security(access: &Access) -> Value {
    match access {
        Access::Anyone => json!([]),
        Access::SignedIn => json!([{ "bearer": [] }, { "sessionCookie": [] }]),
        Access::Authenticated | Access::Holding(_) => {
            json!([{ "bearer": [] }, { "apiKey": [] }, { "sessionCookie": [] }])
        }
    }
}

pub(super) fn is_unsafe(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// The responses of the handler, and every one that the gate may give in its place.
fn all_responses(endpoint: &Endpoint, reads_body: bool, schemas: &mut SchemaGenerator) -> Value {
    let told = endpoint.operation;
    let mut all = Map::new();
    let usual = (endpoint.describe_output)(told, schemas);
    for other in told.others {
        let (status, response) = other_response(other, &usual, schemas);
        all.insert(status.as_str().to_owned(), with_headers(response, status));
    }
    all.insert(told.status.as_str().to_owned(), with_headers(usual, told.status));
    for (status, meaning) in told.errors {
        let status = StatusCode::from_u16(*status).expect("operations name statuses of HTTP");
        all.insert(status.as_str().to_owned(), with_headers(responses::error(meaning), status));
    }
    for (status, name) in responses::of_the_gate(endpoint, reads_body) {
        // What the operation says of a status is more exact than what the gate says.
        all.entry(status).or_insert_with(|| json!({ "$ref": format!("#/components/responses/{name}") }));
    }
    Value::Object(all)
}

fn other_response(other: &OtherResponse, usual: &Value, schemas: &mut SchemaGenerator) -> (StatusCode, Value) {
    match other {
        OtherResponse::NotModified => {
            let description = "The client's copy is current (`If-None-Match`).";
            (StatusCode::NOT_MODIFIED, json!({ "description": description }))
        }
        OtherResponse::Enveloped { status, message, schema, example } => {
            (*status, enveloped(*status, message, &schema(schemas).to_value(), &example()))
        }
        OtherResponse::Unhealthy => {
            let status = StatusCode::SERVICE_UNAVAILABLE;
            let media = &usual["content"]["application/json"];
            let data = &media["schema"]["properties"]["data"];
            let mut response = enveloped(status, "Service is not healthy", data, &media["example"]["data"]);
            // Or the gate's own refusal.
            let own = response["content"]["application/json"]["schema"].take();
            response["content"]["application/json"]["schema"] =
                json!({ "anyOf": [own, { "$ref": "#/components/schemas/Error" }] });
            (status, response)
        }
    }
}

fn with_headers(mut response: Value, status: StatusCode) -> Value {
    response["headers"] = responses::headers(status);
    response
}

fn components(schemas: Schemas) -> Value {
    json!({
        "schemas": schemas.definitions(),
        "responses": responses::shared(),
        "headers": responses::header_descriptions(),
        "parameters": {
            "IdempotencyKey": {
                "name": "Idempotency-Key", "in": "header", "required": false,
                "schema": { "type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$" },
                "description": "The client's own name for the request, for this endpoint. A request that is sent again with \
                    the same key within a day is not executed again: its response tells the outcome of the first, with \
                    `Idempotency-Replayed: true` and without credentials. A refused request may be corrected and sent again \
                    with the same key.",
            },
            "CsrfToken": {
                "name": "X-CSRF-Token", "in": "header", "required": false, "schema": { "type": "string" },
                "description": "The token of `GET /api/csrf-token`, sent together with its cookies. Bearer tokens need it, \
                    too, unless `csrf.mode` is `cookie`; API keys never need it.",
            },
        },
        "securitySchemes": {
            "bearer": {
                "type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": "An access token, or an API key.",
            },
            "apiKey": { "type": "apiKey", "in": "header", "name": "X-API-Key", "description": "`pk_…`" },
            "sessionCookie": {
                "type": "apiKey", "in": "cookie", "name": "portcullis-session",
                "description": "Set by a sign-in with `transport: cookie`; in production `__Host-portcullis-session`.",
            },
        },
    })
}
