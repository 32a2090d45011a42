//! Responses that many operations share: the refusals of the gate, and the headers of every response.

use http::StatusCode;
use portcullis_model::policy::{CsrfPolicy, LimitClass};
use serde_json::{Map, Value, json};

use super::document::is_unsafe;
use crate::endpoint::row::{Access, Endpoint};

/// The shared error responses: name, status, description.
const SHARED: [(&str, StatusCode, &str); 15] = [
    (
        "BadRequest",
        StatusCode::BAD_REQUEST,
        "The request, its body, its query, its version or its credentials are not valid.",
    ),
    ("Unauthorized", StatusCode::UNAUTHORIZED, "`Access token is required`, or `Invalid token`."),
    (
        "Forbidden",
        StatusCode::FORBIDDEN,
        "`Insufficient permissions`, `Invalid CSRF token`, or `Cross-site request refused`.",
    ),
    ("NotFound", StatusCode::NOT_FOUND, "The resource does not exist."),
    ("RequestTimeout", StatusCode::REQUEST_TIMEOUT, "The body did not arrive in time."),
    ("VersionGone", StatusCode::GONE, "The version is past its sunset."),
    ("KeyReused", StatusCode::UNPROCESSABLE_ENTITY, "This Idempotency-Key belongs to another request."),
    ("PayloadTooLarge", StatusCode::PAYLOAD_TOO_LARGE, "The body is larger than 1 MB."),
    ("UriTooLong", StatusCode::URI_TOO_LONG, "The request target is longer than 16 KB."),
    ("UnsupportedMediaType", StatusCode::UNSUPPORTED_MEDIA_TYPE, "The body is not `application/json`."),
    ("ExpectationFailed", StatusCode::EXPECTATION_FAILED, "The only supported expectation is `100-continue`."),
    ("TooManyRequests", StatusCode::TOO_MANY_REQUESTS, "`Retry-After` says when to try again."),
    (
        "HeadTooLarge",
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        "The request head is larger than 64 KB, or has more than 100 fields.",
    ),
    (
        "InternalError",
        StatusCode::INTERNAL_SERVER_ERROR,
        "The gateway failed; its log explains the failure under the request id.",
    ),
    ("Unavailable", StatusCode::SERVICE_UNAVAILABLE, "The database is unreachable, or the gateway is stopping."),
];

/// The components for [`SHARED`].
pub(super) fn shared() -> Map<String, Value> {
    let described = SHARED.iter().map(|(name, status, description)| {
        let mut response = error(description);
        response["headers"] = headers(*status);
        ((*name).to_owned(), response)
    });
    described.collect()
}

/// An error response in both of its forms.
pub(super) fn error(description: &str) -> Value {
    json!({
        "description": description,
        "content": {
            "application/json": { "schema": { "$ref": "#/components/schemas/Error" } },
            "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } },
        },
    })
}

/// The statuses with which the gate may refuse a request to an endpoint, each with the name of its shared response.
pub(super) fn of_the_gate(endpoint: &Endpoint, reads_body: bool) -> Vec<(String, &'static str)> {
    let mut names = vec![
        "BadRequest",
        "PayloadTooLarge",
        "UriTooLong",
        "ExpectationFailed",
        "HeadTooLarge",
        "InternalError",
        "Unavailable",
    ];
    if endpoint.access != Access::Anyone {
        names.push("Unauthorized");
    }
    let by_cookie = is_unsafe(&endpoint.method) && endpoint.csrf != CsrfPolicy::Exempt;
    if by_cookie || matches!(endpoint.access, Access::SignedIn | Access::Holding(_)) {
        names.push("Forbidden");
    }
    if endpoint.template.contains('{') {
        names.push("NotFound");
    }
    if endpoint.idempotent {
        names.push("KeyReused");
    }
    if reads_body {
        names.extend(["RequestTimeout", "UnsupportedMediaType"]);
    }
    if endpoint.template.starts_with("/api/") {
        names.push("VersionGone");
    }
    if endpoint.limit != LimitClass::Exempt {
        names.push("TooManyRequests");
    }
    let status = |name: &str| SHARED.iter().find(|(known, ..)| *known == name).map(|(_, status, _)| *status);
    names
        .into_iter()
        .map(|name| (status(name).expect("only shared responses are named").as_str().to_owned(), name))
        .collect()
}

/// The headers of a response with this status.
pub(super) fn headers(status: StatusCode) -> Value {
    let mut names = vec!["X-Request-Id", "X-API-Version", "RateLimit", "RateLimit-Policy"];
    if [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE].contains(&status) {
        names.push("Retry-After");
    }
    let header = |name: &str| (name.to_owned(), json!({ "$ref": format!("#/components/headers/{name}") }));
    Value::Object(names.into_iter().map(header).collect())
}

/// The components for [`headers`].
pub(super) fn header_descriptions() -> Value {
    let header = |description: &str, kind: &str| json!({ "description": description, "schema": { "type": kind } });
    json!({
        "X-Request-Id": header("The id that the gateway gave the request.", "string"),
        "X-API-Version": header("The version of the API that answered; on every path under `/api`.", "string"),
        "RateLimit": header("The remaining requests of the tightest limit, and the seconds until it resets.", "string"),
        "RateLimit-Policy": header("The tightest limit: requests and seconds.", "string"),
        "Retry-After": header("Seconds to wait.", "integer"),
    })
}
