//! Answers of built-in endpoints and the envelope around them (contract §1).

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, SET_COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use http_body_util::Full;
use portcullis_model::{Clock, user::rfc3339_millis};
use serde::Serialize;
use serde_json::Value;

use crate::idempotency;

/// The body of every answer that Portcullis itself writes.
pub type ReplyBody = Full<Bytes>;

/// A successful answer, before it is put into its envelope.
#[derive(Debug)]
pub struct Reply {
    status: StatusCode,
    content: Content,
    headers: HeaderMap,
}

#[derive(Debug)]
enum Content {
    Enveloped { data: Value, message: &'static str },
    Bare { content_type: &'static str, body: Bytes },
}

impl Reply {
    /// 200 with data and a sentence.
    pub fn ok(message: &'static str, data: impl Serialize) -> Self {
        Self::enveloped(StatusCode::OK, message, data)
    }

    /// 201 with data and a sentence.
    pub fn created(message: &'static str, data: impl Serialize) -> Self {
        Self::enveloped(StatusCode::CREATED, message, data)
    }

    /// Any status with data and a sentence.
    pub fn enveloped(status: StatusCode, message: &'static str, data: impl Serialize) -> Self {
        let data = serde_json::to_value(data).expect("answers are plain data with string keys");
        let content = Content::Enveloped { data, message };
        Self { status, content, headers: HeaderMap::new() }
    }

    /// 200 with a body as it stands.
    pub fn bare(content_type: &'static str, body: impl Into<Bytes>) -> Self {
        let content = Content::Bare { content_type, body: body.into() };
        Self { status: StatusCode::OK, content, headers: HeaderMap::new() }
    }

    /// 304: what the client has is still so.
    pub fn not_modified() -> Self {
        Self { status: StatusCode::NOT_MODIFIED, ..Self::bare("", Bytes::new()) }
    }

    /// Says that the request was done before (requirement 48).
    pub fn replayed(self) -> Self {
        self.header(idempotency::REPLAYED, HeaderValue::from_static("true"))
    }

    /// Adds a response header.
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.append(name, value);
        self
    }

    /// Adds a `Set-Cookie`.
    pub fn cookie(self, cookie: HeaderValue) -> Self {
        self.header(SET_COOKIE, cookie)
    }

    /// Keeps the answer out of every cache: it holds credentials or personal data.
    pub fn private(self) -> Self {
        self.header(CACHE_CONTROL, HeaderValue::from_static("no-store"))
    }

    pub(crate) fn into_response(self, path: &str, clock: &Clock) -> Response<ReplyBody> {
        let Self { status, content, headers } = self;
        let (content_type, body) = match content {
            Content::Bare { content_type, body } => (content_type, body),
            Content::Enveloped { data, message } => {
                let success = status.is_success();
                let envelope = Envelope {
                    success,
                    data,
                    message,
                    timestamp: rfc3339_millis(clock.now()),
                    path,
                    status_code: status.as_u16(),
                };
                (JSON, to_bytes(&envelope))
            }
        };
        let mut response = Response::new(Full::new(body));
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        if status != StatusCode::NOT_MODIFIED {
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        }
        response
    }
}

pub(crate) const JSON: &str = "application/json; charset=utf-8";

pub(crate) fn to_bytes(value: &impl Serialize) -> Bytes {
    serde_json::to_vec(value).expect("envelopes are plain data with string keys").into()
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Envelope<'a> {
    success: bool,
    data: Value,
    message: &'static str,
    timestamp: String,
    path: &'a str,
    status_code: u16,
}
