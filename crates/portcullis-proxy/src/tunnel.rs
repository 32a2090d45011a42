//! Upgraded connections (WebSocket, RFC 6455). Bytes are copied both ways once the upstream has switched protocols, and not
//! one before (SR-38).

mod direction;
mod frames;
mod keep_alive;

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http::header::{CONNECTION, HeaderValue, UPGRADE};
use http::request::Parts;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use portcullis_gate::{StreamEnd, StreamGuard, TunnelRecord, asks_for_web_socket};
use portcullis_telemetry::RequestScope;
use tokio::net::TcpStream;
use tokio::time::Sleep;
use tokio_util::sync::CancellationToken;

use crate::body::ProxyBody;
use crate::http1::{Exchange, RequestHead, ResponseHead};
use direction::Direction;
use frames::CloseReason;

/// The longest time until an ended tunnel has sent its last frame. It is short, because an ended session must not go on.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(500);
/// How long one side may go on after the other has closed its connection. A WebSocket has no half-closed state.
const HALF_CLOSED_TIMEOUT: Duration = Duration::from_secs(10);

/// The only protocol that a connection may switch to.
const WEBSOCKET: HeaderValue = HeaderValue::from_static("websocket");

/// Takes the client's upgrade, if the request asks to switch to WebSocket.
pub(crate) fn take_upgrade(parts: &mut Parts) -> Option<OnUpgrade> {
    // The gate's own rule: what it does not take for a handshake, it has not checked the origin of.
    if asks_for_web_socket(&parts.headers) { parts.extensions.remove::<OnUpgrade>() } else { None }
}

/// Adds the fields that ask the upstream to switch.
pub(crate) fn add_upgrade_fields(head: &mut RequestHead) {
    head.field(&CONNECTION, &HeaderValue::from_static("upgrade"));
    head.field(&UPGRADE, &WEBSOCKET);
}

/// The events at which the gateway ends a tunnel.
pub(crate) struct TunnelEnd {
    pub(crate) stream: StreamGuard,
    pub(crate) stopping: CancellationToken,
    /// How long a side may read nothing of what the other one sends.
    pub(crate) stall: Duration,
    /// How long both sides may send nothing; `None` for no limit.
    pub(crate) idle: Option<Duration>,
}

/// Opens the tunnel after the upstream has switched, and returns the response for the client.
pub(crate) fn open(exchange: Exchange, head: ResponseHead, client: OnUpgrade, end: TunnelEnd) -> Response<ProxyBody> {
    let mut response = Response::new(ProxyBody::empty());
    *response.status_mut() = head.status;
    *response.headers_mut() = head.headers;
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
    response.headers_mut().insert(UPGRADE, head.upgrade.unwrap_or(WEBSOCKET));
    let record = Arc::<TunnelRecord>::default();
    response.extensions_mut().insert(Arc::clone(&record));
    tokio::spawn(RequestScope::current().wrap(run(client, exchange, end, record)));
    response
}

/// Copies both ways until one side or the gateway ends the tunnel. Every wait ends with the tunnel's right.
async fn run(client: OnUpgrade, upstream: Exchange, end: TunnelEnd, record: Arc<TunnelRecord>) {
    let TunnelEnd { stream, stopping, stall, idle } = end;
    let mut ended = pin!(async {
        tokio::select! {
            () = stream.ended() => match stream.end() {
                Some(StreamEnd::Unconfirmed) => CloseReason::TryAgainLater,
                Some(StreamEnd::SessionEnded | StreamEnd::RightLost) | None => CloseReason::PolicyViolation,
            },
            () = stopping.cancelled() => CloseReason::GoingAway,
        }
    });
    let client = tokio::select! {
        biased;
        _ = ended.as_mut() => return,
        client = client => match client {
            Ok(client) => client,
            Err(error) => return tracing::debug!(%error, "a tunnel could not be opened"),
        },
    };
    // Counts the tunnel until it ends.
    let (upstream, early, _hold) = upstream.into_tunnel();
    keep_alive::enable(&upstream);
    let mut tunnel = Tunnel {
        client: TokioIo::new(client),
        upstream,
        down: Direction::new(early.freeze(), stall),
        up: Direction::new(Bytes::new(), stall),
        half_closed: None,
        idle: idle.map(|limit| (limit, Box::pin(tokio::time::sleep(limit)))),
        record,
    };
    let outcome = poll_fn(|cx| {
        if let Poll::Ready(reason) = ended.as_mut().poll(cx) {
            return Poll::Ready(Ok(Some(reason)));
        }
        tunnel.poll_copy(cx)
    });
    match outcome.await {
        Ok(None) => {}
        Ok(Some(reason)) => {
            // A peer that never ends its frame, or does not read, is cut off.
            let _ = tokio::time::timeout(CLOSE_TIMEOUT, poll_fn(|cx| tunnel.poll_close(reason, cx))).await;
        }
        Err(error) => {
            tunnel.record.cut_off();
            tracing::debug!(%error, "a tunnel was cut off");
        }
    }
}

struct Tunnel {
    client: TokioIo<Upgraded>,
    upstream: TcpStream,
    down: Direction,
    up: Direction,
    /// Runs from the moment at which one side has closed its connection.
    half_closed: Option<Pin<Box<Sleep>>>,
    idle: Option<(Duration, Pin<Box<Sleep>>)>,
    /// Shows the tunnel in the access log and ends its span once it has ended.
    record: Arc<TunnelRecord>,
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        self.record.copied(self.up.copied(), self.down.copied());
    }
}

impl Tunnel {
    /// Copies until both sides have ended, or until the tunnel was idle for too long, which is a reason to close it.
    fn poll_copy(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<CloseReason>>> {
        let down = self.down.poll_copy(&mut self.upstream, &mut self.client, cx)?;
        let up = self.up.poll_copy(&mut self.client, &mut self.upstream, cx)?;
        match (down, up) {
            (Poll::Ready(()), Poll::Ready(())) => return Poll::Ready(Ok(None)),
            (Poll::Pending, Poll::Pending) => {}
            _ => {
                let limit = self.half_closed.get_or_insert_with(|| Box::pin(tokio::time::sleep(HALF_CLOSED_TIMEOUT)));
                if limit.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(Ok(None));
                }
            }
        }
        if let Some((limit, sleep)) = &mut self.idle {
            // `|` and not `||`: both are reset.
            if self.down.take_activity() | self.up.take_activity() {
                sleep.as_mut().reset(tokio::time::Instant::now() + *limit);
            }
            if sleep.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Ok(Some(CloseReason::GoingAway)));
            }
        }
        Poll::Pending
    }

    /// Finishes the current frame of each direction, and sends a close frame after it.
    fn poll_close(&mut self, reason: CloseReason, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let down = self.down.poll_close(&reason.to_client(), &mut self.upstream, &mut self.client, cx);
        let up = self.up.poll_close(&reason.to_upstream(), &mut self.client, &mut self.upstream, cx);
        // A direction that failed does not keep the other one from ending well.
        if down.is_ready() && up.is_ready() { Poll::Ready(Ok(())) } else { Poll::Pending }
    }
}
