//! A pool of connections. A connection records whether its last statement completed, so that one which may be broken
//! is never reused; only a connection that was idle for a second is pinged before its next use.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use deadpool::Runtime;
use deadpool::managed::{Manager, Metrics, Object, PoolError, QueueMode, RecycleError, RecycleResult};
use sqlx::Error as SqlxError;

use super::connection::{Connection, Target};
use super::error::StoreError;

/// Idle time after which a connection is pinged before its next use: a server that restarted meanwhile then costs a
/// reconnect instead of an error.
const PING_AFTER_IDLE: Duration = Duration::from_secs(1);
/// Longest wait for the answer to a ping.
const PING_TIMEOUT: Duration = Duration::from_secs(1);
/// Idle time after which a connection beyond the least number is closed.
const IDLE_TIMEOUT: Duration = Duration::from_secs(600);
/// Longest wait of [`Pool::close`] for running statements.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
const CLOSE_POLL: Duration = Duration::from_millis(10);

/// A pool of connections to one target.
#[derive(Clone)]
pub(crate) struct Pool {
    connections: deadpool::managed::Pool<Connector>,
    acquire_timeout: Duration,
    least: usize,
}

/// A connection taken from a pool, which returns to it when dropped.
pub(crate) type Lease = Object<Connector>;

/// Opens connections and checks those that return to the pool.
pub(crate) struct Connector {
    target: Mutex<Arc<Target>>,
    /// Raised when a connection was found dead: those opened before are then likely dead too and are replaced
    /// without a ping. Also raised when the target is replaced.
    generation: AtomicU64,
    pings: bool,
}

/// A connection, the generation it belongs to, and when it was last used.
pub(crate) struct PooledConnection {
    pub(crate) connection: Connection,
    generation: u64,
    used: Instant,
}

/// Counts of a pool's connections, and of those who wait for one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PoolStatus {
    pub(crate) size: usize,
    pub(crate) idle: usize,
    pub(crate) waiting: usize,
}

impl Pool {
    /// Creates a pool of at most `most` connections, none of which is open yet.
    pub(crate) fn new(target: Target, least: u32, most: u32, acquire_timeout: Duration) -> Self {
        let pings = matches!(target, Target::Postgres(_));
        let target = Mutex::new(Arc::new(target));
        let connector = Connector { target, generation: AtomicU64::new(0), pings };
        let connections = deadpool::managed::Pool::builder(connector)
            .max_size(most.max(1) as usize)
            .queue_mode(QueueMode::Lifo)
            .runtime(Runtime::Tokio1)
            .build()
            .expect("deadpool refuses timeouts only without a runtime");
        Self { connections, acquire_timeout, least: least.min(most) as usize }
    }

    /// Opens the least number of connections.
    pub(crate) async fn fill(&self) -> Result<(), SqlxError> {
        let mut open = Vec::new();
        for _ in 0..self.least.max(1) {
            open.push(self.get().await?);
        }
        Ok(())
    }

    /// Takes a connection, waiting for one at most `database.acquire_timeout`.
    pub(crate) async fn acquire(&self) -> Result<Lease, StoreError> {
        self.get().await.map_err(StoreError::from)
    }

    async fn get(&self) -> Result<Lease, SqlxError> {
        match tokio::time::timeout(self.acquire_timeout, self.connections.get()).await {
            Ok(Ok(lease)) => Ok(lease),
            Ok(Err(PoolError::Backend(error))) => Err(error),
            Ok(Err(PoolError::Closed)) => Err(SqlxError::PoolClosed),
            Ok(Err(_)) | Err(_) => Err(SqlxError::PoolTimedOut),
        }
    }

    /// Opens further connections to this target, and replaces each open one before its next use.
    pub(crate) fn replace_target(&self, target: Target) {
        let connector = self.connections.manager();
        *connector.target() = Arc::new(target);
        connector.generation.fetch_add(1, Ordering::AcqRel);
    }

    pub(crate) fn status(&self) -> PoolStatus {
        let status = self.connections.status();
        PoolStatus { size: status.size, idle: status.available, waiting: status.waiting }
    }

    /// Closes connections that have been idle for ten minutes, down to the least number.
    pub(crate) fn shrink(&self) {
        let mut spare = self.status().idle.saturating_sub(self.least);
        self.connections.retain(|pooled, _| {
            let stays = spare == 0 || pooled.used.elapsed() < IDLE_TIMEOUT;
            spare -= usize::from(!stays);
            stays
        });
    }

    /// Hands out no more connections, waits for those in use and closes all.
    pub(crate) async fn close(&self) {
        let idle = self.connections.retain(|_, _| false).removed;
        self.connections.close();
        for pooled in idle {
            if let Err(error) = pooled.connection.close().await {
                tracing::debug!(
                    error = &error as &dyn std::error::Error,
                    "a database connection did not close cleanly"
                );
            }
        }
        let begun = Instant::now();
        while self.connections.status().size > 0 && begun.elapsed() < CLOSE_TIMEOUT {
            tokio::time::sleep(CLOSE_POLL).await;
        }
    }
}

impl Connector {
    fn target(&self) -> MutexGuard<'_, Arc<Target>> {
        self.target.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Manager for Connector {
    type Type = PooledConnection;
    type Error = SqlxError;

    async fn create(&self) -> Result<PooledConnection, SqlxError> {
        let generation = self.generation.load(Ordering::Acquire);
        let target = Arc::clone(&self.target());
        // Boxed, because every caller that may open a connection would otherwise carry this large future.
        let connection = Box::pin(Connection::open(&target)).await?;
        Ok(PooledConnection { connection, generation, used: Instant::now() })
    }

    async fn recycle(&self, pooled: &mut PooledConnection, _metrics: &Metrics) -> RecycleResult<SqlxError> {
        if !pooled.connection.is_clean() {
            return Err(RecycleError::message("its last statement did not complete"));
        }
        if pooled.generation != self.generation.load(Ordering::Acquire) {
            return Err(RecycleError::message(
                "another connection of its generation was dead, or the target was replaced",
            ));
        }
        if self.pings && pooled.used.elapsed() >= PING_AFTER_IDLE {
            let reply = tokio::time::timeout(PING_TIMEOUT, pooled.connection.ping()).await;
            if !matches!(reply, Ok(Ok(()))) {
                self.generation.fetch_add(1, Ordering::AcqRel);
                return Err(RecycleError::message("it is dead"));
            }
        }
        pooled.used = Instant::now();
        Ok(())
    }
}
