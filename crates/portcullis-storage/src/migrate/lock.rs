//! One process migrates while the others wait: an advisory lock of the session on PostgreSQL, which ends with the
//! connection that holds it; on SQLite a locked file beside the database, which ends with the process. SQLite's write
//! transactions are alone already, but not the copy that is made before them.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::engine::advisory_lock::AdvisoryLock;
use crate::engine::connection::Connection;
use crate::engine::dialect::Dialect;
use crate::engine::error::StoreError;
use crate::engine::open_error::OpenError;
use crate::engine::statement::{Runner, Sql};
use crate::engine::url::DatabaseUrl;

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

/// The lock, held until it is given to [`release`], or until the connection ends and this is dropped.
pub(super) struct Held {
    _file: Option<File>,
}

/// Waits for the lock, at most `limit`.
pub(super) async fn acquire(
    runner: &Runner,
    on: &mut Connection,
    url: &DatabaseUrl,
    limit: Duration,
) -> Result<Held, OpenError> {
    let file = match url {
        DatabaseUrl::Sqlite { path } => Some(lock_file(path)?),
        DatabaseUrl::Postgres { .. } => None,
    };
    let begun = Instant::now();
    let mut told = begun;
    loop {
        let is_ours = match &file {
            Some((path, file)) => is_locked(path, file)?,
            None => is_true(runner, on, &TRY).await?,
        };
        if is_ours {
            return Ok(Held { _file: file.map(|(_, file)| file) });
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

pub(super) async fn release(runner: &Runner, on: &mut Connection, held: Held) -> Result<(), StoreError> {
    drop(held);
    if runner.dialect == Dialect::Postgres {
        is_true(runner, on, &RELEASE).await?;
    }
    Ok(())
}

/// The file that is locked: never the database's own, whose locks SQLite loses when anybody here closes it. It stays,
/// because whoever waits has it open.
fn lock_file(database: &Path) -> Result<(PathBuf, File), OpenError> {
    let mut name = database.as_os_str().to_owned();
    name.push(".migrating");
    let path = PathBuf::from(name);
    let opened = crate::engine::private_file::create(&path, false).and_then(|()| File::open(&path));
    match opened {
        Ok(file) => Ok((path, file)),
        Err(source) => Err(OpenError::File { path, source: source.into() }),
    }
}

fn is_locked(path: &Path, file: &File) -> Result<bool, OpenError> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(source)) => Err(OpenError::File { path: path.to_owned(), source: source.into() }),
    }
}

async fn is_true(runner: &Runner, on: &mut Connection, sql: &Sql) -> Result<bool, StoreError> {
    let rows = runner.all(on, sql, vec![AdvisoryLock::Migrations.number().into()]).await?;
    rows.first().map_or(Ok(false), |row| row.get("locked"))
}

async fn holder(runner: &Runner, on: &mut Connection) -> Result<String, StoreError> {
    if runner.dialect == Dialect::Sqlite {
        return Ok("on this machine".to_owned());
    }
    let rows = runner.all(on, &HOLDER, vec![AdvisoryLock::Migrations.number().into()]).await?;
    let Some(row) = rows.first() else { return Ok("somebody who is just ending".to_owned()) };
    Ok(format!("{} at {}", row.get::<String>("application")?, row.get::<String>("client")?))
}
