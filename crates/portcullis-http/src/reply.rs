//! Answers of built-in endpoints and the envelope around them (contract §1).

use std::borrow::Cow;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, SET_COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use http_body_util::Full;
use portcullis_model::{Clock, SecretString, user::rfc3339_millis};
use serde::Serialize;
use serde_json::{Value, json};

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
    Enveloped { data: Value, message: Cow<'static, str>, credential: Option<Credential> },
    Bare { content_type: &'static str, body: Bytes },
}

/// A member of an answer that nobody keeps.
#[derive(Debug)]
struct Credential {
    name: &'static str,
    value: SecretString,
    later: &'static str,
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
        let content = Content::Enveloped { data, message: message.into(), credential: None };
        Self { status, content, headers: HeaderMap::new() }
    }

    /// Adds a member of `data` that only this answer ever holds: what is [stored](Self::storable) has `later` for its
    /// message, and not the credential.
    pub fn credential(mut self, name: &'static str, value: &SecretString, later: &'static str) -> Self {
        if let Content::Enveloped { credential, .. } = &mut self.content {
            *credential = Some(Credential { name, value: value.clone(), later });
        }
        self
    }

    /// What may be kept of it, to be given again: no credential and no cookie (requirement 48).
    pub(crate) fn storable(&self) -> Option<Value> {
        let Content::Enveloped { data, message, credential } = &self.content else { return None };
        let message = credential.as_ref().map_or(&**message, |credential| credential.later);
        Some(json!({ "status": self.status.as_u16(), "data": data, "message": message }))
    }

    /// What was kept, as an answer.
    pub(crate) fn stored(kept: &Value) -> Option<Self> {
        let status = u16::try_from(kept["status"].as_u64()?).ok()?;
        let message = kept["message"].as_str()?.to_owned();
        let content = Content::Enveloped { data: kept["data"].clone(), message: message.into(), credential: None };
        Some(Self { status: StatusCode::from_u16(status).ok()?, content, headers: HeaderMap::new() })
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
            Content::Enveloped { mut data, message, credential } => {
                if let Some(Credential { name, value, .. }) = credential {
                    data[name] = Value::from(value.expose());
                }
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
    message: Cow<'static, str>,
    timestamp: String,
    path: &'a str,
    status_code: u16,
}
