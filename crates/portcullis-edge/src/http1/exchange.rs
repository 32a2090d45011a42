//! Tracks which part of an exchange (a request and its response) an HTTP/1.1 connection is in.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::task::{Context, Poll};

use http::{Response, StatusCode};
use http_body::{Body, Frame, SizeHint};

/// Every byte of every response has been written.
const IDLE: u8 = 0;
/// A request is being handled.
const HANDLING: u8 = 1;
/// The response has ended; its last bytes may not be written yet.
const FLUSHING: u8 = 2;
/// The connection has switched to another protocol.
const UPGRADED: u8 = 3;

/// The state of one connection, shared by its stream, its response bodies and its timer.
#[derive(Debug, Default)]
pub(super) struct Exchange {
    state: AtomicU8,
    /// Counts each time the socket's send buffer became full or drained; odd while it is full.
    stalls: AtomicU64,
}

impl Exchange {
    /// Notes that a request has been read.
    pub(super) fn begin(&self) {
        self.state.store(HANDLING, Ordering::Release);
    }

    pub(super) fn is_idle(&self) -> bool {
        self.state.load(Ordering::Acquire) == IDLE
    }

    /// Notes that everything written so far has reached the socket.
    pub(super) fn flushed(&self) {
        self.advance(FLUSHING, IDLE);
    }

    /// Notes that the socket's send buffer became full, or drained.
    pub(super) fn toggle_stall(&self) {
        self.stalls.fetch_add(1, Ordering::Relaxed);
    }

    /// The number of the current stall; `None` while the client reads.
    pub(super) fn stall(&self) -> Option<u64> {
        let stalls = self.stalls.load(Ordering::Relaxed);
        (stalls % 2 == 1).then_some(stalls)
    }

    fn advance(&self, from: u8, to: u8) {
        let _ = self.state.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire);
    }
}

/// A response body that notes its end in the [`Exchange`].
pub(super) struct ExchangeBody<B> {
    body: B,
    exchange: Arc<Exchange>,
}

impl<B> ExchangeBody<B> {
    pub(super) fn new(response: Response<B>, exchange: &Arc<Exchange>) -> Response<Self> {
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            exchange.state.store(UPGRADED, Ordering::Release);
        }
        response.map(|body| Self { body, exchange: Arc::clone(exchange) })
    }
}

impl<B> Drop for ExchangeBody<B> {
    fn drop(&mut self) {
        self.exchange.advance(HANDLING, FLUSHING);
    }
}

impl<B: Body + Unpin> Body for ExchangeBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
