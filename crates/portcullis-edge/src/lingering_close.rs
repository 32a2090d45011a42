//! Closes a connection so that its last response arrives (RFC 9112 §9.6).
//!
//! A refusal often goes out while the client is still sending its body. A plain close would then reset the connection,
//! and the client would lose the response that explains the refusal. So the sending side is closed first, and what
//! still arrives is read and discarded for a short time.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;

use crate::connection_limit::ConnectionPermit;

/// How long a client may go on sending after the response.
const LINGER_TIMEOUT: Duration = Duration::from_secs(2);
/// The most bytes that are read and discarded.
const MAX_DISCARDED: usize = 16 << 20;

/// A connection that lingers when it is dropped, unless the client closed it first. It holds its permit until the socket
/// is closed, wherever the connection is passed on to: a tunnel holds it too (SR-55).
pub(crate) struct LingeringStream {
    socket: Option<(TcpStream, ConnectionPermit)>,
    client_closed: bool,
}

impl LingeringStream {
    pub(crate) fn new(stream: TcpStream, permit: ConnectionPermit) -> Self {
        Self { socket: Some((stream, permit)), client_closed: false }
    }

    /// Waits until the client has sent a byte, and leaves it in the socket. `false` if the connection has ended instead.
    pub(crate) async fn has_bytes(&mut self) -> bool {
        let seen = self.stream().peek(&mut [0]).await;
        let has_bytes = matches!(seen, Ok(1..));
        self.client_closed |= !has_bytes;
        has_bytes
    }

    fn stream(&mut self) -> Pin<&mut TcpStream> {
        let (stream, _) = self.socket.as_mut().expect("only drop takes the socket out");
        Pin::new(stream)
    }
}

impl AsyncRead for LingeringStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let has_room = buffer.remaining() > 0;
        let result = self.stream().poll_read(cx, buffer);
        let ended = matches!(result, Poll::Ready(Ok(()))) && has_room && buffer.filled().len() == before;
        if ended || matches!(result, Poll::Ready(Err(_))) {
            self.client_closed = true;
        }
        result
    }
}

impl AsyncWrite for LingeringStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.stream().poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.stream().poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_shutdown(cx)
    }
}

impl Drop for LingeringStream {
    fn drop(&mut self) {
        let Some((stream, permit)) = self.socket.take().filter(|_| !self.client_closed) else { return };
        // At the very end of the process there is no runtime that could finish the close.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                let _ = tokio::time::timeout(LINGER_TIMEOUT, close(stream)).await;
                drop(permit);
            });
        }
    }
}

async fn close(mut stream: TcpStream) {
    if stream.shutdown().await.is_err() {
        return;
    }
    let mut buffer = vec![0u8; 16 * 1024];
    let mut discarded = 0;
    while let Ok(read @ 1..) = stream.read(&mut buffer).await {
        discarded += read;
        if discarded > MAX_DISCARDED {
            return;
        }
    }
}
