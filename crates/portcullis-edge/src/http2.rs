//! HTTP/2 on one connection (RFC 9113), for clients that begin with its preface ("prior knowledge").
//!
//! The gate limits each request, as in HTTP/1.1. This module limits what a connection may do to all of its requests: how
//! many run at a time, how large their heads are, how many the client resets, how long it waits.

mod request_head;
mod request_tracking;

use std::convert::Infallible;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, HeaderValue};
use http::{Method, Request, Response};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::server::conn::http2::Builder;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use portcullis_gate::Peer;
use tokio::time::{Instant, Interval, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::MAX_HEAD_BYTES;
use crate::connection_timers::ConnectionTimers;
use crate::handler::Handler;
use crate::lingering_close::LingeringStream;
use request_head::convert_to_http1;
use request_tracking::RequestTracker;

/// Requests at a time on one connection (SETTINGS_MAX_CONCURRENT_STREAMS).
pub const MAX_STREAMS: u32 = 100;
/// Bytes of one request's body that a client may send before they are read.
const STREAM_WINDOW: u32 = 64 << 10;
/// Bytes of all request bodies of a connection that a client may send before they are read: as many as all requests
/// together may have unread, so that a body that nobody reads never holds up another request.
const CONNECTION_WINDOW: u32 = MAX_STREAMS * STREAM_WINDOW;
/// Bytes of a response that are buffered for a client that does not read.
const MAX_SEND_BUFFER: usize = 64 << 10;
/// Requests that a client may reset before they are handled (CVE-2023-44487).
const MAX_PENDING_RESETS: usize = 20;
/// Requests that we may reset because the client broke the protocol (CVE-2025-8671).
const MAX_LOCAL_RESETS: usize = 100;

/// The longest time that a client has for closing the connection when it was told that the gateway will.
const CLOSE_GRACE: Duration = Duration::from_secs(1);
/// Looks for responses that are not read, within one timeout. The time of a stall is known to one interval, and so is its
/// end, so that a response may stay unread for two intervals longer than its timeout.
const STALL_CHECKS_PER_TIMEOUT: u32 = 12;
const MIN_STALL_INTERVAL: Duration = Duration::from_millis(50);

/// Serves the requests of a connection until it ends, its client is too slow, or its client resets too many requests.
pub(crate) async fn serve<H: Handler>(
    handler: &Arc<H>,
    stream: LingeringStream,
    client: Peer,
    timers: &mut ConnectionTimers,
    stopping: &CancellationToken,
) -> hyper::Result<()> {
    let tracker = Arc::<RequestTracker>::default();
    let service = {
        let (handler, tracker) = (Arc::clone(handler), Arc::clone(&tracker));
        service_fn(move |mut request: Request<Incoming>| {
            let (handler, tracked) = (Arc::clone(&handler), tracker.begin());
            async move {
                convert_to_http1(&mut request);
                let is_head = *request.method() == Method::HEAD;
                let mut response = without_connection(handler.handle(&client, request).await, is_head);
                let watch = tracked.watch(&mut response);
                Ok::<_, Infallible>(response.map(|body| tracked.track_body(body, watch)))
            }
        })
    };
    let mut builder = Builder::new(RequestTasks(Arc::clone(&tracker)));
    builder
        .max_concurrent_streams(MAX_STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(MAX_SEND_BUFFER)
        // A head beyond this gets the parser's bare 431; a smaller one that is too large, the 431 of the gate. The limit
        // also bounds the number of CONTINUATION frames (CVE-2024-27316).
        .max_header_list_size(2 * u32::try_from(MAX_HEAD_BYTES).expect("64 KB fit"))
        .max_pending_accept_reset_streams(MAX_PENDING_RESETS)
        .max_local_error_reset_streams(MAX_LOCAL_RESETS);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    // Whether the client was told to send no further request, and when it must have closed the connection.
    let (mut is_shutting_down, mut close_at) = (false, None);
    let timeouts = *timers.timeouts();
    let grace = CLOSE_GRACE.min(timeouts.header.min(timeouts.idle) / 10);
    let mut stall_checks = stall_checks(timeouts.send);
    loop {
        tokio::select! {
            result = connection.as_mut() => return result,
            () = stopping.cancelled(), if !is_shutting_down => {
                (is_shutting_down, close_at) = (true, Some(Instant::now() + grace));
                connection.as_mut().graceful_shutdown();
            }
            () = tracker.too_many_resets() => {
                tracing::debug!(client = %client.address, "a connection was closed because its client reset too many requests");
                return Ok(());
            }
            () = timers.expired(|| tracker.client_wait()), if !is_shutting_down => {
                // The client may be about to send a request, so it is told first.
                (is_shutting_down, close_at) = (true, Some(Instant::now() + grace));
                connection.as_mut().graceful_shutdown();
            }
            // A client that follows the protocol closes the connection itself once it was told.
            () = tokio::time::sleep_until(close_at.unwrap_or_else(Instant::now)), if close_at.is_some() => {
                if tracker.client_wait().is_some() {
                    tracing::debug!(client = %client.address, "a connection was closed because its client sent nothing in time");
                    return Ok(());
                }
                close_at = Some(Instant::now() + grace);
            }
            _ = stall_checks.tick() => tracker.abort_stalled(timeouts.send),
        }
    }
}

/// A timer that fires often enough to notice a response that is not read within a fifth of the timeout.
fn stall_checks(timeout: Duration) -> Interval {
    let period = (timeout / STALL_CHECKS_PER_TIMEOUT).max(MIN_STALL_INTERVAL);
    let mut interval = tokio::time::interval_at(Instant::now() + period, period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

/// A response in the form of HTTP/2: without fields of the connection, and to HEAD without a body.
fn without_connection<B: Body>(mut response: Response<B>, is_head: bool) -> Response<ResponseBody<B>> {
    response.headers_mut().remove(CONNECTION);
    let length = response.body().size_hint().exact().filter(|length| is_head && *length > 0);
    if let Some(length) = length {
        response.headers_mut().entry(CONTENT_LENGTH).or_insert(HeaderValue::from(length));
    }
    response.map(|body| ResponseBody((!is_head).then_some(body)))
}

/// A response body; `None` for a response to HEAD.
struct ResponseBody<B>(Option<B>);

impl<B: Body<Data = Bytes> + Unpin> Body for ResponseBody<B> {
    type Data = Bytes;
    type Error = B::Error;

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

/// Runs each request in a task of its own, which the [`RequestTracker`] can abort.
#[derive(Clone)]
struct RequestTasks(Arc<RequestTracker>);

impl<F: Future<Output = ()> + Send + 'static> hyper::rt::Executor<F> for RequestTasks {
    fn execute(&self, request: F) {
        self.0.set_task(tokio::spawn(request).abort_handle());
    }
}
