//! A lock, so that one process migrates while the others wait. On PostgreSQL it is a session-level advisory lock, which
//! ends with the connection that holds it. On SQLite it is a locked file beside the database, which ends with the process:
//! SQLite runs one write transaction at a time anyway, but not the copy that is made before it.

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

/// Pause between two attempts to take the lock.
const PAUSE: Duration = Duration::from_millis(100);
/// Interval at which the log names the process that is waited for.
const LOG_INTERVAL: Duration = Duration::from_secs(10);
/// All that the lock of a file tells of its holder.
const ON_THIS_MACHINE: &str = "on this machine";

static TRY: Sql = Sql::select("locks", "SELECT pg_try_advisory_lock($1) AS locked");
static RELEASE: Sql = Sql::select("locks", "SELECT pg_advisory_unlock($1) AS locked");
static HOLDER: Sql = Sql::select(
    "locks",
    "SELECT COALESCE(a.application_name, '') AS application, COALESCE(CAST(a.client_addr AS TEXT), 'a local socket') AS client \
     FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid \
     WHERE l.locktype = 'advisory' AND l.granted \
     AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) AND l.classid::bigint = ($1 >> 32) & 4294967295 AND l.objid::bigint = $1 & 4294967295",
);

/// The lock. It is held until [`release`], or until the connection ends and this value is dropped.
pub(super) struct MigrationLock {
    _file: Option<File>,
}

/// Waits for the lock, at most `limit`.
pub(super) async fn acquire(
    runner: &Runner,
    on: &mut Connection,
    url: &DatabaseUrl,
    limit: Duration,
) -> Result<MigrationLock, OpenError> {
    if !on.has_session() {
        return Err(OpenError::NeedsSession { address: url.to_string() });
    }
    let file = match url {
        DatabaseUrl::Sqlite { path } => Some(lock_file(path)?),
        DatabaseUrl::Postgres { .. } => None,
    };
    let begun = Instant::now();
    let mut logged = begun;
    loop {
        let is_ours = match &file {
            Some((path, file)) => try_lock(path, file)?,
            None => is_true(runner, on, &TRY).await?,
        };
        if is_ours {
            return Ok(MigrationLock { _file: file.map(|(_, file)| file) });
        }
        if begun.elapsed() >= limit {
            return Err(OpenError::MigrationLocked { holder: holder(runner, on).await?, waited: limit });
        }
        if logged == begun || logged.elapsed() >= LOG_INTERVAL {
            logged = Instant::now();
            let holder = holder(runner, on).await?;
            tracing::info!(holder, "waiting for another process to migrate the database");
        }
        tokio::time::sleep(PAUSE).await;
    }
}

pub(super) async fn release(runner: &Runner, on: &mut Connection, held: MigrationLock) -> Result<(), StoreError> {
    drop(held);
    if runner.dialect == Dialect::Postgres {
        is_true(runner, on, &RELEASE).await?;
    }
    Ok(())
}

/// Returns the process that holds the lock at this moment, if one does. It changes nothing.
pub(super) async fn holder_now(
    runner: &Runner,
    on: &mut Connection,
    url: &DatabaseUrl,
) -> Result<Option<String>, OpenError> {
    match url {
        DatabaseUrl::Sqlite { path } => {
            let path = lock_path(path);
            match File::open(&path) {
                Ok(file) => Ok((!try_lock(&path, &file)?).then(|| ON_THIS_MACHINE.to_owned())),
                // No process has ever migrated the database.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
                Err(source) => Err(OpenError::File { path, source: source.into() }),
            }
        }
        DatabaseUrl::Postgres { .. } => Ok(described_holder(runner, on).await?),
    }
}

/// Opens the file that is locked. It is not the database's own file, because SQLite's locks on that are lost when any
/// descriptor of this process is closed. The file stays, because waiting processes have it open.
fn lock_file(database: &Path) -> Result<(PathBuf, File), OpenError> {
    let path = lock_path(database);
    let opened = crate::engine::private_file::create(&path, false).and_then(|()| File::open(&path));
    match opened {
        Ok(file) => Ok((path, file)),
        Err(source) => Err(OpenError::File { path, source: source.into() }),
    }
}

fn lock_path(database: &Path) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(".migrating");
    PathBuf::from(name)
}

/// Tries to lock the file; `false` when another process holds the lock.
fn try_lock(path: &Path, file: &File) -> Result<bool, OpenError> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(source)) => Err(OpenError::File { path: path.to_owned(), source: source.into() }),
    }
}

/// Runs one of the statements on the advisory lock.
async fn is_true(runner: &Runner, on: &mut Connection, sql: &Sql) -> Result<bool, StoreError> {
    let rows = runner.all(on, sql, vec![AdvisoryLock::Migrations.number(runner.namespace).into()]).await?;
    rows.first().map_or(Ok(false), |row| row.get("locked"))
}

/// Describes the process that holds the lock.
async fn holder(runner: &Runner, on: &mut Connection) -> Result<String, StoreError> {
    if runner.dialect == Dialect::Sqlite {
        return Ok(ON_THIS_MACHINE.to_owned());
    }
    Ok(described_holder(runner, on).await?.unwrap_or_else(|| "a process that is just ending".to_owned()))
}

/// Describes the process that holds the lock on PostgreSQL, if one does.
async fn described_holder(runner: &Runner, on: &mut Connection) -> Result<Option<String>, StoreError> {
    let rows = runner.all(on, &HOLDER, vec![AdvisoryLock::Migrations.number(runner.namespace).into()]).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    Ok(Some(format!("{} at {}", row.get::<String>("application")?, row.get::<String>("client")?)))
}
