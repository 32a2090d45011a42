//! Putting the description together.

use http::Method;
use portcullis_gate::RouteSpec;
use portcullis_model::policy::{AuthRequirement, CsrfPolicy, LimitClass};
use serde_json::{Map, Value, json};

use crate::endpoint::{endpoints, route_specs};

const OPERATIONS: &str = include_str!("operations.json");
const SCHEMAS: &str = include_str!("schemas.json");

const ABOUT: &str = "The built-in API of a Portcullis gateway: signing in, accounts, API keys, and what operators ask. \
Services behind the gateway are not described here; the same gate stands before them.\n\n\
Every path under `/api/v1/` is there without the version too, as `/api/…`; `Accept-Version`, `X-API-Version` and \
`?api_version=` choose the version then. Answers are enveloped as `{success, data, message, timestamp, path, \
statusCode}`, errors as `{success, error, message, code, details?, requestId, timestamp, path, statusCode}`, or as \
RFC 9457 for whoever prefers `application/problem+json`.";

/// The whole description, the same each time.
pub(super) fn document() -> Value {
    let described: Value = serde_json::from_str(OPERATIONS).expect("operations.json is JSON");
    let mut paths: Map<String, Value> = Map::new();
    for (endpoint, spec) in endpoints().iter().zip(route_specs()) {
        let key = format!("{} {}", endpoint.method, endpoint.template);
        let operation = operation(&endpoint.method, &spec, &described["operations"][&key]);
        let path = paths.entry(endpoint.template).or_insert_with(|| json!({}));
        path[endpoint.method.as_str().to_ascii_lowercase()] = operation;
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Portcullis",
            "version": env!("CARGO_PKG_VERSION"),
            "description": ABOUT,
            "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
        },
        "servers": [{ "url": "/", "description": "The gateway that gives this description" }],
        "tags": described["tags"],
        "paths": paths,
        "components": components(),
    })
}

fn operation(method: &Method, spec: &RouteSpec, described: &Value) -> Value {
    let mut operation = json!({
        "operationId": described["id"],
        "tags": [described["tag"]],
        "summary": described["summary"],
        "security": security(spec),
        "responses": responses(method, spec, described),
    });
    let description = [described["description"].as_str().map(str::to_owned), who(spec)];
    let description: Vec<String> = description.into_iter().flatten().collect();
    operation["description"] = Value::from(description.join("\n\n"));
    let parameters = parameters(method, spec, described);
    if !parameters.is_empty() {
        operation["parameters"] = Value::from(parameters);
    }
    if let Some(body) = described.get("body") {
        let content = json!({ "application/json": { "schema": body["schema"], "example": body["example"] } });
        operation["requestBody"] = json!({ "required": body["required"], "content": content });
    }
    operation
}

/// Who may call, in a sentence.
fn who(spec: &RouteSpec) -> Option<String> {
    let policy = &spec.policy;
    let permissions: Vec<String> =
        policy.permissions.always.iter().map(|permission| format!("`{}`", permission.as_str())).collect();
    match (policy.auth, policy.signed_in_only, permissions.is_empty()) {
        (AuthRequirement::None, ..) => Some("For everybody.".to_owned()),
        (_, true, _) => Some("For whoever is signed in; an API key does not do.".to_owned()),
        (_, false, true) => Some("For whoever is signed in, or has an API key.".to_owned()),
        (_, false, false) => Some(format!("Needs {}.", permissions.join(" and "))),
    }
}

fn security(spec: &RouteSpec) -> Value {
    if spec.policy.auth == AuthRequirement::None {
        return json!([]);
    }
    if spec.policy.signed_in_only {
        return json!([{ "bearer": [] }, { "sessionCookie": [] }]);
    }
    json!([{ "bearer": [] }, { "apiKey": [] }, { "sessionCookie": [] }])
}

/// Whether an Idempotency-Key keeps it from being done twice.
fn is_once(method: &Method, spec: &RouteSpec) -> bool {
    endpoints().iter().any(|endpoint| endpoint.once && endpoint.method == *method && endpoint.template == spec.template)
}

fn is_unsafe(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

fn parameters(method: &Method, spec: &RouteSpec, described: &Value) -> Vec<Value> {
    let mut list = Vec::new();
    for (name, parameter) in described["path"].as_object().into_iter().flatten() {
        list.push(json!({
            "name": name, "in": "path", "required": true,
            "description": parameter["description"], "schema": parameter["schema"],
        }));
    }
    for parameter in described["query"].as_array().into_iter().flatten() {
        let mut described = parameter.clone();
        described["in"] = Value::from("query");
        list.push(described);
    }
    if is_once(method, spec) {
        list.push(json!({ "$ref": "#/components/parameters/IdempotencyKey" }));
    }
    if is_unsafe(method) && matches!(spec.policy.csrf, CsrfPolicy::Checked | CsrfPolicy::ExemptUnlessCookie) {
        list.push(json!({ "$ref": "#/components/parameters/CsrfToken" }));
    }
    list
}

/// The handler's own answers, and every one that the gate may give in its place.
fn responses(method: &Method, spec: &RouteSpec, described: &Value) -> Value {
    let mut responses = Map::new();
    let success = &described["success"];
    responses.insert(success["status"].to_string(), good(success));
    for status in success["also"].as_array().into_iter().flatten() {
        responses.insert(status.to_string(), also(status, success));
    }
    for (status, what) in described["errors"].as_object().into_iter().flatten() {
        let mut response = error_response(what.as_str().unwrap_or_default());
        response["headers"] = headers(status);
        responses.insert(status.clone(), response);
    }
    for (status, name) in gate_statuses(method, spec, described) {
        // What a handler says of a status is more than the gate does.
        responses.entry(status).or_insert_with(|| json!({ "$ref": format!("#/components/responses/{name}") }));
    }
    Value::Object(responses)
}

fn gate_statuses(method: &Method, spec: &RouteSpec, described: &Value) -> Vec<(&'static str, &'static str)> {
    let policy = &spec.policy;
    let mut statuses = vec![
        ("400", "BadRequest"),
        ("413", "PayloadTooLarge"),
        ("414", "UriTooLong"),
        ("417", "ExpectationFailed"),
        ("431", "HeadTooLarge"),
        ("500", "InternalError"),
        ("503", "Unavailable"),
    ];
    if policy.auth == AuthRequirement::Required {
        statuses.push(("401", "Unauthorized"));
    }
    let by_cookie = is_unsafe(method) && policy.csrf != CsrfPolicy::Exempt;
    if by_cookie || policy.signed_in_only || !policy.permissions.always.is_empty() {
        statuses.push(("403", "Forbidden"));
    }
    if spec.template.contains('{') {
        statuses.push(("404", "NotFound"));
    }
    if is_once(method, spec) {
        // 409, that it is under way, stands with the endpoint's own conflicts.
        statuses.push(("422", "KeyReused"));
    }
    if described.get("body").is_some() {
        statuses.extend([("408", "RequestTimeout"), ("415", "UnsupportedMediaType")]);
    }
    if spec.template.starts_with("/api/") {
        statuses.push(("410", "VersionGone"));
    }
    if policy.limit_class != LimitClass::Exempt {
        statuses.push(("429", "TooManyRequests"));
    }
    statuses
}

fn good(success: &Value) -> Value {
    if let Some(bare) = success["bare"].as_object() {
        let content: Map<String, Value> = bare
            .iter()
            .map(|(kind, example)| {
                let schema =
                    if example.is_string() { json!({ "type": "string" }) } else { json!({ "type": "object" }) };
                (kind.clone(), json!({ "schema": schema, "example": example }))
            })
            .collect();
        return json!({ "description": "The thing itself, without an envelope.", "headers": headers("200"), "content": content });
    }
    let status = &success["status"];
    let schema = json!({
        "type": "object",
        "required": ["success", "data", "message", "timestamp", "path", "statusCode"],
        "properties": {
            "success": { "const": true },
            "data": success["data"],
            "message": { "type": "string" },
            "timestamp": { "type": "string", "format": "date-time" },
            "path": { "type": "string" },
            "statusCode": { "const": status },
        },
    });
    let example = json!({
        "success": true,
        "data": success["example"],
        "message": success["message"],
        "timestamp": "2026-11-24T09:00:00.000Z",
        "path": "/api/v1/…",
        "statusCode": status,
    });
    let content = json!({ "application/json": { "schema": schema, "example": example } });
    json!({ "description": success["message"], "headers": headers("200"), "content": content })
}

/// Another good end than the usual one.
fn also(status: &Value, success: &Value) -> Value {
    match status.as_u64() {
        Some(304) => {
            json!({ "description": "What the client has is still so (`If-None-Match`).", "headers": headers("304") })
        }
        Some(202) => {
            let mut answer = success.clone();
            answer["status"] = status.clone();
            answer["data"] = json!({});
            answer["example"] = Value::Null;
            answer["message"] = Value::from("Registration received. Check your email.");
            good(&answer)
        }
        _ => {
            // The same document with bad news, or the gate's own.
            let mut answer = success.clone();
            answer["status"] = status.clone();
            answer["message"] = Value::from("Not now");
            let mut response = good(&answer);
            let mut own = response["content"]["application/json"]["schema"].take();
            own["properties"]["success"] = json!({ "const": false });
            response["content"]["application/json"]["example"]["success"] = Value::from(false);
            response["content"]["application/json"]["schema"] =
                json!({ "anyOf": [own, { "$ref": "#/components/schemas/Error" }] });
            response
        }
    }
}

fn headers(status: &str) -> Value {
    let mut names = vec!["X-Request-Id", "X-API-Version", "RateLimit", "RateLimit-Policy"];
    if ["429", "503"].contains(&status) {
        names.push("Retry-After");
    }
    let header = |name: &str| (name.to_owned(), json!({ "$ref": format!("#/components/headers/{name}") }));
    Value::Object(names.into_iter().map(header).collect())
}

fn error_response(description: &str) -> Value {
    json!({
        "description": description,
        "content": {
            "application/json": { "schema": { "$ref": "#/components/schemas/Error" } },
            "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } },
        },
    })
}

fn components() -> Value {
    let schemas: Value = serde_json::from_str(SCHEMAS).expect("schemas.json is JSON");
    let responses: Map<String, Value> = [
        ("BadRequest", "400", "The request, its body, its query, its version or its credentials cannot be used."),
        ("Unauthorized", "401", "`Access token is required`, or `Invalid token`."),
        ("Forbidden", "403", "`Insufficient permissions`, `Invalid CSRF token`, or `Cross-site request refused`."),
        ("NotFound", "404", "There is no such thing."),
        ("RequestTimeout", "408", "The body did not come in time."),
        ("VersionGone", "410", "The version is past its sunset."),
        ("KeyReused", "422", "This Idempotency-Key belongs to another request."),
        ("PayloadTooLarge", "413", "The body is larger than 1 MB."),
        ("UriTooLong", "414", "The request target is longer than 16 KB."),
        ("UnsupportedMediaType", "415", "The body is not `application/json`."),
        ("ExpectationFailed", "417", "The only expectation that is met is `100-continue`."),
        ("TooManyRequests", "429", "`Retry-After` says when to come back."),
        ("HeadTooLarge", "431", "The head is larger than 64 KB, or has more than 100 fields."),
        ("InternalError", "500", "A fault of the gateway; its log has it under the request id."),
        ("Unavailable", "503", "The database cannot be reached, or the gateway is stopping."),
    ]
    .into_iter()
    .map(|(name, status, description)| {
        let mut response = error_response(description);
        response["headers"] = headers(status);
        (name.to_owned(), response)
    })
    .collect();
    let header = |description: &str, schema: Value| json!({ "description": description, "schema": schema });
    json!({
        "schemas": schemas,
        "responses": responses,
        "headers": {
            "X-Request-Id": header("Our name for the request.", json!({ "type": "string" })),
            "X-API-Version": header("The version that answered; on every path under `/api`.", json!({ "type": "string" })),
            "RateLimit": header("What is left of the tightest limit, and for how many seconds.", json!({ "type": "string" })),
            "RateLimit-Policy": header("That limit: requests and seconds.", json!({ "type": "string" })),
            "Retry-After": header("Seconds to wait.", json!({ "type": "integer" })),
        },
        "parameters": {
            "IdempotencyKey": {
                "name": "Idempotency-Key", "in": "header", "required": false,
                "schema": { "type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$" },
                "description": "A name of the client's own for the request, for this endpoint. Sent again with the same key \
                    within a day it is not done again: the answer tells what came of the first, with \
                    `Idempotency-Replayed: true` and without credentials. One that was refused may be mended and sent again.",
            },
            "CsrfToken": {
                "name": "X-CSRF-Token", "in": "header", "required": false, "schema": { "type": "string" },
                "description": "The token of `GET /api/csrf-token`, beside its cookies. Bearer tokens need it too unless \
                    `csrf.mode` is `cookie`; API keys never do.",
            },
        },
        "securitySchemes": {
            "bearer": { "type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": "An access token, or an API key." },
            "apiKey": { "type": "apiKey", "in": "header", "name": "X-API-Key", "description": "`pk_…`" },
            "sessionCookie": { "type": "apiKey", "in": "cookie", "name": "portcullis-session", "description": "Set by a sign-in with `transport: cookie`; in production `__Host-portcullis-session`." },
        },
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_endpoint_is_described_and_nothing_else_is() {
        let described: Value = serde_json::from_str(OPERATIONS).expect("JSON");
        let described: BTreeSet<String> =
            described["operations"].as_object().expect("operations").keys().cloned().collect();
        let there: BTreeSet<String> =
            endpoints().iter().map(|endpoint| format!("{} {}", endpoint.method, endpoint.template)).collect();
        let missing: Vec<_> = there.difference(&described).collect();
        let stale: Vec<_> = described.difference(&there).collect();
        assert!(missing.is_empty() && stale.is_empty(), "operations.json lacks {missing:?} and has {stale:?}");
    }

    #[test]
    fn operations_have_names_of_their_own_and_path_parameters_that_exist() {
        let document = document();
        let mut names = BTreeSet::new();
        for (path, methods) in document["paths"].as_object().expect("paths") {
            for operation in methods.as_object().expect("methods").values() {
                let name = operation["operationId"].as_str().expect("a name");
                assert!(names.insert(name.to_owned()), "{name} is there twice");
                let given: BTreeSet<&str> = operation["parameters"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .filter(|parameter| parameter["in"] == "path")
                    .filter_map(|parameter| parameter["name"].as_str())
                    .collect();
                let asked: BTreeSet<&str> = path.split('{').skip(1).filter_map(|rest| rest.split('}').next()).collect();
                assert_eq!(given, asked, "{path}");
            }
        }
    }

    #[test]
    fn every_example_is_one_of_its_schema() {
        let document = document();
        let mut checked = 0;
        for (path, methods) in document["paths"].as_object().expect("paths") {
            for operation in methods.as_object().expect("methods").values() {
                let answers = operation["responses"].as_object().expect("responses").values();
                let contents = std::iter::once(&operation["requestBody"]).chain(answers);
                for content in contents.filter_map(|holder| holder.get("content")) {
                    for media in content.as_object().expect("media types").values() {
                        let (Some(schema), Some(example)) = (media.get("schema"), media.get("example")) else {
                            continue;
                        };
                        let mut whole = schema.clone();
                        whole["components"] = document["components"].clone();
                        let validator = jsonschema::validator_for(&whole).expect("a schema");
                        // 202 has no data of its own.
                        let problems: Vec<String> =
                            validator.iter_errors(example).map(|problem| problem.to_string()).collect();
                        assert!(problems.is_empty(), "{path}: {problems:?} in {example}");
                        checked += 1;
                    }
                }
            }
        }
        assert!(checked > 60, "{checked} examples");
    }
}
