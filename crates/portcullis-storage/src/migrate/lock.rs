//! One replica migrates while the others wait: an advisory lock of the session on PostgreSQL, which ends with the
//! connection that holds it. SQLite's write transactions are alone already.

use std::time::{Duration, Instant};

use crate::connection::Connection;
use crate::dialect::{Dialect, Lock};
use crate::error::StoreError;
use crate::open::OpenError;
use crate::statement::{Runner, Sql};

/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(100);
/// How often the log says who is waited for.
const TOLD_EVERY: Duration = Duration::from_secs(10);

static TRY: Sql = Sql::select("locks", "SELECT pg_try_advisory_lock($1) AS locked");
static RELEASE: Sql = Sql::select("locks", "SELECT pg_advisory_unlock($1) AS locked");
static HOLDER: Sql = Sql::select(
    "locks",
    "SELECT COALESCE(a.application_name, '') AS application, COALESCE(CAST(a.client_addr AS TEXT), 'a local socket') AS client \
     FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid \
     WHERE l.locktype = 'advisory' AND l.granted AND l.classid::bigint = $1 >> 32 AND l.objid::bigint = $1 & 4294967295",
);

/// Waits for the lock, at most `limit`. It is held until [`release`] or until the connection ends.
pub(super) async fn acquire(runner: &Runner, on: &mut Connection, limit: Duration) -> Result<(), OpenError> {
    if runner.dialect == Dialect::Sqlite {
        return Ok(());
    }
    let begun = Instant::now();
    let mut told = begun;
    loop {
        if is_true(runner, on, &TRY).await? {
            return Ok(());
        }
        if begun.elapsed() >= limit {
            return Err(OpenError::MigrationLocked { holder: holder(runner, on).await?, waited: limit });
        }
        if told == begun || told.elapsed() >= TOLD_EVERY {
            told = Instant::now();
            let holder = holder(runner, on).await?;
            tracing::info!(holder, "waiting for another process to migrate the database");
        }
        tokio::time::sleep(PAUSE).await;
    }
}

pub(super) async fn release(runner: &Runner, on: &mut Connection) -> Result<(), StoreError> {
    if runner.dialect == Dialect::Postgres {
        is_true(runner, on, &RELEASE).await?;
    }
    Ok(())
}

async fn is_true(runner: &Runner, on: &mut Connection, sql: &Sql) -> Result<bool, StoreError> {
    let rows = runner.all(on, sql, vec![Lock::Migrations.number().into()]).await?;
    rows.first().map_or(Ok(false), |row| row.get("locked"))
}

async fn holder(runner: &Runner, on: &mut Connection) -> Result<String, StoreError> {
    let rows = runner.all(on, &HOLDER, vec![Lock::Migrations.number().into()]).await?;
    let Some(row) = rows.first() else { return Ok("somebody who is just ending".to_owned()) };
    Ok(format!("{} at {}", row.get::<String>("application")?, row.get::<String>("client")?))
}
