//! Kept-alive connections to one target.
//!
//! A connection is driven by whoever uses it: the request's own task polls the
//! connection beside the response, so that a request costs no second task and
//! no wake-up across threads. While it is idle nobody polls it; what the target
//! did meanwhile is found out when it is taken out again.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use portcullis_gate::InboundBody;
use tokio::net::TcpStream;

use crate::error::ProxyError;
use crate::upstream::Target;

/// The most idle connections kept for one target.
const MAX_IDLE: usize = 128;
/// The most that is read from a target ahead of its reader, head included, in bytes.
const MAX_BUFFER: usize = 64 * 1024;
/// How long an idle connection is kept. Shorter than common servers' own limit of 60 to 75 s.
const IDLE_LIFETIME: Duration = Duration::from_secs(45);

type Http = http1::Connection<TokioIo<TcpStream>, InboundBody>;

/// Reads and writes for a connection, until it has closed.
pub(crate) struct Driver(Option<Pin<Box<Http>>>);

/// One connection and what drives it.
pub(crate) struct Connection {
    pub(crate) sender: SendRequest<InboundBody>,
    pub(crate) driver: Driver,
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
    pub(crate) fn take(&self, cx: &mut Context<'_>) -> Option<Connection> {
        loop {
            let (mut connection, since) = self.lock().pop()?;
            if since.elapsed() < IDLE_LIFETIME && connection.is_usable(cx) {
                connection.reused = true;
                return Some(connection);
            }
        }
    }

    /// Keeps a connection that may carry another request.
    pub(crate) fn give_back(&self, mut connection: Connection, cx: &mut Context<'_>) {
        if !connection.is_usable(cx) {
            return;
        }
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
        let (sender, driver) = handshake(target).await?;
        Ok(Self { sender, driver: Driver(Some(Box::pin(driver))), reused: false })
    }

    /// For a connection that outlives its request: what sends on it, and what drives it to its end.
    pub(crate) fn into_upgradeable(
        self,
    ) -> (SendRequest<InboundBody>, impl Future<Output = hyper::Result<()>> + Send + 'static) {
        let driver = self.driver.0.expect("a connection that carried nothing yet has not been driven to its end");
        (self.sender, Pin::into_inner(driver).with_upgrades())
    }

    fn is_usable(&mut self, cx: &mut Context<'_>) -> bool {
        self.driver.drive(cx).is_pending() && self.sender.is_ready()
    }
}

impl Driver {
    /// Lets the connection read and write what it can. Ready once it has closed.
    pub(crate) fn drive(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(http) = &mut self.0 else { return Poll::Ready(()) };
        match http.as_mut().poll(cx) {
            // Whatever failed is told by the response or its body.
            Poll::Ready(_) => {
                self.0 = None;
                Poll::Ready(())
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

/// A connected socket that speaks HTTP/1.1.
async fn handshake(target: &Target) -> Result<(SendRequest<InboundBody>, Http), ProxyError> {
    let connecting = TcpStream::connect((target.host.as_str(), target.port));
    let stream = match tokio::time::timeout(target.connect_timeout, connecting).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Err(ProxyError::Connect(error)),
        Err(elapsed) => return Err(ProxyError::Connect(elapsed.into())),
    };
    stream.set_nodelay(true).map_err(ProxyError::Connect)?;
    http1::Builder::new().max_buf_size(MAX_BUFFER).handshake(TokioIo::new(stream)).await.map_err(ProxyError::Broken)
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

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
        let mut connection = Some(Connection::open(target).await.expect("the target listens"));
        poll_fn(|cx| {
            target.pool.give_back(connection.take().expect("polled once"), cx);
            Poll::Ready(())
        })
        .await;
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
        assert!(poll_fn(|cx| Poll::Ready(target.pool.take(cx))).await.is_none());
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
    async fn no_more_than_the_bound_are_kept() {
        let (target, listener) = target().await;
        let mut theirs = Vec::new();
        for _ in 0..MAX_IDLE + 2 {
            theirs.push(keep_one(&target, &listener).await);
        }
        assert_eq!(target.pool.lock().len(), MAX_IDLE);
    }
}
