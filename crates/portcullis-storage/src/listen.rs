//! The bell between replicas that share a PostgreSQL and no Redis: LISTEN and NOTIFY.
//!
//! The notification belongs to the transaction that appends to the log, so it is sent even if the replica dies right
//! after its commit. It carries nothing but who rang: what happened is read from the log.

use std::time::Duration;

use sqlx::postgres::{PgListener, PgPoolOptions};
use sqlx::{Error as SqlxError, Executor as _};
use tokio_util::sync::CancellationToken;

use crate::connection::Target;
use crate::store::Store;

/// The channel's name.
pub(crate) const CHANNEL: &str = "portcullis_revocations";
/// After this long without a word the connection is asked for a sign of life: a network that drops packets says
/// nothing. Until then the readings of the log do without the bell.
const QUIET: Duration = Duration::from_secs(5);
const SIGN_OF_LIFE: Duration = Duration::from_secs(2);
const CONNECTING: Duration = Duration::from_secs(3);
/// Between two attempts to connect.
const PAUSE: Duration = Duration::from_secs(1);

impl Store {
    /// Calls `rung` whenever another replica has appended to the log, and after each connecting, since what was said
    /// meanwhile is lost; until cancelled. Returns at once on SQLite, which has no replicas.
    pub async fn listen(self, rung: impl Fn() + Send + Sync, stop: CancellationToken) {
        let Some(target) = self.inner.engine.listening.clone() else { return };
        let mut failing = false;
        while !stop.is_cancelled() {
            let ended = tokio::select! {
                ended = self.hear(&target, &rung, &mut failing) => ended,
                () = stop.cancelled() => return,
            };
            if let Err(error) = ended
                && !failing
            {
                failing = true;
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "PostgreSQL does not notify: others' revocations are read every half second until it does"
                );
            }
            tokio::select! {
                () = tokio::time::sleep(PAUSE) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    /// Listens on one connection until it is lost.
    async fn hear(&self, target: &Target, rung: &impl Fn(), failing: &mut bool) -> Result<(), SqlxError> {
        let Target::Postgres { server, .. } = target else { return Ok(()) };
        let pool = PgPoolOptions::new().max_connections(1).connect_lazy_with((**server).clone());
        let connecting = async {
            let mut listener = PgListener::connect_with(&pool).await?;
            listener.eager_reconnect(false);
            listener.listen(CHANNEL).await?;
            Ok::<_, SqlxError>(listener)
        };
        let mut listener = in_time(CONNECTING, connecting).await?;
        if std::mem::take(failing) {
            tracing::info!("PostgreSQL notifies again");
        }
        rung();
        loop {
            match tokio::time::timeout(QUIET, listener.try_recv()).await {
                Ok(Ok(Some(notice))) if notice.payload() == self.inner.replica => {}
                Ok(Ok(Some(_))) => rung(),
                Ok(Ok(None)) => return Ok(()),
                Ok(Err(error)) => return Err(error),
                Err(_) => {
                    in_time(SIGN_OF_LIFE, listener.execute("SELECT 1")).await?;
                }
            }
        }
    }
}

async fn in_time<T>(limit: Duration, work: impl Future<Output = Result<T, SqlxError>>) -> Result<T, SqlxError> {
    tokio::time::timeout(limit, work).await.unwrap_or(Err(SqlxError::PoolTimedOut))
}
