//! Kept-alive connections to one target.
//!
//! A connection belongs to whoever uses it. While it is idle nobody polls it; what the target did meanwhile is found out
//! when it is taken out again.

use std::io;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use tokio::net::TcpStream;
use tokio_util::io::poll_read_buf;

use crate::error::ProxyError;
use crate::http1::Broken;
use crate::upstream::Target;

/// The most idle connections kept for one target.
const MAX_IDLE: usize = 128;
/// How long an idle connection is kept. Shorter than common servers' own limit of 60 to 75 s.
const IDLE_LIFETIME: Duration = Duration::from_secs(45);
/// How much is read at once to begin with, in bytes: heads and small bodies.
const LEAST_READ: usize = 8 * 1024;
/// How much is read at once from a target that has much to say.
const MOST_READ: usize = 64 * 1024;

/// One connection.
pub(crate) struct Connection {
    pub(crate) stream: TcpStream,
    /// What was read and not looked at yet.
    pub(crate) read: BytesMut,
    /// Room for the next request's head.
    pub(crate) write: Vec<u8>,
    /// How much is read at once.
    reads: usize,
    /// Whether it carried a request before: then the target may have closed it
    /// just as we write.
    pub(crate) reused: bool,
}

/// The idle connections of a target, latest used first.
#[derive(Default)]
pub(crate) struct Pool {
    idle: Mutex<Vec<(Connection, Instant)>>,
}

impl Pool {
    /// A live idle connection.
    pub(crate) fn take(&self) -> Option<Connection> {
        loop {
            let (mut connection, since) = self.lock().pop()?;
            if since.elapsed() < IDLE_LIFETIME && connection.is_quiet() {
                connection.reused = true;
                return Some(connection);
            }
        }
    }

    /// Keeps a connection that may carry another request.
    pub(crate) fn give_back(&self, mut connection: Connection) {
        connection.settle();
        let now = Instant::now();
        let mut idle = self.lock();
        // The oldest are at the front, where `take` comes last: after a burst it
        // would leave them there, closed by the target or not.
        let expired = idle.partition_point(|(_, since)| now.saturating_duration_since(*since) >= IDLE_LIFETIME);
        let excess = (idle.len() + 1).saturating_sub(MAX_IDLE);
        let gone: Vec<_> = idle.drain(..expired.max(excess)).collect();
        idle.push((connection, now));
        drop(idle);
        // Closing sockets takes system calls, which nobody else need wait for.
        drop(gone);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<(Connection, Instant)>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connection {
    /// Connects to a target.
    pub(crate) async fn open(target: &Target) -> Result<Self, ProxyError> {
        let connecting = TcpStream::connect((target.host.as_str(), target.port));
        let stream = match tokio::time::timeout(target.connect_timeout, connecting).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(ProxyError::Connect(error)),
            Err(elapsed) => return Err(ProxyError::Connect(elapsed.into())),
        };
        stream.set_nodelay(true).map_err(ProxyError::Connect)?;
        Ok(Self { stream, read: BytesMut::new(), write: Vec::new(), reads: LEAST_READ, reused: false })
    }

    /// Reads what there is, behind what was read before; 0 at the connection's end.
    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, Broken>> {
        self.read.reserve(self.reads);
        let read = ready!(poll_read_buf(Pin::new(&mut self.stream), cx, &mut self.read)).map_err(Broken::Connection)?;
        if read >= self.reads {
            self.reads = (2 * self.reads).min(MOST_READ);
        }
        Poll::Ready(Ok(read))
    }

    /// Whether the target has neither closed it nor said anything that nobody asked for. Costs no system call while it
    /// has not.
    fn is_quiet(&self) -> bool {
        let said = self.stream.try_read(&mut [0]);
        said.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Gives up the room that only a large head or body needed.
    fn settle(&mut self) {
        if self.reads > LEAST_READ {
            (self.read, self.reads) = (BytesMut::new(), LEAST_READ);
        }
        if self.write.capacity() > LEAST_READ {
            self.write = Vec::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use tokio::net::TcpListener;

    use super::*;

    async fn target() -> (Target, TcpListener) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("a bound socket has an address").port();
        let target = Target {
            host: "127.0.0.1".to_owned(),
            port,
            authority: HeaderValue::from_static("upstream"),
            connect_timeout: Duration::from_secs(5),
            pool: Pool::default(),
        };
        (target, listener)
    }

    /// Gives the pool a connection; the target's end of it is the caller's to keep open.
    async fn keep_one(target: &Target, listener: &TcpListener) -> TcpStream {
        target.pool.give_back(Connection::open(target).await.expect("the target listens"));
        listener.accept().await.expect("a connection").0
    }

    /// As if the oldest connection had been idle for its whole lifetime.
    fn age_the_oldest(pool: &Pool) {
        let since = &mut pool.lock()[0].1;
        *since = since.checked_sub(IDLE_LIFETIME).expect("the machine has been up for longer");
    }

    #[tokio::test]
    async fn an_expired_connection_is_not_taken() {
        let (target, listener) = target().await;
        let _theirs = keep_one(&target, &listener).await;
        age_the_oldest(&target.pool);
        assert!(target.pool.take().is_none());
    }

    #[tokio::test]
    async fn expired_connections_are_closed_though_newer_ones_serve() {
        let (target, listener) = target().await;
        let _first = keep_one(&target, &listener).await;
        age_the_oldest(&target.pool);
        let _second = keep_one(&target, &listener).await;
        assert_eq!(target.pool.lock().len(), 1);
    }

    #[tokio::test]
    async fn an_idle_connection_keeps_no_room_that_only_a_large_exchange_needed() {
        let (target, listener) = target().await;
        let mut connection = Connection::open(&target).await.expect("the target listens");
        (connection.reads, connection.read) = (MOST_READ, BytesMut::with_capacity(MOST_READ));
        connection.write = Vec::with_capacity(MOST_READ);
        target.pool.give_back(connection);
        let _theirs = listener.accept().await.expect("a connection").0;
        let kept = target.pool.take().expect("it is alive");
        assert!(kept.read.capacity() <= LEAST_READ && kept.write.capacity() <= LEAST_READ && kept.reads == LEAST_READ);
    }

    #[tokio::test]
    async fn no_more_than_the_bound_are_kept() {
        let (target, listener) = target().await;
        let mut theirs = Vec::new();
        for _ in 0..MAX_IDLE + 2 {
            theirs.push(keep_one(&target, &listener).await);
        }
        assert_eq!(target.pool.lock().len(), MAX_IDLE);
    }
}
