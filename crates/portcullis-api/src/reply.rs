//! Successful responses of built-in endpoints and the envelope around them
//! (`docs/contract.md`, "Envelope and errors").

use std::borrow::Cow;
use std::marker::PhantomData;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, SET_COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use http_body_util::Full;
use portcullis_model::{ApiTime, Clock};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;
use serde_json::Value;

use crate::operation::{Example, Operation};

/// The body of every response that Portcullis itself writes.
pub type ReplyBody = Full<Bytes>;

/// A successful response with data of type `T`, before it is put into its envelope.
#[derive(Debug)]
pub struct Reply<T> {
    raw: RawReply,
    data: PhantomData<fn() -> T>,
}

/// A response whose type was the handler's concern and is no longer needed.
#[derive(Debug)]
pub(crate) struct RawReply {
    status: StatusCode,
    content: Content,
    headers: HeaderMap,
}

#[derive(Debug)]
enum Content {
    Enveloped { data: Value, message: &'static str },
    Bare { content_type: &'static str, body: Bytes },
}

/// The header on a response that repeats the outcome of an earlier request with the same idempotency key.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

impl Operation {
    /// The usual response with its data.
    pub(crate) fn reply<T: Serialize>(&self, data: &T) -> Reply<T> {
        Reply::enveloped(self.status, self.message, data)
    }

    /// The usual response of an operation that has nothing to say beyond its message.
    pub(crate) fn done(&self) -> Reply<()> {
        self.reply(&())
    }
}

impl<T> Reply<T> {
    /// A response with `data` and a sentence in the envelope. Handlers take it from their operation
    /// ([`Operation::reply`](crate::operation::Operation::reply)).
    pub(crate) fn enveloped(status: StatusCode, message: &'static str, data: &T) -> Self
    where
        T: Serialize,
    {
        let data = serde_json::to_value(data).expect("responses are plain data with string keys");
        Self::new(status, Content::Enveloped { data, message })
    }

    /// 200 with a body of its own, without the envelope.
    pub(crate) fn without_envelope(content_type: &'static str, body: impl Into<Bytes>) -> Self {
        Self::new(StatusCode::OK, Content::Bare { content_type, body: body.into() })
    }

    /// 304: the copy that the client has is current.
    pub(crate) fn not_modified() -> Self {
        Self::new(StatusCode::NOT_MODIFIED, Content::Bare { content_type: "", body: Bytes::new() })
    }

    fn new(status: StatusCode, content: Content) -> Self {
        Self { raw: RawReply { status, content, headers: HeaderMap::new() }, data: PhantomData }
    }

    /// The same response as one of another type: for an outcome that the operation describes beside its usual one.
    pub(crate) fn into_other<U>(self) -> Reply<U> {
        Reply { raw: self.raw, data: PhantomData }
    }

    /// Says that an earlier request with the same `Idempotency-Key` did the work (SR-48).
    pub(crate) fn replayed(self) -> Self {
        self.header(REPLAYED, HeaderValue::from_static("true"))
    }

    /// Adds a response header.
    pub(crate) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.raw.headers.append(name, value);
        self
    }

    /// Adds a `Set-Cookie`.
    pub(crate) fn cookie(self, cookie: HeaderValue) -> Self {
        self.header(SET_COOKIE, cookie)
    }

    /// Keeps the response out of every cache, because it holds credentials or personal data.
    pub(crate) fn private(self) -> Self {
        self.header(CACHE_CONTROL, HeaderValue::from_static("no-store"))
    }

    pub(crate) fn into_raw(self) -> RawReply {
        self.raw
    }
}

impl RawReply {
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
                    timestamp: ApiTime(clock.now()),
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

/// The envelope of every successful response that is not bare. Its schema is written for each operation, because
/// `data` is of another type in each.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Envelope<'a, T> {
    pub(crate) success: bool,
    pub(crate) data: T,
    pub(crate) message: &'a str,
    pub(crate) timestamp: ApiTime,
    pub(crate) path: &'a str,
    pub(crate) status_code: u16,
}

/// A response that an `Idempotency-Key` may repeat: made now, or as it was recorded when the request was first done.
#[derive(Serialize)]
#[serde(untagged)]
pub(crate) enum Recorded<T> {
    /// Made by this request.
    New(T),
    /// Recorded by an earlier request; its form is that of the release which recorded it.
    Replayed(Value),
}

impl<T: JsonSchema> JsonSchema for Recorded<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn schema_id() -> Cow<'static, str> {
        T::schema_id()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

impl<T: Example> Example for Recorded<T> {
    fn example() -> Value {
        T::example()
    }
}
