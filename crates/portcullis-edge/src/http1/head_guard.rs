//! Reads each request's head beside the HTTP parser and marks requests whose head is faulty (SR-39).
//!
//! hyper accepts what RFC 9112 §6.3 calls a likely attack: it drops `Content-Length` beside `Transfer-Encoding`, merges
//! equal lengths and takes a bare LF for a line end (§2.2). The request that the gate sees has lost the ambiguity, while
//! a proxy in front of the gateway may have read another length. So the connection's bytes are scanned on their way to
//! the parser. A head that is too large is marked too: hyper's limit applies to its buffer and misses the bytes that
//! arrive with the last read.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};

use http::Request;
use portcullis_gate::HeadFault;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::head_scanner::HeadScanner;

/// A connection whose incoming bytes are scanned and passed on unchanged.
#[derive(Debug)]
pub(super) struct HeadGuard<S> {
    stream: S,
    scanner: HeadScanner,
    marks: Arc<HeadMarks>,
}

/// The faults found on one connection, for the requests that come out of the parser.
#[derive(Debug)]
pub(super) struct HeadMarks {
    /// The number of the first faulty head, or [`NO_FAULT`]. Later heads do not matter: the response to the first
    /// faulty one closes the connection.
    faulty: AtomicU64,
    /// Whether that head is too large, rather than ambiguous.
    is_too_large: AtomicBool,
    /// How many requests have come out of the parser.
    requests: AtomicU64,
    is_within_head: AtomicBool,
}

const NO_FAULT: u64 = u64::MAX;

impl<S> HeadGuard<S> {
    /// Guards a new connection. Every request read from it must be given to [`HeadMarks::mark`], in order, before the
    /// handler gets it.
    pub(super) fn new(stream: S) -> (Self, Arc<HeadMarks>) {
        let marks = Arc::new(HeadMarks {
            faulty: AtomicU64::new(NO_FAULT),
            is_too_large: AtomicBool::new(false),
            requests: AtomicU64::new(0),
            is_within_head: AtomicBool::new(false),
        });
        (Self { stream, scanner: HeadScanner::default(), marks: Arc::clone(&marks) }, marks)
    }
}

impl HeadMarks {
    /// How many requests have come out of the connection.
    pub(super) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Whether a head has begun and is not complete.
    pub(super) fn is_within_head(&self) -> bool {
        self.is_within_head.load(Ordering::Relaxed)
    }

    /// Puts a [`HeadFault`] into the connection's next request if its head is faulty.
    pub(super) fn mark<B>(&self, request: &mut Request<B>) {
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        if number >= self.faulty.load(Ordering::Acquire) {
            let is_too_large = self.is_too_large.load(Ordering::Relaxed);
            let fault = if is_too_large { HeadFault::TooLarge } else { HeadFault::Ambiguous };
            request.extensions_mut().insert(fault);
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for HeadGuard<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        let polled = Pin::new(&mut this.stream).poll_read(cx, buffer);
        if let Some((number, fault)) = buffer.filled().get(before..).and_then(|fresh| this.scanner.scan(fresh)) {
            this.marks.is_too_large.store(fault == HeadFault::TooLarge, Ordering::Relaxed);
            this.marks.faulty.store(number, Ordering::Release);
        }
        this.marks.is_within_head.store(this.scanner.is_within_head(), Ordering::Relaxed);
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
