//! Locks that make requests wait.

use std::time::Duration;

use portcullis_model::Finding;

use super::unreadable;
use crate::engine::dialect::Dialect;
use crate::engine::direct_connection::DirectConnection;
use crate::engine::error::StoreError;

const LOCKS: &str = "database.locks";
const HINT_SQLITE: &str = "find the process that has the file open (fuser, lsof) and end its transaction";
const HINT_POSTGRES: &str = "end the transaction: SELECT pg_terminate_backend(PID), after a look at what it does";

/// Looks for locks that have been held for longer than `limit`.
pub(super) async fn examine(on: &mut DirectConnection, limit: Duration, found: &mut Vec<Finding>) {
    let finding = match on.runner.dialect {
        Dialect::Sqlite => sqlite(on, limit).await,
        Dialect::Postgres => postgres(on, limit).await,
    };
    found.push(finding.unwrap_or_else(|error| unreadable(LOCKS, &error)));
}

/// Takes the write lock for a moment, because SQLite does not say who holds it.
async fn sqlite(on: &mut DirectConnection, limit: Duration) -> Result<Finding, StoreError> {
    let wait = limit.as_millis();
    // A connection that only reads may not take the lock.
    on.script("PRAGMA", &format!("PRAGMA busy_timeout = {wait}; PRAGMA query_only = 0")).await?;
    let taken = on.script("BEGIN", "BEGIN IMMEDIATE; ROLLBACK").await;
    on.script("PRAGMA", "PRAGMA query_only = 1").await?;
    Ok(match taken {
        Ok(()) => Finding::pass(LOCKS, "nobody holds the write lock for long"),
        Err(error) if is_busy(&error) => {
            let text = format!("another process has held the write lock for more than {} s", limit.as_secs());
            Finding::warn(LOCKS, text, HINT_SQLITE)
        }
        Err(error) => return Err(error),
    })
}

/// `SQLITE_BUSY`, with or without an extended code.
fn is_busy(error: &StoreError) -> bool {
    error.sqlstate().and_then(|code| code.parse::<u32>().ok()).is_some_and(|code| code & 0xff == 5)
}

/// Finds transactions that hold a lock on a table which keeps writers out, and those for which others wait.
async fn postgres(on: &mut DirectConnection, limit: Duration) -> Result<Finding, StoreError> {
    let seconds = limit.as_secs();
    let text = format!(
        "SELECT CAST(a.pid AS BIGINT) AS pid, COALESCE(a.application_name, '') AS application, \
         COALESCE(CAST(a.client_addr AS TEXT), 'a local socket') AS client, COALESCE(a.state, '') AS state, \
         CAST(EXTRACT(EPOCH FROM clock_timestamp() - a.xact_start) AS BIGINT) AS seconds, \
         (SELECT count(*) FROM pg_stat_activity w WHERE a.pid = ANY (pg_blocking_pids(w.pid))) AS waiting \
         FROM pg_stat_activity a \
         WHERE a.datname = current_database() AND a.pid <> pg_backend_pid() \
         AND a.xact_start < clock_timestamp() - INTERVAL '1 second' * {seconds} \
         AND (EXISTS (SELECT 1 FROM pg_locks l JOIN pg_class c ON c.oid = l.relation AND c.relkind IN ('r', 'p') \
              WHERE l.pid = a.pid AND l.granted AND l.mode IN ('ShareRowExclusiveLock', 'ExclusiveLock', \
              'AccessExclusiveLock')) \
           OR EXISTS (SELECT 1 FROM pg_stat_activity w WHERE w.wait_event_type = 'Lock' \
              AND a.pid = ANY (pg_blocking_pids(w.pid)))) \
         ORDER BY a.xact_start LIMIT 5"
    );
    let rows = on.all(text, vec![]).await?;
    let holders = rows.iter().map(|row| {
        Ok(format!(
            "process {} ({}, {} at {}) has held locks for {} s; {} others wait",
            row.get::<i64>("pid")?,
            row.get::<String>("state")?,
            row.get::<String>("application")?,
            row.get::<String>("client")?,
            row.get::<i64>("seconds")?,
            row.get::<i64>("waiting")?,
        ))
    });
    let holders = holders.collect::<Result<Vec<String>, StoreError>>()?;
    Ok(match holders.first() {
        None => Finding::pass(LOCKS, "no transaction holds a lock for long"),
        Some(first) => Finding::warn(LOCKS, first.clone(), HINT_POSTGRES).details(holders[1..].to_vec()),
    })
}
