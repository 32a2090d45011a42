//! Reading the head of each request beside the HTTP parser (requirement 39).
//!
//! hyper settles what RFC 9112 §6.3 calls a likely attack instead of refusing
//! it: it drops `Content-Length` where there is a `Transfer-Encoding`, merges
//! equal lengths and takes a bare LF for a line's end (§2.2). When the gate sees
//! the request nothing ambiguous is left in it, while a proxy in front of us may
//! have read its length differently. So the connection's bytes are looked at on
//! their way to the parser, and a request whose head was ambiguous is marked. So is one
//! whose head is too large: hyper's own limit is one of its buffer, and lets through what comes with the last read.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};

use http::Request;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::head_scanner::{HeadFault, HeadScanner};

/// A connection whose incoming bytes are looked at and passed on unchanged.
#[derive(Debug)]
pub struct HeadGuard<S> {
    stream: S,
    scanner: HeadScanner,
    heads: Arc<Heads>,
}

/// What the guard of one connection found, for the requests that come out of it.
#[derive(Debug)]
pub struct Heads {
    /// The number of the first bad head, [`NONE`] as long as there is none.
    /// Later ones do not matter: the connection is closed after its answer.
    bad: AtomicU64,
    /// Whether it is too large, rather than ambiguous.
    too_large: AtomicBool,
    /// How many requests were marked or let by.
    requests: AtomicU64,
    /// Whether a head has begun and is not complete.
    begun: AtomicBool,
}

const NONE: u64 = u64::MAX;

/// On a request with a bad head.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BadHead(pub(crate) HeadFault);

impl<S> HeadGuard<S> {
    /// Guards a new connection. Every request that is read from it must be
    /// [marked](Heads::mark) in the order in which they came, before the gate.
    pub fn new(stream: S) -> (Self, Arc<Heads>) {
        let heads = Arc::new(Heads {
            bad: AtomicU64::new(NONE),
            too_large: AtomicBool::new(false),
            requests: AtomicU64::new(0),
            begun: AtomicBool::new(false),
        });
        (Self { stream, scanner: HeadScanner::default(), heads: Arc::clone(&heads) }, heads)
    }
}

impl Heads {
    /// How many requests came out of the connection.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Whether a head has begun and is not complete.
    pub fn is_head_begun(&self) -> bool {
        self.begun.load(Ordering::Relaxed)
    }

    /// Marks the connection's next request if its head was bad; the gate refuses it then.
    pub fn mark<B>(&self, request: &mut Request<B>) {
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        if number >= self.bad.load(Ordering::Acquire) {
            let too_large = self.too_large.load(Ordering::Relaxed);
            let fault = if too_large { HeadFault::TooLarge } else { HeadFault::Ambiguous };
            request.extensions_mut().insert(BadHead(fault));
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for HeadGuard<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let polled = Pin::new(&mut this.stream).poll_read(cx, buf);
        if let Some((number, fault)) = buf.filled().get(before..).and_then(|fresh| this.scanner.scan(fresh)) {
            this.heads.too_large.store(fault == HeadFault::TooLarge, Ordering::Relaxed);
            this.heads.bad.store(number, Ordering::Release);
        }
        this.heads.begun.store(this.scanner.is_within_head(), Ordering::Relaxed);
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for HeadGuard<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
