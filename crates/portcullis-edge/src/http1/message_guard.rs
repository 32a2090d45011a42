//! Stands between the socket and the HTTP parser, so that the parser sees one message at a time (SR-39).
//!
//! hyper accepts what RFC 9112 §6.3 calls a likely attack: it drops `Content-Length` beside `Transfer-Encoding`, merges
//! equal lengths and takes a bare LF for a line end (§2.2). The request that the gate sees has lost the ambiguity, while
//! a proxy in front of the gateway may have read another length. So the bytes are scanned on their way to the parser,
//! which gets a byte of the next message only when it has finished the one before. Neither of the two can then take a
//! part of one message for the beginning of another. A head that is too large is marked too: hyper's limit applies to
//! its buffer and misses the bytes that arrive with the last read.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::exchange::{Exchange, UnreadBody};
use super::message_scanner::{BodyFraming, MessageScanner, Outcome, Scanned};

/// The most bytes of later requests that are read while one is handled.
const READ_AHEAD: usize = 4096;

/// A connection whose incoming bytes are scanned.
pub(super) struct MessageGuard<S> {
    stream: S,
    scanner: MessageScanner,
    exchange: Arc<Exchange>,
    state: State,
    /// Bytes that were received and belong to later messages.
    held: Bytes,
    /// Whether the client has closed its sending side.
    is_at_end: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// After a faulty head. The response to it closes the connection, so nothing after it is read.
    FaultyHead,
    /// After invalid framing of a body. The parser gets an error, and with it the body's reader.
    Invalid,
}

impl<S> MessageGuard<S> {
    /// Guards a new connection. Every request read from it must be given to [`Exchange::begin`], in order, before the
    /// handler gets it.
    pub(super) fn new(stream: S, exchange: Arc<Exchange>) -> Self {
        let scanner = MessageScanner::default();
        Self { stream, scanner, exchange, state: State::Open, held: Bytes::new(), is_at_end: false }
    }

    pub(super) fn into_inner(self) -> S {
        self.stream
    }

    /// Scans bytes and notes what they contain.
    fn scan(&mut self, bytes: &[u8]) -> usize {
        let heads = self.scanner.heads();
        let Scanned { taken, outcome } = self.scanner.scan(bytes);
        let is_chunked = self.scanner.body_framing() == BodyFraming::Chunked;
        if self.scanner.heads() != heads {
            let body = match self.scanner.body_framing() {
                BodyFraming::None => UnreadBody::None,
                BodyFraming::Length | BodyFraming::Chunked => UnreadBody::Pending,
            };
            let fault = if let Outcome::FaultyHead(fault) = outcome { Some(fault) } else { None };
            self.exchange.head_accepted(self.scanner.heads(), fault, body);
        }
        match outcome {
            Outcome::Incomplete => {}
            Outcome::MessageEnd => self.exchange.body_arrived(is_chunked),
            Outcome::FaultyHead(_) => self.state = State::FaultyHead,
            Outcome::Invalid => self.state = State::Invalid,
        }
        self.exchange.set_within_head(self.scanner.is_within_head());
        taken
    }
}

impl<S: AsyncRead + Unpin> MessageGuard<S> {
    /// Reads within a message, or the beginning of the next one.
    fn poll_message(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.held.is_empty() {
            if self.is_at_end {
                return Poll::Ready(Ok(()));
            }
            let before = buffer.filled().len();
            ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
            let fresh = &buffer.filled()[before..];
            let taken = self.scan(fresh);
            if taken < fresh.len() {
                self.held = Bytes::copy_from_slice(&fresh[taken..]);
                buffer.set_filled(before + taken);
            }
            return self.refusal(taken);
        }
        let held = self.held.clone();
        let taken = self.scan(&held[..held.len().min(buffer.remaining())]);
        buffer.put_slice(&held[..taken]);
        self.held.advance(taken);
        self.refusal(taken)
    }

    /// The outcome of a read that accepted so many bytes.
    fn refusal(&mut self, taken: usize) -> Poll<io::Result<()>> {
        if self.state != State::Open {
            self.held = Bytes::new();
        }
        // A read of no bytes would be the end of the stream.
        if self.state == State::Invalid && taken == 0 { Poll::Ready(Err(invalid())) } else { Poll::Ready(Ok(())) }
    }

    /// Reads while the request before is handled: what arrives is withheld until its response is complete. So a client
    /// that closes its sending side after its request gets the response, and one whose connection is reset is noticed.
    fn poll_ahead(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.held.is_empty() && !self.is_at_end {
            let mut ahead = buffer.take(READ_AHEAD);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut ahead))?;
            if ahead.filled().is_empty() {
                self.is_at_end = true;
                self.exchange.half_close();
            } else {
                self.held = Bytes::copy_from_slice(ahead.filled());
            }
        }
        self.exchange.withhold();
        Poll::Pending
    }

    /// Reads bytes of another protocol.
    fn poll_upgraded(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.held.is_empty() {
            let held = self.held.split_to(self.held.len().min(buffer.remaining()));
            buffer.put_slice(&held);
            return Poll::Ready(Ok(()));
        }
        if self.is_at_end { Poll::Ready(Ok(())) } else { Pin::new(&mut self.stream).poll_read(cx, buffer) }
    }
}

fn invalid() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the framing of a request's body is invalid")
}

impl<S: AsyncRead + Unpin> AsyncRead for MessageGuard<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.exchange.is_upgraded() {
            return this.poll_upgraded(cx, buffer);
        }
        match this.state {
            State::Open if this.scanner.is_between_messages() && !this.exchange.is_idle() => {
                // The parser reads on only when it has taken everything that it got.
                this.exchange.set_unread_body(UnreadBody::None);
                this.poll_ahead(cx, buffer)
            }
            State::Open => this.poll_message(cx, buffer),
            State::FaultyHead => Poll::Pending,
            State::Invalid => Poll::Ready(Err(invalid())),
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for MessageGuard<S> {
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
