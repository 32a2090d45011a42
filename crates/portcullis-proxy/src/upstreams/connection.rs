//! A connection to a target of an upstream.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::BytesMut;
use rustix::io::Errno;
use rustix::net::RecvFlags;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_util::io::poll_read_buf;

use super::capacity::{OpenConnection, Slot};
use super::connection_timer::ConnectionTimer;
use crate::error::UpstreamFault;

/// The size of the first reads, in bytes: enough for heads and small bodies.
const MIN_READ: usize = 8 * 1024;
/// The size of reads from a target that sends much, in bytes.
const MAX_READ: usize = 64 * 1024;

/// A connection, owned by the request that uses it. It is in a box, because it moves often between pool and request.
pub(crate) struct Connection {
    pub(crate) stream: TcpStream,
    /// Bytes that were read and not used yet.
    pub(crate) read: BytesMut,
    /// The buffer for the next request's head.
    pub(crate) write: Vec<u8>,
    /// Measures how long the target keeps the gateway waiting.
    pub(crate) timer: ConnectionTimer,
    /// The size of the next read, in bytes.
    read_size: usize,
    /// Whether it was used for a request before. Then the target may have closed it just as we write.
    pub(crate) reused: bool,
    /// The time at which it was opened.
    pub(super) opened: Instant,
    /// Counts it; after the stream, so that it is closed when it no longer counts.
    pub(super) open: Option<OpenConnection>,
    /// The slot of the request that uses it.
    pub(super) slot: Option<Slot>,
}

/// What a connection that became a tunnel holds until the tunnel ends.
pub(crate) struct TunnelHold {
    _open: Option<OpenConnection>,
    _slot: Option<Slot>,
}

/// How a connection may be kept for another request, by what the target sent last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct KeepAlive {
    /// The longest idle time that the target announced.
    pub(crate) idle: Option<Duration>,
    /// Whether the response had no body because of its method or status (HEAD, 204, 304). Some targets send one all the
    /// same, so the connection must stay silent for a while before it is used again.
    pub(crate) settles: bool,
}

impl Connection {
    pub(super) fn new(stream: TcpStream) -> Box<Self> {
        Box::new(Self {
            stream,
            read: BytesMut::new(),
            write: Vec::new(),
            read_size: MIN_READ,
            reused: false,
            open: None,
            slot: None,
            timer: ConnectionTimer::default(),
            opened: Instant::now(),
        })
    }

    /// Reads and appends to [`read`](Self::read). Returns 0 at the end of the connection.
    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, UpstreamFault>> {
        self.read.reserve(self.read_size);
        let read =
            ready!(poll_read_buf(Pin::new(&mut self.stream), cx, &mut self.read)).map_err(UpstreamFault::Connection)?;
        if read >= self.read_size {
            self.read_size = (2 * self.read_size).min(MAX_READ);
        }
        Poll::Ready(Ok(read))
    }

    /// Whether the target has neither closed the connection nor sent bytes that no request asked for. The kernel is asked,
    /// because the runtime may not have been told of the latest bytes yet.
    pub(super) fn is_silent(&self) -> bool {
        let peeked = rustix::net::recv(&self.stream, &mut [0_u8; 1][..], RecvFlags::PEEK | RecvFlags::DONTWAIT);
        matches!(peeked, Err(Errno::AGAIN))
    }

    /// Closes the connection by a reset. It leaves no port in TIME_WAIT, of which there are only some ten thousand.
    pub(super) fn reset(self) {
        let lingering = rustix::net::sockopt::set_socket_linger(&self.stream, Some(Duration::ZERO));
        if let Err(error) = lingering {
            tracing::debug!(%error, "a connection could not be reset; it is closed");
        }
    }

    /// Counts the connection as a stream from now on; its former slot is free.
    pub(crate) fn becomes_stream(&mut self, slot: Slot) {
        if let Some(open) = &mut self.open {
            open.becomes_stream();
        }
        self.slot = Some(slot);
    }

    /// Whether the connection may stay open while no request uses it. One that was a stream counts again.
    pub(super) fn becomes_idle(&mut self) -> bool {
        self.open.as_mut().is_none_or(OpenConnection::becomes_idle)
    }

    /// The stream, the bytes that were read and not used, and what to hold until the stream is closed.
    pub(crate) fn into_tunnel(self) -> (TcpStream, BytesMut, TunnelHold) {
        (self.stream, self.read, TunnelHold { _open: self.open, _slot: self.slot })
    }

    /// Frees buffers that only a large head or body needed.
    pub(super) fn shrink_buffers(&mut self) {
        if self.read_size > MIN_READ {
            (self.read, self.read_size) = (BytesMut::new(), MIN_READ);
        }
        if self.write.capacity() > MIN_READ {
            self.write = Vec::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    use super::*;

    async fn pair() -> (Box<Connection>, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let connection = Connection::new(TcpStream::connect(address).await.expect("it listens"));
        (connection, listener.accept().await.expect("a connection").0)
    }

    #[tokio::test]
    async fn a_large_exchange_leaves_no_large_buffers() {
        let (mut connection, _theirs) = pair().await;
        (connection.read_size, connection.read) = (MAX_READ, BytesMut::with_capacity(MAX_READ));
        connection.write = Vec::with_capacity(MAX_READ);
        connection.shrink_buffers();
        assert!(connection.read.capacity() <= MIN_READ && connection.write.capacity() <= MIN_READ);
        assert_eq!(connection.read_size, MIN_READ);
    }

    #[tokio::test]
    async fn bytes_are_seen_before_the_runtime_learns_of_them() {
        let (connection, mut theirs) = pair().await;
        assert!(connection.is_silent());
        // On loopback the bytes have arrived when this returns, and the runtime has had no turn since.
        theirs.write_all(b"late").await.expect("it is open");
        assert!(!connection.is_silent());
    }

    #[tokio::test]
    async fn a_closed_connection_is_not_silent() {
        let (connection, theirs) = pair().await;
        drop(theirs);
        assert!(!connection.is_silent());
    }
}
