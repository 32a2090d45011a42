//! Holds the guard and hyper's parser against a slow and strict reader of whole connections (SR-39). The fuzz target of
//! `fuzz/` and the tests use it.
//!
//! The property: whatever bytes a client sends, the requests that the handler receives are those that the strict reader
//! finds, in order and with the same bodies, until the connection ends.

use std::error::Error;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, HeaderValue};
use http::{Request, Response, StatusCode, Uri};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use portcullis_gate::{HeadFault, Peer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_util::sync::CancellationToken;

use super::message_scanner::{MessageScanner, Outcome};
use super::{Served, Service};
use crate::MAX_HEAD_BYTES;
use crate::connection_timers::{ConnectionTimeouts, ConnectionTimers};
use crate::handler::Handler;

/// Sends `bytes` on one connection, in pieces of `piece` bytes, and checks that the handler receives the requests that
/// the strict reader finds. 0 sends all bytes at once.
///
/// # Panics
/// When the two disagree.
#[cfg_attr(not(feature = "fuzzing"), expect(unreachable_pub, reason = "exported to the fuzz target"))]
pub fn check_connection(bytes: &[u8], piece: usize) {
    thread_local! {
        static RUNTIME: tokio::runtime::Runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .expect("a runtime can be made");
    }
    let strict = read_strictly(bytes);
    check_scanner(bytes, piece, &strict);
    let received = RUNTIME.with(|runtime| runtime.block_on(serve(bytes, piece)));
    for (number, request) in received.iter().enumerate() {
        let is_last = number + 1 == received.len();
        let Some(expected) = strict.get(number) else { panic!("request {number} is not one: {request:?}") };
        let target = expected.target.parse::<Uri>().expect("hyper has accepted it").to_string();
        assert_eq!((&request.method, &request.target), (&expected.method, &target), "request {number}");
        if request.is_complete {
            assert_eq!(request.body, expected.body, "the body of request {number}");
            assert!(expected.is_complete, "request {number} has not ended: {request:?}");
        } else {
            assert!(is_last, "a request follows one whose body was not read to its end: {request:?}");
            assert!(expected.body.starts_with(&request.body), "the body of request {number}");
        }
    }
}

/// A request of a connection.
#[derive(Debug)]
struct SeenRequest {
    method: String,
    target: String,
    body: Vec<u8>,
    /// Whether the body has an end.
    is_complete: bool,
}

/// Reads a connection in the one way that every parser agrees with, up to the first byte where another could differ.
fn read_strictly(bytes: &[u8]) -> Vec<SeenRequest> {
    let mut reader = StrictReader { bytes, at: 0 };
    let mut requests = Vec::new();
    while let Some(request) = reader.request() {
        let is_complete = request.is_complete;
        requests.push(request);
        if !is_complete {
            break;
        }
    }
    requests
}

struct StrictReader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> StrictReader<'a> {
    /// The next line without its CRLF; `None` at the end, or if the line ends without a CR.
    fn line(&mut self) -> Option<&'a [u8]> {
        let rest = &self.bytes[self.at..];
        let end = rest.iter().position(|byte| *byte == b'\n')?;
        self.at += end + 1;
        rest[..end].strip_suffix(b"\r")
    }

    fn take(&mut self, most: usize) -> &'a [u8] {
        let rest = &self.bytes[self.at..];
        let taken = &rest[..most.min(rest.len())];
        self.at += taken.len();
        taken
    }

    fn request(&mut self) -> Option<SeenRequest> {
        let begin = self.at;
        let mut first = self.line()?;
        while first.is_empty() {
            first = self.line()?;
        }
        let mut words = first.split(|byte| *byte == b' ');
        let (method, target) = (text(words.next()?), text(words.next()?));
        let (mut length, mut chunked) = (None, false);
        loop {
            let line = self.line()?;
            if line.is_empty() {
                break;
            }
            if line.starts_with(b" ") || line.starts_with(b"\t") {
                return None;
            }
            let colon = line.iter().position(|byte| *byte == b':')?;
            let (name, value) = (text(&line[..colon]).to_ascii_lowercase(), text(line[colon + 1..].trim_ascii()));
            match name.trim() {
                "content-length" => {
                    let is_number = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
                    if name != "content-length" || length.is_some() || !is_number {
                        return None;
                    }
                    length = Some(value.parse::<u64>().ok()?);
                }
                "transfer-encoding" => {
                    if name != "transfer-encoding" || chunked || !value.eq_ignore_ascii_case("chunked") {
                        return None;
                    }
                    chunked = true;
                }
                _ => {}
            }
        }
        if self.at - begin > MAX_HEAD_BYTES || (chunked && length.is_some()) {
            return None;
        }
        let mut request = SeenRequest { method, target, body: Vec::new(), is_complete: true };
        if chunked {
            request.is_complete = self.chunks(&mut request.body).is_some();
        } else if let Some(length) = length {
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            request.body = self.take(length).to_vec();
            request.is_complete = request.body.len() == length;
        }
        Some(request)
    }

    /// Reads chunks and trailers; `None` if they do not end, or not in one way.
    fn chunks(&mut self, body: &mut Vec<u8>) -> Option<()> {
        loop {
            let line = self.line()?;
            let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
            let after = line[digits..].trim_ascii_start();
            if !(after.is_empty() || after.starts_with(b";")) || line.contains(&b'\r') {
                return None;
            }
            let size = usize::from_str_radix(&text(&line[..digits]), 16).ok()?;
            if size == 0 {
                break;
            }
            let chunk = self.take(size);
            body.extend_from_slice(chunk);
            if chunk.len() < size || self.take(2) != b"\r\n" {
                return None;
            }
        }
        while !self.line()?.is_empty() {}
        Some(())
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Checks that the scanner accepts nothing that the strict reader does not find.
fn check_scanner(bytes: &[u8], piece: usize, strict: &[SeenRequest]) {
    let (mut scanner, mut messages) = (MessageScanner::default(), 0);
    'pieces: for piece in pieces(bytes, piece) {
        let mut rest = piece;
        while !rest.is_empty() {
            let scanned = scanner.scan(rest);
            rest = &rest[scanned.taken..];
            match scanned.outcome {
                Outcome::Incomplete => assert!(rest.is_empty(), "the scanner stopped within a message"),
                Outcome::MessageEnd => messages += 1,
                Outcome::FaultyHead(_) | Outcome::Invalid => break 'pieces,
            }
        }
    }
    // The scanner leaves it to hyper to refuse a head that is no request at all, and the strict reader stops there.
    if let Some(last) = strict.get(..messages.min(strict.len())).and_then(<[_]>::last) {
        assert!(last.is_complete, "the scanner found the end of a message that has none");
    }
}

fn pieces(bytes: &[u8], piece: usize) -> std::slice::Chunks<'_, u8> {
    bytes.chunks(if piece == 0 { bytes.len().max(1) } else { piece })
}

/// Serves a connection and returns the requests that its handler received and did not have to refuse.
async fn serve(bytes: &[u8], piece: usize) -> Vec<SeenRequest> {
    let minute = Duration::from_secs(60);
    let mut timers = ConnectionTimers::new(ConnectionTimeouts { header: minute, idle: minute, send: minute });
    let (stopping, recorder) = (CancellationToken::new(), Arc::<Recorder>::default());
    let (near, far) = tokio::io::duplex(16 * 1024);
    let (mut responses, mut requests) = tokio::io::split(far);
    let sending = async move {
        for piece in pieces(bytes, piece) {
            // The server may have closed the connection.
            if requests.write_all(piece).await.is_err() {
                return;
            }
            tokio::task::yield_now().await;
        }
        let _ = requests.shutdown().await;
    };
    let receiving = async move {
        let mut received = Vec::new();
        let _ = responses.read_to_end(&mut received).await;
    };
    let peer = Peer::from(std::net::SocketAddr::from(([127, 0, 0, 1], 1)));
    let builder = super::builder();
    let service = Service { handler: &recorder, builder: &builder, client: peer, stopping: &stopping };
    let serving = super::serve(&service, near, true, &mut timers);
    let exchange = async { tokio::join!(serving, sending, receiving).0 };
    let served = tokio::time::timeout(minute / 2, Box::pin(exchange)).await;
    let served = served.unwrap_or_else(|_| panic!("the connection did not end: {:?}", text(bytes)));
    assert!(matches!(served, Served::Closed(_)), "the client has closed the connection");
    std::mem::take(&mut recorder.requests.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Reads each request's body and notes the request.
#[derive(Default)]
struct Recorder {
    requests: Mutex<Vec<SeenRequest>>,
}

type Body = UnsyncBoxBody<Bytes, Box<dyn Error + Send + Sync>>;

fn response(status: StatusCode) -> Response<Body> {
    let body = Full::new(Bytes::from_static(b"response")).map_err(|never| match never {});
    let mut response = Response::new(body.boxed_unsync());
    *response.status_mut() = status;
    if !status.is_success() {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

impl Handler for Recorder {
    type Body = Body;

    async fn handle(&self, _client: &Peer, request: Request<Incoming>) -> Response<Body> {
        if request.extensions().get::<HeadFault>().is_some() {
            return response(StatusCode::BAD_REQUEST);
        }
        let (parts, mut incoming) = request.into_parts();
        let (mut body, mut is_complete) = (Vec::new(), true);
        while let Some(frame) = incoming.frame().await {
            match frame {
                Ok(frame) => body.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data)),
                Err(_) => {
                    is_complete = false;
                    break;
                }
            }
        }
        let (method, target) = (parts.method.to_string(), parts.uri.to_string());
        let request = SeenRequest { method, target, body, is_complete };
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).push(request);
        response(if is_complete { StatusCode::OK } else { StatusCode::BAD_REQUEST })
    }

    fn respond_to_parse_error(&self, _client: &Peer, status: StatusCode) -> Response<Body> {
        response(status)
    }

    fn drain_ends(&self) {}

    fn trusts(&self, _peer: IpAddr) -> bool {
        false
    }
}

#[cfg(test)]
mod tests;
