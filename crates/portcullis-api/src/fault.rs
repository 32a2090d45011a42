//! The one place where errors become responses (contract §1).
//!
//! Rooms below know no HTTP: their errors say what happened, and this module
//! chooses the status, the texts that front ends compare literally, and the
//! stable `code`.

mod gate;
mod identity;
mod upstream;

use http::header::{CONNECTION, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use http_body_util::Full;
use portcullis_gate::BodyError;
use portcullis_model::{Clock, user::rfc3339_millis};
use serde::Serialize;
use serde_json::Value;

use crate::reply::{JSON, ReplyBody, to_bytes};

/// Why a request was not served, as a client sees it.
#[derive(Debug)]
pub struct Fault {
    status: StatusCode,
    /// The short text that front ends compare.
    error: &'static str,
    /// A sentence for people.
    message: String,
    /// The stable machine name.
    code: &'static str,
    details: Option<Value>,
    headers: Box<HeaderMap>,
}

/// What an error answer says besides the fault itself.
#[derive(Clone, Copy, Debug)]
pub struct FaultContext<'a> {
    /// The request's path as it came, without the query.
    pub path: &'a str,
    /// Our request id.
    pub request_id: &'a str,
    /// Whether the client's `Accept` prefers `application/problem+json`.
    pub prefers_problem: bool,
}

impl Fault {
    fn new(status: StatusCode, error: &'static str, message: impl Into<String>, code: &'static str) -> Self {
        Self { status, error, message: message.into(), code, details: None, headers: Box::default() }
    }

    fn details(mut self, details: Value) -> Self {
        self.details = Some(details);
        self
    }

    fn header(mut self, name: HeaderName, value: impl Into<HeaderValue>) -> Self {
        self.headers.insert(name, value.into());
        self
    }

    /// The status it answers with.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The stable machine name.
    pub fn code(&self) -> &'static str {
        self.code
    }

    /// The sentence for people.
    pub fn message(&self) -> &str {
        &self.message
    }

    pub(crate) fn details_json(&self) -> Option<&Value> {
        self.details.as_ref()
    }

    pub(crate) fn validation(problems: Vec<String>) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "Validation failed",
            "The request body is not valid. See details.body.",
            "request.validation_failed",
        )
        .details(Value::from_iter([("body", Value::from(problems))]))
    }

    /// Parameters of the query that cannot be used, one sentence each.
    pub(crate) fn bad_query(problems: Vec<String>) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "Validation failed",
            "The query is not valid. See details.query.",
            "request.validation_failed",
        )
        .details(Value::from_iter([("query", Value::from(problems))]))
    }

    pub(crate) fn malformed_json(error: &serde_json::Error) -> Self {
        // serde_json's own message may quote the body; the position is enough.
        let problem = match error.classify() {
            serde_json::error::Category::Data => {
                format!(
                    "Body must be a JSON object without repeated members (line {}, column {})",
                    error.line(),
                    error.column()
                )
            }
            _ => format!("Body must be valid JSON (line {}, column {})", error.line(), error.column()),
        };
        let mut fault = Self::validation(vec![problem]);
        fault.code = "request.malformed_json";
        fault
    }

    pub(crate) fn unsupported_media_type() -> Self {
        Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "Unsupported media type",
            "Send the body as application/json.",
            "request.unsupported_media_type",
        )
    }

    pub(crate) fn from_body(error: BodyError) -> Self {
        match error {
            BodyError::TooLarge => Self::too_large(),
            BodyError::TooSlow => Self::body_too_slow(),
            BodyError::Transport(source) => {
                tracing::debug!(error = %source, "a request body was cut");
                Self::from_body_cut()
            }
        }
    }

    pub(crate) fn bad_idempotency_key() -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "Validation failed",
            "Idempotency-Key is one header of 1 to 255 visible ASCII characters.",
            "request.idempotency_key_invalid",
        )
    }

    fn body_too_slow() -> Self {
        Self::new(
            StatusCode::REQUEST_TIMEOUT,
            "Request timeout",
            "The request body did not come in time.",
            "request.timeout",
        )
        .header(CONNECTION, HeaderValue::from_static("close"))
    }

    fn from_body_cut() -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "Bad request",
            "The request body ended before it was complete.",
            "request.incomplete_body",
        )
    }

    fn too_large() -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "Payload too large",
            "The request body is larger than this endpoint accepts.",
            "request.too_large",
        )
    }

    pub(crate) fn cross_site() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "Cross-site request refused",
            "The request did not come from a page of this site or of an allowed origin.",
            "csrf.cross_site",
        )
    }

    pub(crate) fn token_required() -> Self {
        unauthorised("Access token is required", "Sign in and send the access token.", "auth.token_required")
    }

    pub(crate) fn invalid_token() -> Self {
        unauthorised(
            "Invalid token",
            "The access token is not valid. Sign in again or refresh it.",
            "auth.invalid_token",
        )
    }

    pub(crate) fn not_found(what: &'static str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "Not found", format!("{what} was not found."), "resource.not_found")
    }

    pub(crate) fn unavailable() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "Service unavailable",
            "The service cannot answer right now. Try again shortly.",
            "service.unavailable",
        )
        .header(RETRY_AFTER, HeaderValue::from(1))
    }

    /// A failure of the gateway itself. The response says nothing about it but the request id.
    pub fn internal() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "Internal server error",
            "Something went wrong on our side. Quote the request id when you report it.",
            "internal",
        )
    }

    /// The answer, in the envelope or as a problem document (RFC 9457).
    pub fn into_response(self, context: FaultContext<'_>, clock: &Clock) -> Response<ReplyBody> {
        let Self { status, error, message, code, details, headers } = self;
        if status == StatusCode::NO_CONTENT {
            let mut response = Response::new(Full::default());
            *response.status_mut() = status;
            return response;
        }
        let (content_type, body) = if context.prefers_problem {
            let problem = Problem {
                kind: "about:blank",
                title: error,
                status: status.as_u16(),
                detail: &message,
                instance: context.path,
                code,
                request_id: context.request_id,
                details: details.as_ref(),
            };
            ("application/problem+json", to_bytes(&problem))
        } else {
            let envelope = ErrorEnvelope {
                success: false,
                error,
                message: &message,
                code,
                details: details.as_ref(),
                request_id: context.request_id,
                timestamp: rfc3339_millis(clock.now()),
                path: context.path,
                status_code: status.as_u16(),
            };
            (JSON, to_bytes(&envelope))
        };
        let mut response = Response::new(Full::new(body));
        *response.status_mut() = status;
        *response.headers_mut() = *headers;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        response
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ErrorEnvelope<'a> {
    success: bool,
    error: &'a str,
    message: &'a str,
    code: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<&'a Value>,
    request_id: &'a str,
    timestamp: String,
    path: &'a str,
    status_code: u16,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Problem<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    title: &'a str,
    status: u16,
    detail: &'a str,
    instance: &'a str,
    code: &'a str,
    request_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<&'a Value>,
}

fn unauthorised(error: &'static str, message: &'static str, code: &'static str) -> Fault {
    Fault::new(StatusCode::UNAUTHORIZED, error, message, code)
        .header(http::header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))
}
