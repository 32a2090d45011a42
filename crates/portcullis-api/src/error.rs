//! Error responses: what they hold and how they are written (`docs/contract.md`, "Envelope and errors").
//!
//! Crates below this one know no HTTP. `kind.rs` lists every status, text and code; `mapping.rs` is the one place
//! that chooses among them for the errors of the gate, of identity and of the data plane.

mod body;
mod explanation;
mod kind;
mod mapping;

use std::borrow::Cow;

use http::header::{CONNECTION, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use http_body_util::Full;
use portcullis_model::{ApiTime, Clock};
use serde_json::Value;

pub(crate) use body::{ErrorEnvelope, Problem};
pub(crate) use explanation::EXPLANATIONS;
pub use kind::ErrorKind;

use crate::reply::{JSON, ReplyBody, to_bytes};

/// An error as a client sees it: a kind, and what one occurrence adds to it.
#[derive(Debug)]
pub struct ApiError {
    kind: &'static ErrorKind,
    message: Cow<'static, str>,
    details: Option<Value>,
    headers: Box<HeaderMap>,
    fault: Option<Fault>,
}

/// Why the gateway itself failed to respond. It goes into error reports and never into a response: `into_response` leaves
/// it in the extensions of the response.
#[derive(Clone, Debug)]
pub struct Fault(pub String);

/// The parts of an error response that belong to the request rather than to the error.
#[derive(Clone, Copy, Debug)]
pub struct ErrorContext<'a> {
    /// The request's path as the client sent it, without the query.
    pub path: &'a str,
    /// The request id that the gateway made.
    pub request_id: &'a str,
    /// Whether the client's `Accept` prefers `application/problem+json`.
    pub prefers_problem: bool,
}

impl ApiError {
    /// An error of this kind with the kind's own message and headers.
    pub(crate) fn new(kind: &'static ErrorKind) -> Self {
        let error =
            Self { kind, message: Cow::Borrowed(kind.message), details: None, headers: Box::default(), fault: None };
        if kind == ErrorKind::TOKEN_REQUIRED || kind == ErrorKind::INVALID_TOKEN {
            return error.header(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        match kind.status {
            StatusCode::SERVICE_UNAVAILABLE => error.header(RETRY_AFTER, HeaderValue::from(1)),
            // The rest of the body is still on its way: nothing more can be read from this connection.
            StatusCode::REQUEST_TIMEOUT => error.header(CONNECTION, HeaderValue::from_static("close")),
            _ => error,
        }
    }

    fn message_of(mut self, message: impl Into<Cow<'static, str>>) -> Self {
        self.message = message.into();
        self
    }

    fn details(mut self, details: Value) -> Self {
        self.details = Some(details);
        self
    }

    fn header(mut self, name: HeaderName, value: impl Into<HeaderValue>) -> Self {
        self.headers.insert(name, value.into());
        self
    }

    /// Says why the gateway itself failed.
    fn because_of(mut self, error: &dyn std::error::Error) -> Self {
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            let cause_text = cause.to_string();
            if !text.contains(&cause_text) {
                text.push_str(": ");
                text.push_str(&cause_text);
            }
            source = cause.source();
        }
        self.fault = Some(Fault(text));
        self
    }

    /// Returns the status code of the response.
    pub fn status(&self) -> StatusCode {
        self.kind.status
    }

    /// Returns the stable name for programs.
    pub fn code(&self) -> &'static str {
        self.kind.code
    }

    /// Returns the sentence for users.
    pub fn message(&self) -> &str {
        &self.message
    }

    pub(crate) fn details_json(&self) -> Option<&Value> {
        self.details.as_ref()
    }

    /// A body that breaks its type or a rule: one sentence a problem.
    pub(crate) fn validation(problems: Vec<String>) -> Self {
        Self::new(ErrorKind::VALIDATION_FAILED).details(Value::from_iter([("body", Value::from(problems))]))
    }

    /// Query parameters that break their type or a rule: one sentence a problem.
    pub(crate) fn invalid_query(problems: Vec<String>) -> Self {
        Self::new(ErrorKind::INVALID_QUERY).details(Value::from_iter([("query", Value::from(problems))]))
    }

    /// A parameter of the path that breaks its type or a rule: one sentence a problem.
    pub(crate) fn invalid_path(problems: Vec<String>) -> Self {
        Self::new(ErrorKind::INVALID_PATH).details(Value::from_iter([("path", Value::from(problems))]))
    }

    /// A body that is no JSON object. serde_json's own message may quote the body, so only the position is told.
    pub(crate) fn malformed_json(error: &serde_json::Error) -> Self {
        let rule = match error.classify() {
            serde_json::error::Category::Data => "Body must be a JSON object without repeated members",
            _ => "Body must be valid JSON",
        };
        let problem = format!("{rule} (line {}, column {})", error.line(), error.column());
        Self::new(ErrorKind::MALFORMED_JSON).details(Value::from_iter([("body", [problem])]))
    }

    /// A resource that does not exist; `what` begins the sentence, such as "That user".
    pub(crate) fn not_found(what: &'static str) -> Self {
        Self::new(ErrorKind::RESOURCE_NOT_FOUND).message_of(format!("{what} was not found."))
    }

    /// A failure of the gateway itself. The response tells nothing about it but the request id.
    pub fn internal() -> Self {
        Self::new(ErrorKind::INTERNAL)
    }

    /// Writes the response, in the envelope or as a problem document (RFC 9457).
    pub fn into_response(self, context: ErrorContext<'_>, clock: &Clock) -> Response<ReplyBody> {
        let Self { kind, message, details, headers, fault } = self;
        // An upstream that fails and a limit that is reached are no failures of ours; metrics tell of them.
        let is_ours = kind == ErrorKind::INTERNAL || kind == ErrorKind::UNAVAILABLE;
        let fault = fault.or_else(|| is_ours.then(|| Fault(kind.message.to_owned())));
        let status = kind.status.as_u16();
        let (content_type, body) = if context.prefers_problem {
            let problem = Problem {
                kind: Cow::Borrowed(kind.link),
                title: Cow::Borrowed(kind.error),
                status,
                detail: message,
                instance: Cow::Borrowed(context.path),
                code: Cow::Borrowed(kind.code),
                request_id: Cow::Borrowed(context.request_id),
                details,
            };
            ("application/problem+json", to_bytes(&problem))
        } else {
            let envelope = ErrorEnvelope {
                success: false,
                error: Cow::Borrowed(kind.error),
                message,
                code: Cow::Borrowed(kind.code),
                details,
                request_id: Cow::Borrowed(context.request_id),
                timestamp: ApiTime(clock.now()),
                path: Cow::Borrowed(context.path),
                status_code: status,
            };
            (JSON, to_bytes(&envelope))
        };
        let mut response = Response::new(Full::new(body));
        *response.status_mut() = kind.status;
        *response.headers_mut() = *headers;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        if let Some(fault) = fault {
            response.extensions_mut().insert(fault);
        }
        response
    }
}
