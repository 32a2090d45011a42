//! HTTP/2 on a connection (RFC 9113), for clients that begin with its preface ("prior knowledge").
//!
//! What one request may do is the gate's business, as in HTTP/1.1. Here stands what a connection may do to all of them:
//! how many at a time, how large their heads, how many it takes back, how long it lets them wait.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, HeaderValue};
use http::{Method, Response};
use http_body::{Body, Frame, SizeHint};
use hyper::server::conn::http2::Builder;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use portcullis_gate::{MAX_HEAD_BYTES, as_http1};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::front::{Front, FrontBody};
use super::lingering::Lingering;
use super::patience::Patience;
use super::underway::Underway;

/// Requests at a time (SETTINGS_MAX_CONCURRENT_STREAMS).
const MAX_STREAMS: u32 = 100;
/// Bytes of a request's body that may come before somebody reads it.
const STREAM_WINDOW: u32 = 256 << 10;
/// The same for all requests of a connection together.
const CONNECTION_WINDOW: u32 = 1 << 20;
/// Bytes of an answer that are held for a client without room.
const MAX_HELD: usize = 64 << 10;
/// Requests that were taken back before anybody looked at them (CVE-2023-44487).
const MAX_UNSEEN: usize = 20;
/// Requests that we end because their client broke the rules (CVE-2025-8671).
const MAX_BROKEN: usize = 100;

/// Answers the requests of a connection until it ends or its client's patience with us is used up.
pub(super) async fn speak(
    front: &Arc<Front>,
    stream: TcpStream,
    peer: SocketAddr,
    patience: &mut Patience,
    stopping: &CancellationToken,
) -> hyper::Result<()> {
    let underway = Arc::<Underway>::default();
    let service = {
        let (front, underway) = (Arc::clone(front), Arc::clone(&underway));
        service_fn(move |mut request: http::Request<hyper::body::Incoming>| {
            let (front, begun) = (Arc::clone(&front), underway.begin());
            async move {
                as_http1(&mut request);
                let is_head = *request.method() == Method::HEAD;
                let response = settled(front.handle(peer, request).await, is_head);
                Ok::<_, Infallible>(response.map(|body| begun.answered_by(body)))
            }
        })
    };
    let mut builder = Builder::new(Spawning(Arc::clone(&underway)));
    builder
        .max_concurrent_streams(MAX_STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(MAX_HELD)
        // What is beyond this gets a bare 431; a head that is less too large, ours (`as_http1`). It also bounds the number
        // of CONTINUATION frames (CVE-2024-27316).
        .max_header_list_size(2 * u32::try_from(MAX_HEAD_BYTES).expect("it is small"))
        .max_pending_accept_reset_streams(MAX_UNSEEN)
        .max_local_error_reset_streams(MAX_BROKEN);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(Lingering::new(stream)), service));
    // Whether the client was told to ask for nothing more.
    let mut told = false;
    loop {
        tokio::select! {
            result = connection.as_mut() => return result,
            () = stopping.cancelled(), if !told => {
                told = true;
                connection.as_mut().graceful_shutdown();
            }
            () = underway.abused() => {
                tracing::debug!(%peer, "a connection was closed because its client took back too many requests");
                return Ok(());
            }
            () = patience.next() => {
                underway.cut_stalled(patience.send());
                let waiting = underway.waiting();
                // A good client that was told answers, and the connection has ended by itself.
                if told && waiting.is_some() {
                    tracing::debug!(%peer, "a connection was closed because its client sent nothing");
                    return Ok(());
                }
                if patience.is_over(waiting) {
                    // It may be about to ask: so it is told first, and has until the next look.
                    told = true;
                    connection.as_mut().graceful_shutdown();
                }
            }
        }
    }
}

/// An answer as HTTP/2 has it: without a word about the connection, and with none of its body where only the head was
/// asked for.
fn settled(mut response: Response<FrontBody>, is_head: bool) -> Response<Headless> {
    response.headers_mut().remove(CONNECTION);
    let length = response.body().size_hint().exact().filter(|length| is_head && *length > 0);
    if let Some(length) = length {
        response.headers_mut().entry(CONTENT_LENGTH).or_insert(HeaderValue::from(length));
    }
    response.map(|body| Headless((!is_head).then_some(body)))
}

/// A body, or none where one was left out.
struct Headless(Option<FrontBody>);

impl Body for Headless {
    type Data = Bytes;
    type Error = <FrontBody as Body>::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match &mut self.0 {
            Some(body) => Pin::new(body).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.0.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

/// Each request has a task of its own, which `Underway` can end.
#[derive(Clone)]
struct Spawning(Arc<Underway>);

impl<F: Future<Output = ()> + Send + 'static> hyper::rt::Executor<F> for Spawning {
    fn execute(&self, request: F) {
        self.0.worked_on_by(tokio::spawn(request).abort_handle());
    }
}
