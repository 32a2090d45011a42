//! Whose turn it is on a connection: a request's, or nobody's. What the HTTP parser says when it is nobody's turn is
//! its own answer to something that was no request, a bare status line; the client gets ours in its place.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use http::{Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Every byte of every answer has left the parser's hands.
const IDLE: u8 = 0;
/// A request is being answered.
const BUSY: u8 = 1;
/// The answer has ended, and perhaps not yet left.
const LEAVING: u8 = 2;
/// The connection speaks another protocol.
const GONE: u8 = 3;

/// Whose turn it is, and whether the client takes what it is told.
#[derive(Debug, Default)]
pub(super) struct Turn {
    whose: AtomicU8,
    /// Odd while the client's side is full; counts each time that it was.
    stalls: AtomicU64,
}

impl Turn {
    /// A request begins.
    pub(super) fn begin(&self) {
        self.whose.store(BUSY, Ordering::Release);
    }

    /// Whether nothing is being answered.
    pub(super) fn is_idle(&self) -> bool {
        self.whose.load(Ordering::Acquire) == IDLE
    }

    /// While the client does not read: the number of the time that it does not.
    pub(super) fn stalled(&self) -> Option<u64> {
        let stalls = self.stalls.load(Ordering::Relaxed);
        (stalls % 2 == 1).then_some(stalls)
    }

    fn advance(&self, from: u8, to: u8) {
        let _ = self.whose.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire);
    }
}

/// An answer's body, which ends its request's turn.
pub(super) struct Answering<B> {
    body: B,
    turn: Arc<Turn>,
}

impl<B> Answering<B> {
    pub(super) fn new(response: Response<B>, turn: &Arc<Turn>) -> Response<Self> {
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            turn.whose.store(GONE, Ordering::Release);
        }
        response.map(|body| Self { body, turn: Arc::clone(turn) })
    }
}

impl<B> Drop for Answering<B> {
    fn drop(&mut self) {
        self.turn.advance(BUSY, LEAVING);
    }
}

impl<B: Body + Unpin> Body for Answering<B> {
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

/// What is said in place of a bare answer with this status, as the bytes of a whole answer.
pub(super) type Instead = Box<dyn Fn(u16) -> Bytes + Send>;

/// A connection whose bare answers are replaced.
pub(super) struct Speaker<S> {
    stream: S,
    turn: Arc<Turn>,
    instead: Instead,
    /// What is still to be said in place of what the parser said.
    pending: Bytes,
    /// Whether the last write found the client's side full.
    stalled: bool,
}

impl<S> Speaker<S> {
    pub(super) fn new(stream: S, turn: Arc<Turn>, instead: Instead) -> Self {
        Self { stream, turn, instead, pending: Bytes::new(), stalled: false }
    }

    /// Notes whether the client's side took something.
    fn noted<T>(&mut self, written: Poll<T>) -> Poll<T> {
        if written.is_pending() != self.stalled {
            self.stalled = !self.stalled;
            self.turn.stalls.fetch_add(1, Ordering::Relaxed);
        }
        written
    }
}

impl<S: AsyncWrite + Unpin> Speaker<S> {
    fn poll_pending(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.pending.is_empty() {
            let written = Pin::new(&mut self.stream).poll_write(cx, &self.pending);
            let written = std::task::ready!(self.noted(written))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.pending.advance(written);
        }
        Poll::Ready(Ok(()))
    }

    /// Takes a bare answer when nobody's answer can be meant. It is said whole when the parser flushes.
    fn takes(&mut self, bytes: &[u8]) -> bool {
        if !self.turn.is_idle() {
            return false;
        }
        let Some(status) = bare_status(bytes) else { return false };
        self.pending = (self.instead)(status);
        true
    }
}

/// The status of an answer without a body that closes the connection: all that the parser says by itself.
fn bare_status(bytes: &[u8]) -> Option<u16> {
    let text = std::str::from_utf8(bytes).ok()?;
    let rest = text.strip_prefix("HTTP/1.1 4")?;
    let bare = text.ends_with("\r\n\r\n") && text.contains("connection: close\r\ncontent-length: 0\r\n");
    let status = rest.get(..2)?.parse::<u16>().ok()?;
    bare.then_some(400 + status)
}

impl<S: AsyncRead + Unpin> AsyncRead for Speaker<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Speaker<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.takes(bytes) {
            return Poll::Ready(Ok(bytes.len()));
        }
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.noted(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let [only] = slices
            && self.takes(only)
        {
            return Poll::Ready(Ok(only.len()));
        }
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.noted(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// The parser flushes when it has written all it had: an answer that has ended has left then.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        std::task::ready!(self.poll_pending(cx))?;
        self.turn.advance(LEAVING, IDLE);
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        std::task::ready!(self.poll_pending(cx))?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    const BARE: &[u8] =
        b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\ndate: x\r\n\r\n";

    async fn said(prepare: impl FnOnce(&Turn)) -> Vec<u8> {
        let (near, mut far) = tokio::io::duplex(1024);
        let turn = Arc::new(Turn::default());
        prepare(&turn);
        let mut speaker = Speaker::new(near, turn, Box::new(|status| Bytes::from(format!("ours {status}"))));
        speaker.write_all(BARE).await.expect("it takes it");
        speaker.flush().await.expect("it says it");
        drop(speaker);
        let mut heard = Vec::new();
        far.read_to_end(&mut heard).await.expect("it ends");
        heard
    }

    #[tokio::test]
    async fn a_bare_answer_is_replaced_only_when_it_is_nobodys_turn() {
        assert_eq!(said(|_| {}).await, b"ours 431");
        assert_eq!(said(Turn::begin).await, BARE, "a body may look like it");
        let ended = |turn: &Turn| {
            turn.begin();
            turn.advance(BUSY, LEAVING);
        };
        assert_eq!(said(ended).await, BARE, "the end of a body may look like it");
        let upgraded = |turn: &Turn| turn.whose.store(GONE, Ordering::Release);
        assert_eq!(said(upgraded).await, BARE, "another protocol may look like anything");
    }

    #[test]
    fn only_what_the_parser_says_by_itself_is_bare() {
        assert_eq!(bare_status(BARE), Some(431));
        for other in [
            &b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"[..],
            b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n",
            b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n",
            b"",
        ] {
            assert_eq!(bare_status(other), None);
        }
    }
}
