//! Replaces the responses that hyper's parser writes by itself.
//!
//! To bytes that are not a request the parser responds with a bare status line. Nobody handles a request then, so
//! whatever is written while the connection is idle comes from the parser; the client gets the handler's response, in
//! the envelope, in its place.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http::StatusCode;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::exchange::Exchange;

/// Makes the bytes of a complete response to a parse error with this status.
pub(super) type ErrorResponse = Box<dyn Fn(StatusCode) -> Bytes + Send>;

/// A connection whose parser's own responses are replaced. Also notes in the [`Exchange`] when the client stops reading.
pub(super) struct ParserErrors<S> {
    stream: S,
    exchange: Arc<Exchange>,
    respond: ErrorResponse,
    /// The part of the replacement that is not written yet.
    pending: Bytes,
    /// Whether the last write found the socket's send buffer full.
    is_stalled: bool,
}

impl<S> ParserErrors<S> {
    pub(super) fn new(stream: S, exchange: Arc<Exchange>, respond: ErrorResponse) -> Self {
        Self { stream, exchange, respond, pending: Bytes::new(), is_stalled: false }
    }

    /// Notes a write, and whether it found the send buffer full.
    fn note_stall<T>(&mut self, written: Poll<T>) -> Poll<T> {
        if written.is_pending() != self.is_stalled {
            self.is_stalled = !self.is_stalled;
            self.exchange.toggle_stall();
        }
        if written.is_ready() {
            self.exchange.written();
        }
        written
    }

    pub(super) fn into_inner(self) -> S {
        self.stream
    }

    /// Takes a response of the parser, and returns whether `bytes` are one. Its replacement is written when the parser
    /// flushes.
    fn replace(&mut self, bytes: &[u8]) -> bool {
        if !self.exchange.is_idle() {
            return false;
        }
        let Some(status) = bare_status(bytes) else { return false };
        self.pending = (self.respond)(status);
        true
    }
}

impl<S: AsyncWrite + Unpin> ParserErrors<S> {
    fn poll_pending(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.pending.is_empty() {
            let written = Pin::new(&mut self.stream).poll_write(cx, &self.pending);
            let written = ready!(self.note_stall(written))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.pending.advance(written);
        }
        Poll::Ready(Ok(()))
    }
}

/// The status of a 4xx response without a body that closes the connection: the parser writes no other.
fn bare_status(bytes: &[u8]) -> Option<StatusCode> {
    let text = std::str::from_utf8(bytes).ok()?;
    let rest = text.strip_prefix("HTTP/1.1 4")?;
    let is_bare = text.ends_with("\r\n\r\n") && text.contains("connection: close\r\ncontent-length: 0\r\n");
    let status = rest.get(..2)?.parse::<u16>().ok()?;
    StatusCode::from_u16(400 + status).ok().filter(|_| is_bare)
}

impl<S: AsyncRead + Unpin> AsyncRead for ParserErrors<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for ParserErrors<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.replace(bytes) {
            return Poll::Ready(Ok(bytes.len()));
        }
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.note_stall(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let [only] = slices
            && self.replace(only)
        {
            return Poll::Ready(Ok(only.len()));
        }
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.note_stall(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// The parser flushes after it has written everything, so a response that has ended is complete on the socket.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_pending(cx))?;
        if self.exchange.flushed() {
            // The guard may go on reading.
            cx.waker().wake_by_ref();
        }
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_pending(cx))?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http1::exchange::ExchangeBody;
    use http::{Request, Response};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    const BARE: &[u8] =
        b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\ndate: x\r\n\r\n";

    /// What the client receives when the parser writes a bare 431 on a connection in this state.
    async fn received(prepare: impl FnOnce(&Arc<Exchange>)) -> Vec<u8> {
        let (near, mut far) = tokio::io::duplex(1024);
        let exchange = Arc::new(Exchange::default());
        prepare(&exchange);
        let respond = Box::new(|status: StatusCode| Bytes::from(format!("ours {}", status.as_str())));
        let mut stream = ParserErrors::new(near, exchange, respond);
        stream.write_all(BARE).await.expect("the client is connected");
        stream.flush().await.expect("the client is connected");
        drop(stream);
        let mut received = Vec::new();
        far.read_to_end(&mut received).await.expect("the stream was closed");
        received
    }

    #[tokio::test]
    async fn a_bare_response_on_an_idle_connection_is_replaced() {
        assert_eq!(received(|_| {}).await, b"ours 431");
    }

    #[tokio::test]
    async fn a_response_body_that_looks_bare_is_kept() {
        assert_eq!(received(|exchange| exchange.begin(&mut Request::new(()))).await, BARE);
    }

    #[tokio::test]
    async fn the_end_of_a_response_body_that_looks_bare_is_kept() {
        let ended = |exchange: &Arc<Exchange>| {
            exchange.begin(&mut Request::new(()));
            drop(ExchangeBody::new(Response::new(()), exchange));
        };
        assert_eq!(received(ended).await, BARE);
    }

    #[tokio::test]
    async fn bytes_of_another_protocol_that_look_bare_are_kept() {
        let upgraded = |exchange: &Arc<Exchange>| {
            let mut response = Response::new(());
            *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
            drop(ExchangeBody::new(response, exchange));
        };
        assert_eq!(received(upgraded).await, BARE);
    }

    #[test]
    fn only_the_parsers_own_responses_are_bare() {
        assert_eq!(bare_status(BARE), Some(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE));
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
