//! Tracks which part of an exchange (a request and its response) an HTTP/1.1 connection is in.

use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use http::header::{CONNECTION, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use portcullis_gate::HeadFault;

use crate::stream_end::EndsWith;

/// Every byte of every response has been written.
const IDLE: u8 = 0;
/// A request is being handled.
const HANDLING: u8 = 1;
/// The response has begun.
const RESPONDING: u8 = 2;
/// The response has ended; its last bytes may not be written yet.
const FLUSHING: u8 = 3;
/// The connection has switched to another protocol.
const UPGRADED: u8 = 4;

/// How much of the current request's body the parser has not taken yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum UnreadBody {
    /// There is none, or it was read to its end.
    None = 0,
    /// All of it has arrived, so the parser discards it in one step.
    Arrived = 1,
    /// Some of it has not arrived, or it is in chunks: the parser closes the connection instead of discarding it.
    Pending = 2,
}

/// The state of one connection, shared by its stream, its response bodies and its timer. All of them run in one task, so
/// the order of the accesses is that of the program.
#[derive(Debug, Default)]
pub(super) struct Exchange {
    state: AtomicU8,
    /// Counts each time the socket's send buffer became full or drained; odd while it is full.
    stalls: AtomicU64,
    /// How many heads the guard has accepted, and how many requests the parser has made of them.
    heads: AtomicU64,
    requests: AtomicU64,
    /// The fault of the latest head: 0, 1 for ambiguous, 2 for too large.
    fault: AtomicU8,
    unread_body: AtomicU8,
    /// Whether the current request is a CONNECT. What follows its head may be meant for a tunnel that is never opened.
    is_connect: AtomicBool,
    is_within_head: AtomicBool,
    /// Whether the guard withholds something that the parser gets when the response is complete.
    withholds: AtomicBool,
    /// Whether the client has closed its sending side.
    is_half_closed: AtomicBool,
    /// Counts the writes since then.
    writes: AtomicU64,
    /// Whether `right` holds anything, so that most polls need not lock it.
    has_right: AtomicBool,
    /// The end of the right that the current response stands on.
    right: Mutex<Option<RightEnd>>,
}

impl Exchange {
    /// Notes that the guard has accepted a head. `heads` counts it.
    pub(super) fn head_accepted(&self, heads: u64, fault: Option<HeadFault>, body: UnreadBody) {
        let fault = match fault {
            None => 0,
            Some(HeadFault::Ambiguous) => 1,
            Some(HeadFault::TooLarge) => 2,
        };
        self.fault.store(fault, Ordering::Relaxed);
        self.set_unread_body(body);
        self.heads.store(heads, Ordering::Relaxed);
    }

    /// Notes that the parser has made a request of a head, and puts a [`HeadFault`] into a request that must be refused.
    ///
    /// The parser gets the bytes of a message only after it has finished the one before. So it has made as many requests
    /// as the guard has accepted heads, or the two disagree about where a message ends; then the request is refused and
    /// the connection ends.
    pub(super) fn begin<B>(&self, request: &mut Request<B>) {
        let requests = self.requests.load(Ordering::Relaxed) + 1;
        self.requests.store(requests, Ordering::Relaxed);
        self.state.store(HANDLING, Ordering::Release);
        self.is_connect.store(*request.method() == Method::CONNECT, Ordering::Relaxed);
        let fault = match self.fault.load(Ordering::Relaxed) {
            0 if self.heads.load(Ordering::Relaxed) == requests => return,
            2 => HeadFault::TooLarge,
            _ => HeadFault::Ambiguous,
        };
        request.extensions_mut().insert(fault);
    }

    /// How many requests have come out of the parser.
    pub(super) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    pub(super) fn set_within_head(&self, is_within_head: bool) {
        self.is_within_head.store(is_within_head, Ordering::Relaxed);
    }

    /// Whether a head has begun and is not complete.
    pub(super) fn is_within_head(&self) -> bool {
        self.is_within_head.load(Ordering::Relaxed)
    }

    pub(super) fn set_unread_body(&self, body: UnreadBody) {
        self.unread_body.store(body as u8, Ordering::Relaxed);
    }

    /// Notes that the last byte of a body has arrived.
    pub(super) fn body_arrived(&self, is_chunked: bool) {
        if !is_chunked && self.unread_body.load(Ordering::Relaxed) != UnreadBody::None as u8 {
            self.set_unread_body(UnreadBody::Arrived);
        }
    }

    /// Whether the parser closes the connection instead of reading the rest of the request's body.
    pub(super) fn has_pending_body(&self) -> bool {
        self.unread_body.load(Ordering::Relaxed) == UnreadBody::Pending as u8
    }

    pub(super) fn is_idle(&self) -> bool {
        self.state.load(Ordering::Acquire) == IDLE
    }

    pub(super) fn is_upgraded(&self) -> bool {
        self.state.load(Ordering::Acquire) == UPGRADED
    }

    /// Notes that the guard withholds something until the response is complete.
    pub(super) fn withhold(&self) {
        self.withholds.store(true, Ordering::Relaxed);
    }

    /// Notes that everything written so far has reached the socket. Returns whether the connection's task must be woken
    /// for what was withheld.
    pub(super) fn flushed(&self) -> bool {
        self.advance(FLUSHING, IDLE) && self.withholds.swap(false, Ordering::Relaxed)
    }

    /// Notes that the client has closed its sending side, and waits for a response.
    pub(super) fn half_close(&self) {
        self.is_half_closed.store(true, Ordering::Relaxed);
    }

    /// Notes that a part of a response was written.
    pub(super) fn written(&self) {
        if self.is_half_closed.load(Ordering::Relaxed) {
            self.writes.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// While a response goes to a client that has closed its sending side: how many parts of it were written since. Such
    /// a client may have gone, which shows only when something is written.
    pub(super) fn writes_to_half_closed(&self) -> Option<u64> {
        let is_responding = self.state.load(Ordering::Acquire) == RESPONDING;
        (is_responding && self.is_half_closed.load(Ordering::Relaxed)).then(|| self.writes.load(Ordering::Relaxed))
    }

    /// Resolves when the response must end although its client does not read.
    pub(super) fn poll_right_ended(&self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.has_right.load(Ordering::Relaxed) {
            return Poll::Pending;
        }
        self.right().as_mut().map_or(Poll::Pending, |end| end.0.as_mut().poll(cx))
    }

    fn set_right(&self, end: Option<RightEnd>) {
        self.has_right.store(end.is_some(), Ordering::Relaxed);
        *self.right() = end;
    }

    fn right(&self) -> MutexGuard<'_, Option<RightEnd>> {
        self.right.lock().unwrap_or_else(PoisonError::into_inner)
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

    fn advance(&self, from: u8, to: u8) -> bool {
        self.state.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

/// Resolves a moment after the right of a response has ended.
struct RightEnd(Pin<Box<dyn Future<Output = ()> + Send>>);

impl fmt::Debug for RightEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RightEnd")
    }
}

/// A response body that notes its end in the [`Exchange`].
pub(super) struct ExchangeBody<B> {
    body: B,
    exchange: Arc<Exchange>,
}

impl<B> ExchangeBody<B> {
    /// Notes that the response has begun. If the connection will be closed after it, because the request's body was not
    /// read or what follows is no request, the response says so.
    pub(super) fn new(mut response: Response<B>, exchange: &Arc<Exchange>) -> Response<Self> {
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            exchange.state.store(UPGRADED, Ordering::Release);
        } else {
            exchange.advance(HANDLING, RESPONDING);
            if exchange.has_pending_body() || exchange.is_connect.load(Ordering::Relaxed) {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
        }
        if let Some(end) = EndsWith::take(&mut response) {
            exchange.set_right(Some(RightEnd(Box::pin(end))));
        }
        response.map(|body| Self { body, exchange: Arc::clone(exchange) })
    }
}

impl<B> Drop for ExchangeBody<B> {
    fn drop(&mut self) {
        if self.exchange.has_right.load(Ordering::Relaxed) {
            self.exchange.set_right(None);
        }
        self.exchange.advance(RESPONDING, FLUSHING);
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
