//! Notifications between replicas that share a PostgreSQL but no Redis: LISTEN and NOTIFY.
//!
//! The notification is part of the transaction that appends to the log, so it is sent even if the replica dies right
//! after its commit. It carries only the sender's name: the entries are read from the log.

use std::time::Duration;

use sqlx::postgres::{PgListener, PgPoolOptions};
use sqlx::{Error as SqlxError, Executor as _};
use tokio_util::sync::CancellationToken;

use crate::engine::connect::Notifications;
use crate::store::Store;

/// Time without a notification after which the connection is checked, because a network that drops packets reports
/// nothing. Until then the half-second readings of the log carry revocations alone.
const CHECK_AFTER: Duration = Duration::from_secs(5);
/// Longest wait for the answer to the check.
const CHECK_TIMEOUT: Duration = Duration::from_secs(2);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Pause between two attempts to connect.
const RECONNECT_PAUSE: Duration = Duration::from_secs(1);

impl Store {
    /// Calls `notified` whenever another replica has appended to the log, until cancelled. Also calls it after each
    /// connect, because notifications sent while there was no connection are lost. Returns at once on SQLite, which
    /// has no replicas.
    pub async fn listen(self, notified: impl Fn() + Send + Sync, stop: CancellationToken) {
        let Some(source) = self.shared().pools.notifications.clone() else { return };
        let mut failing = false;
        while !stop.is_cancelled() {
            let ended = tokio::select! {
                ended = self.listen_once(&source, &notified, &mut failing) => ended,
                () = stop.cancelled() => return,
            };
            if let Err(error) = ended
                && !failing
            {
                failing = true;
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "PostgreSQL sends no notifications; until it does, revocations of other replicas arrive within half a second"
                );
            }
            tokio::select! {
                () = tokio::time::sleep(RECONNECT_PAUSE) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    /// Listens on one connection until it is lost.
    async fn listen_once(
        &self,
        source: &Notifications,
        notified: &impl Fn(),
        failing: &mut bool,
    ) -> Result<(), SqlxError> {
        let pool = PgPoolOptions::new().max_connections(1).connect_lazy_with(source.server());
        let connecting = async {
            let mut listener = PgListener::connect_with(&pool).await?;
            listener.eager_reconnect(false);
            listener.listen(&source.channel).await?;
            Ok::<_, SqlxError>(listener)
        };
        let mut listener = within(CONNECT_TIMEOUT, connecting).await?;
        if std::mem::take(failing) {
            tracing::info!("PostgreSQL sends notifications again");
        }
        notified();
        loop {
            match tokio::time::timeout(CHECK_AFTER, listener.try_recv()).await {
                Ok(Ok(Some(notice))) if notice.payload() == self.shared().replica => {}
                Ok(Ok(Some(_))) => notified(),
                Ok(Ok(None)) => return Ok(()),
                Ok(Err(error)) => return Err(error),
                Err(_) => {
                    within(CHECK_TIMEOUT, listener.execute("SELECT 1")).await?;
                }
            }
        }
    }
}

async fn within<T>(limit: Duration, work: impl Future<Output = Result<T, SqlxError>>) -> Result<T, SqlxError> {
    tokio::time::timeout(limit, work).await.unwrap_or(Err(SqlxError::PoolTimedOut))
}
