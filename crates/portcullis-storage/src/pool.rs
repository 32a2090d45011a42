//! Connections kept for use. One that may be broken is never used again, without asking each time: a connection knows
//! whether its last statement came to an end, and only one that has been idle is asked for a sign of life.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use deadpool::Runtime;
use deadpool::managed::{Manager, Metrics, Object, PoolError, QueueMode, RecycleError, RecycleResult};
use sqlx::Error as SqlxError;

use crate::connection::{Connection, Target};
use crate::error::StoreError;

/// A connection that has been idle this long is asked for a sign of life before its next use: a server that
/// restarted meanwhile then costs a reconnect, not an error.
const ASKED_AFTER_IDLE: Duration = Duration::from_secs(1);
/// How long the sign of life may take.
const SIGN_OF_LIFE: Duration = Duration::from_secs(1);
/// An idle connection beyond the least number is closed after this long.
const IDLE_LIFE: Duration = Duration::from_secs(600);
/// How long [`Pool::close`] waits for statements that run.
const CLOSING: Duration = Duration::from_secs(5);
const CLOSING_LOOK: Duration = Duration::from_millis(10);

/// A pool of connections to one target.
#[derive(Clone)]
pub(crate) struct Pool {
    connections: deadpool::managed::Pool<Connector>,
    acquire_timeout: Duration,
    least: usize,
}

/// A connection on loan.
pub(crate) type Lease = Object<Connector>;

/// Makes connections and looks at those that come back.
pub(crate) struct Connector {
    target: Target,
    /// Raised when a connection was found dead: those from before are then likely dead too, and not asked.
    era: AtomicU64,
    asks: bool,
}

/// A connection and when it was made and last used.
pub(crate) struct Kept {
    pub(crate) connection: Connection,
    era: u64,
    used: Instant,
}

/// What a pool holds at a moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Holding {
    pub(crate) size: usize,
    pub(crate) idle: usize,
    pub(crate) waiting: usize,
}

impl Pool {
    /// A pool of at most `most` connections, none of which is open yet.
    pub(crate) fn new(target: Target, least: u32, most: u32, acquire_timeout: Duration) -> Self {
        let asks = matches!(target, Target::Postgres { .. });
        let connector = Connector { target, era: AtomicU64::new(0), asks };
        let connections = deadpool::managed::Pool::builder(connector)
            .max_size(most.max(1) as usize)
            .queue_mode(QueueMode::Lifo)
            .runtime(Runtime::Tokio1)
            .build()
            .expect("a runtime is given, so that timeouts can be kept");
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

    /// A connection, waiting for one at most the time that settings allow.
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

    pub(crate) fn holding(&self) -> Holding {
        let status = self.connections.status();
        Holding { size: status.size, idle: status.available, waiting: status.waiting }
    }

    /// Closes connections that have been idle for long, down to the least number.
    pub(crate) fn shrink(&self) {
        let mut spare = self.holding().idle.saturating_sub(self.least);
        self.connections.retain(|kept, _| {
            let stays = spare == 0 || kept.used.elapsed() < IDLE_LIFE;
            spare -= usize::from(!stays);
            stays
        });
    }

    /// Gives out no more connections, waits for those in use and closes all.
    pub(crate) async fn close(&self) {
        let idle = self.connections.retain(|_, _| false).removed;
        self.connections.close();
        for kept in idle {
            if let Err(error) = kept.connection.close().await {
                tracing::debug!(
                    error = &error as &dyn std::error::Error,
                    "a database connection did not close cleanly"
                );
            }
        }
        let begun = Instant::now();
        while self.connections.status().size > 0 && begun.elapsed() < CLOSING {
            tokio::time::sleep(CLOSING_LOOK).await;
        }
    }
}

impl Manager for Connector {
    type Type = Kept;
    type Error = SqlxError;

    async fn create(&self) -> Result<Kept, SqlxError> {
        let era = self.era.load(Ordering::Acquire);
        // On the heap, because everything that may open a connection would else carry this large future.
        let connection = Box::pin(Connection::open(&self.target)).await?;
        Ok(Kept { connection, era, used: Instant::now() })
    }

    async fn recycle(&self, kept: &mut Kept, _metrics: &Metrics) -> RecycleResult<SqlxError> {
        if !kept.connection.is_clean() {
            return Err(RecycleError::message("its last statement did not come to an end"));
        }
        if kept.era != self.era.load(Ordering::Acquire) {
            return Err(RecycleError::message("another of its age was dead"));
        }
        if self.asks && kept.used.elapsed() >= ASKED_AFTER_IDLE {
            let answer = tokio::time::timeout(SIGN_OF_LIFE, kept.connection.ping()).await;
            if !matches!(answer, Ok(Ok(()))) {
                self.era.fetch_add(1, Ordering::AcqRel);
                return Err(RecycleError::message("it is dead"));
            }
        }
        kept.used = Instant::now();
        Ok(())
    }
}
