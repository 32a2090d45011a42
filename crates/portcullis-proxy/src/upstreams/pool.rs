//! The idle connections to one target.
//!
//! Nobody polls an idle connection. When it is taken out again, the pool checks whether the target closed it meanwhile.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::connection::Connection;

/// The most idle connections that are kept for one target.
const MAX_IDLE: usize = 128;
/// The longest time that a connection is kept idle. It is shorter than the usual limit of servers, 60 to 75 s.
const IDLE_LIFETIME: Duration = Duration::from_secs(45);

/// The idle connections to a target. The one that was used last is taken first.
#[derive(Default)]
pub(crate) struct Pool {
    idle: Mutex<Vec<(Connection, Instant)>>,
}

impl Pool {
    /// Takes out an idle connection that is still open.
    pub(crate) fn take(&self) -> Option<Connection> {
        loop {
            let (mut connection, since) = self.lock().pop()?;
            if since.elapsed() < IDLE_LIFETIME && connection.is_reusable() {
                connection.reused = true;
                return Some(connection);
            }
        }
    }

    /// Keeps a connection that may be used for another request.
    pub(crate) fn release(&self, mut connection: Connection) {
        if !connection.becomes_idle() {
            return;
        }
        connection.shrink_buffers();
        let slot = connection.slot.take();
        let now = Instant::now();
        let mut idle = self.lock();
        // The oldest are at the front, which `take` reaches last. Without this they would stay after a burst, whether
        // the target has closed them or not.
        let expired = idle.partition_point(|(_, since)| now.saturating_duration_since(*since) >= IDLE_LIFETIME);
        let excess = (idle.len() + 1).saturating_sub(MAX_IDLE);
        let removed: Vec<_> = idle.drain(..expired.max(excess)).collect();
        idle.push((connection, now));
        drop(idle);
        // Closing sockets takes system calls, for which nobody else has to wait: the lock is released first.
        drop(removed);
        // After the connection was put in, so that the request that gets the slot finds it.
        drop(slot);
    }

    /// Closes the connection that has been idle longest.
    pub(super) fn close_oldest(&self) {
        let mut idle = self.lock();
        let oldest = if idle.is_empty() { None } else { Some(idle.remove(0)) };
        drop(idle);
        drop(oldest);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(Connection, Instant)>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::upstreams::Target;

    async fn target() -> (Target, TcpListener) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("a bound socket has an address").port();
        (Target::on_loopback(port), listener)
    }

    /// Gives a new connection to the pool. The caller keeps the target's end of it open.
    async fn keep_one(target: &Target, listener: &TcpListener) -> TcpStream {
        target.pool.release(target.connect_now().await.expect("the target listens"));
        listener.accept().await.expect("a connection").0
    }

    /// Makes the oldest connection as old as its lifetime.
    fn expire_oldest(pool: &Pool) {
        let since = &mut pool.lock()[0].1;
        *since = since.checked_sub(IDLE_LIFETIME).expect("the machine has been up for longer");
    }

    #[tokio::test]
    async fn an_expired_connection_is_not_taken() {
        let (target, listener) = target().await;
        let _theirs = keep_one(&target, &listener).await;
        expire_oldest(&target.pool);
        assert!(target.pool.take().is_none());
    }

    #[tokio::test]
    async fn expired_connections_are_closed_though_newer_ones_serve() {
        let (target, listener) = target().await;
        let _first = keep_one(&target, &listener).await;
        expire_oldest(&target.pool);
        let _second = keep_one(&target, &listener).await;
        assert_eq!(target.pool.lock().len(), 1);
    }

    #[tokio::test]
    async fn at_most_the_limit_of_idle_connections_is_kept() {
        let (target, listener) = target().await;
        let mut theirs = Vec::new();
        for _ in 0..MAX_IDLE + 2 {
            theirs.push(keep_one(&target, &listener).await);
        }
        assert_eq!(target.pool.lock().len(), MAX_IDLE);
    }
}
