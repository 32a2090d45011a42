//! Requests to the collector: OTLP/HTTP with Protobuf, and OTLP/gRPC (opentelemetry.io/docs/specs/otlp).

use std::error::Error;
use std::io::Write as _;
use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use flate2::write::GzEncoder;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER, TE, USER_AGENT};
use http::{Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Collected, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use super::otlp;
use crate::traces::{Compression, OtlpProtocol, SpanRecord, TraceOptions};

/// The most bytes of an answer that are read.
const MAX_ANSWER: usize = 64 * 1024;
/// The names of gzip, and the fields of gRPC that name a compression.
const GZIP: HeaderValue = HeaderValue::from_static("gzip");
const GRPC_ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
/// The method of a collector's gRPC service.
const GRPC_METHOD: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
/// The codes of gRPC after which a client may try again: cancelled, deadline exceeded, aborted, out of range, unavailable,
/// data loss.
const RETRYABLE_CODES: [&str; 6] = ["1", "4", "10", "11", "14", "15"];

/// A collector of spans.
pub(super) struct Collector {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    endpoint: Uri,
    options: TraceOptions,
    version: &'static str,
}

/// Why a collector did not take spans.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum SendError {
    /// It may take them later: it is gone, too slow or overloaded. It may say when.
    Later { reason: String, after: Option<Duration> },
    /// They are too many for one request.
    TooLarge(String),
    /// It never will.
    Never(String),
}

impl Collector {
    pub(super) fn new(options: &TraceOptions, version: &'static str) -> Self {
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_nodelay(true);
        let tls = options.tls.config(options.endpoint.scheme_str() == Some("https"));
        let https = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http();
        let mut client = Client::builder(TokioExecutor::new());
        let (client, endpoint) = match options.protocol {
            OtlpProtocol::Http => {
                (client.build(https.enable_http1().wrap_connector(connector)), options.endpoint.clone())
            }
            OtlpProtocol::Grpc => {
                client.http2_only(true);
                (client.build(https.enable_http2().wrap_connector(connector)), grpc_uri(&options.endpoint))
            }
        };
        Self { client, endpoint, options: options.clone(), version }
    }

    /// Sends spans. Returns how many of them the collector rejected, and why.
    pub(super) async fn send(&self, spans: &[Box<SpanRecord>]) -> Result<(u64, String), SendError> {
        let message = otlp::request(&self.options.resource, self.version, spans);
        let later = |reason: String| SendError::Later { reason, after: None };
        let sending = async {
            let message = match self.options.compression {
                Compression::None => message,
                // Beside the threads that handle requests, because a full batch takes milliseconds.
                Compression::Gzip => tokio::task::spawn_blocking(move || gzipped(&message))
                    .await
                    .map_err(|error| SendError::Never(format!("the spans could not be compressed: {error}")))?,
            };
            let response = self.client.request(self.request(message)).await.map_err(|error| later(chain(&error)))?;
            let (parts, body) = response.into_parts();
            let body = Limited::new(body, MAX_ANSWER).collect().await;
            let body = body.map_err(|error| later(format!("the answer could not be read: {error}")))?;
            let response = Response::from_parts(parts, ());
            match self.options.protocol {
                OtlpProtocol::Http => http_outcome(&response, &body.to_bytes()),
                OtlpProtocol::Grpc => grpc_outcome(&response, body),
            }
        };
        match tokio::time::timeout(self.options.timeout, sending).await {
            Ok(outcome) => outcome,
            Err(_) => Err(later(format!("no answer within {:?}", self.options.timeout))),
        }
    }

    /// `message` is compressed already.
    fn request(&self, message: Vec<u8>) -> Request<Full<Bytes>> {
        let (content_type, body) = match self.options.protocol {
            OtlpProtocol::Http => ("application/x-protobuf", Bytes::from(message)),
            OtlpProtocol::Grpc => ("application/grpc", framed(&message, self.options.compression)),
        };
        let mut request = Request::post(self.endpoint.clone()).body(Full::new(body)).expect("the address is a URI");
        let headers = request.headers_mut();
        headers.insert(USER_AGENT, HeaderValue::from_static("portcullis"));
        headers.extend(self.options.headers.iter().cloned());
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        if self.options.protocol == OtlpProtocol::Grpc {
            headers.insert(TE, HeaderValue::from_static("trailers"));
        }
        if self.options.compression == Compression::Gzip {
            let field = if self.options.protocol == OtlpProtocol::Grpc { GRPC_ENCODING } else { CONTENT_ENCODING };
            headers.insert(field, GZIP);
        }
        request
    }
}

/// The URI of the service's method. The path of the configured address does not count.
fn grpc_uri(endpoint: &Uri) -> Uri {
    let mut parts = endpoint.clone().into_parts();
    parts.path_and_query = Some(http::uri::PathAndQuery::from_static(GRPC_METHOD));
    Uri::from_parts(parts).expect("the address has a scheme and an authority")
}

/// Compresses a message with the least effort: spans are so alike that more would gain little.
fn gzipped(message: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(message.len() / 4), flate2::Compression::fast());
    encoder.write_all(message).and_then(|()| encoder.finish()).expect("writing to memory does not fail")
}

/// A message of gRPC: whether it is compressed, its length, its bytes.
fn framed(message: &[u8], compression: Compression) -> Bytes {
    let mut framed = BytesMut::with_capacity(message.len() + 5);
    framed.put_u8(u8::from(compression == Compression::Gzip));
    framed.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    framed.extend_from_slice(message);
    framed.freeze()
}

fn http_outcome(response: &Response<()>, body: &[u8]) -> Result<(u64, String), SendError> {
    let status = response.status();
    let reason = format!("it answered {status}");
    match status {
        _ if status.is_success() => {
            let content_type = response.headers().get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
            if body.is_empty() || content_type.starts_with(b"application/x-protobuf") {
                return Ok(otlp::rejected(body));
            }
            let content_type = String::from_utf8_lossy(content_type);
            Err(SendError::Never(format!("it answered with {content_type:?}, so it is no collector of OTLP")))
        }
        StatusCode::TOO_MANY_REQUESTS
        | StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT => Err(SendError::Later { reason, after: retry_after(response.headers()) }),
        StatusCode::PAYLOAD_TOO_LARGE => Err(SendError::TooLarge(reason)),
        _ => Err(SendError::Never(reason)),
    }
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok().map(Duration::from_secs)
}

fn grpc_outcome(response: &Response<()>, body: Collected<Bytes>) -> Result<(u64, String), SendError> {
    const STATUS: HeaderName = HeaderName::from_static("grpc-status");
    // A response without messages has its trailers in place of its headers.
    let trailer = body.trailers().and_then(|trailers| trailers.get(STATUS)).or_else(|| response.headers().get(STATUS));
    let Some(code) = trailer.and_then(|code| code.to_str().ok()).map(str::to_owned) else {
        let status = response.status();
        let reason = format!("it answered {status} without a gRPC status");
        return Err(match status {
            StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT => SendError::Later { reason, after: None },
            _ => SendError::Never(reason),
        });
    };
    match code.as_str() {
        "0" => Ok(otlp::rejected(body.to_bytes().get(5..).unwrap_or_default())),
        _ if RETRYABLE_CODES.contains(&code.as_str()) => {
            Err(SendError::Later { reason: format!("it answered with gRPC status {code}"), after: None })
        }
        _ => Err(SendError::Never(format!("it answered with gRPC status {code}"))),
    }
}

/// An error with its causes.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::super::tests::options;
    use super::*;

    #[tokio::test]
    async fn a_compressed_message_of_grpc_says_so() {
        for (compression, flag, encoding) in [(Compression::None, 0, None), (Compression::Gzip, 1, Some(GZIP))] {
            let mut options = options(([127, 0, 0, 1], 9).into());
            (options.protocol, options.compression) = (OtlpProtocol::Grpc, compression);
            let request = Collector::new(&options, "1").request(gzipped(b"spans"));
            assert_eq!(request.headers().get(GRPC_ENCODING), encoding.as_ref());
            assert!(!request.headers().contains_key(CONTENT_ENCODING));
            let frame = request.into_body().collect().await.expect("bytes").to_bytes();
            let length = u32::try_from(frame.len() - 5).expect("short").to_be_bytes();
            assert_eq!((frame[0], &frame[1..5]), (flag, &length[..]));
            let mut text = String::new();
            flate2::read::GzDecoder::new(&frame[5..]).read_to_string(&mut text).expect("gzip");
            assert_eq!(text, "spans");
        }
    }
}
