//! Reads the entries of the revocation log that became visible since the last reading.
//!
//! An entry becomes visible when its transaction commits, which may be any time after it got its number. So a reading on
//! PostgreSQL does not go by numbers or times. It keeps its snapshot, and the next reading returns the entries of the
//! transactions that had not ended in that snapshot. No entry is missed, and hardly any is read twice.

use std::time::{Duration, Instant};

use portcullis_model::Revocation;

use super::position::{DatabaseIdentity, LogPosition, LogReading, Seen, Unfinished};
use crate::engine::columns::column_list;
use crate::engine::dialect::Dialect;
use crate::engine::error::StoreError;
use crate::engine::row::Row;
use crate::engine::statement::{Executor, NO_TABLE, Sql};
use crate::engine::value::Value;
use crate::store::{Store, database_clock};

/// The most entries that one statement returns.
const PAGE: usize = 2_000;
/// A log that was not read for longer than this may have lost entries to pruning. Pruning goes by the database's time
/// too, and keeps entries for a day.
const MAX_GAP: Duration = Duration::from_secs(3_600);

const ENTRY_COLUMNS: &str = column_list!(entries { seq, user_id, session_id, epoch, ends });
/// Changes when the server restarts, and when the address leads to another database.
const SERVER: &str = "CONCAT(pg_postmaster_start_time(), ' ', \
     (SELECT oid FROM pg_database WHERE datname = current_database()))";
/// The cluster and its timeline, which changes with a promotion and a recovery to an earlier time, and the database.
const HISTORY: &str = "SELECT CONCAT(system_identifier, ' ', SUBSTR(pg_walfile_name(pg_current_wal_lsn()), 1, 8), ' ', \
     (SELECT oid FROM pg_database WHERE datname = current_database())) AS history FROM pg_control_system()";

static END: Sql = Sql::select("revocations", "");
static SINCE: Sql = Sql::select("revocations", "");
static DATABASE: Sql = Sql::select(NO_TABLE, HISTORY);

impl Store {
    /// Returns the position before the whole log: where a feed begins that has lost its position.
    pub async fn feed_start(&self) -> Result<LogPosition, StoreError> {
        let mut start = self.feed_end().await?;
        start.seen.seq = i64::MIN;
        Ok(start)
    }

    /// Has every entry that is read from now on told to the listeners, also those that they were told of before.
    pub fn forget_announced(&self) {
        self.shared().announcer.forget_all();
    }

    /// Returns the log's end: where a feed begins that has read nothing yet.
    pub async fn feed_end(&self) -> Result<LogPosition, StoreError> {
        let text =
            format!("SELECT {}, (SELECT COALESCE(MAX(seq), 0) FROM revocations) AS seq", self.position_columns());
        let rows = self.read_log(&END.with_text(text), vec![self.now_value()]).await?;
        let row = rows.first().ok_or_else(|| StoreError::corrupt("a SELECT without FROM returned no row"))?;
        let seen = Seen { snapshot: row.read("snapshot")?, seq: row.read("seq")?, now: row.read("db_now")? };
        let server: String = primary(row)?;
        let history = self.database_history(&server).await;
        Ok(LogPosition { database: DatabaseIdentity { server, history }, seen, unfinished: None })
    }

    /// Reads the next page of entries that became visible after `position`, oldest first, and tells the listeners of
    /// those that are new to them.
    pub async fn read_revocations(&self, position: &LogPosition) -> Result<LogReading, StoreError> {
        let begun = Instant::now();
        let after = position.unfinished.as_ref().map_or(i64::MIN, |unfinished| unfinished.last);
        let mut values = vec![self.now_value(), position.seen.seq.into(), after.into()];
        let fresh = match self.dialect() {
            Dialect::Sqlite => {
                format!("SELECT * FROM revocations WHERE seq > $2 AND seq > $3 ORDER BY seq LIMIT {PAGE}")
            }
            Dialect::Postgres => {
                values.push(position.seen.snapshot.as_str().into());
                postgres_page()
            }
        };
        let text = format!(
            "SELECT clock.*, {ENTRY_COLUMNS} FROM (SELECT {}) AS clock LEFT JOIN \
             ({fresh}) AS entries ON TRUE ORDER BY entries.seq",
            self.position_columns()
        );
        let rows = self.read_log(&SINCE.with_text(text), values).await?;
        let row = rows.first().ok_or_else(|| StoreError::corrupt("a LEFT JOIN returned no row"))?;
        let server: String = primary(row)?;
        let now = row.read("db_now")?;
        let database = self.same_database(&position.database, server).await;
        let Some(database) = database.filter(|_| now <= position.seen.now + MAX_GAP) else {
            return Ok(LogReading::Lost);
        };
        let unfinished = position.unfinished.clone().unwrap_or(Unfinished {
            first: Seen { snapshot: row.read("snapshot")?, seq: position.seen.seq, now },
            begun,
            last: i64::MIN,
        });
        self.read_page(position, database, unfinished, &rows)
    }

    /// Announces the entries of a page, and returns the position after it.
    fn read_page(
        &self,
        position: &LogPosition,
        database: DatabaseIdentity,
        mut reading: Unfinished,
        rows: &[Row],
    ) -> Result<LogReading, StoreError> {
        let entries = rows.iter().filter_map(|row| entry(row).transpose()).collect::<Result<Vec<_>, _>>()?;
        self.shared().announcer.read(&entries);
        if let Some((seq, _)) = entries.last() {
            reading.last = *seq;
            reading.first.seq = reading.first.seq.max(*seq);
        }
        if entries.len() == PAGE {
            let seen = position.seen.clone();
            return Ok(LogReading::More(LogPosition { database, seen, unfinished: Some(reading) }));
        }
        let Unfinished { first, begun, .. } = reading;
        self.shared().announcer.forget_before(begun);
        Ok(LogReading::Complete { position: LogPosition { database, seen: first, unfinished: None }, begun })
    }

    /// Returns the columns that make a position, for the parameter `$1` of the database's time.
    fn position_columns(&self) -> String {
        let now = self.dialect().now("$1");
        match self.dialect() {
            Dialect::Sqlite => format!("{now} AS db_now, '' AS snapshot, '' AS server, FALSE AS standby"),
            Dialect::Postgres => format!(
                "{now} AS db_now, CAST(pg_current_snapshot() AS TEXT) AS snapshot, {SERVER} AS server, \
                 pg_is_in_recovery() AS standby"
            ),
        }
    }

    /// Returns the identity of the database that a reading came from if it continues `known`.
    async fn same_database(&self, known: &DatabaseIdentity, server: String) -> Option<DatabaseIdentity> {
        if known.server == server {
            return Some(known.clone());
        }
        // The server has restarted, or another one has its address.
        let history = self.database_history(&server).await;
        (history == known.history).then_some(DatabaseIdentity { server, history })
    }

    /// Returns the history of the database. A server that does not tell it counts as another one after every restart.
    async fn database_history(&self, server: &str) -> String {
        if self.dialect() == Dialect::Sqlite {
            return String::new();
        }
        let rows = self.read_log(&DATABASE, vec![]).await;
        let history = rows.and_then(|rows| rows.first().map(|row| row.read("history")).transpose());
        history.ok().flatten().unwrap_or_else(|| server.to_owned())
    }

    /// Runs a query on the connection that only the feed uses.
    async fn read_log(&self, sql: &Sql, values: Vec<Value>) -> Result<Vec<Row>, StoreError> {
        let pools = &self.shared().pools;
        let work = async {
            let mut lease = pools.feed.acquire().await?;
            let earliest = self.clock().unix_micros();
            let rows = lease.connection.all(sql.text.clone(), values).await?;
            database_clock::follow(self.clock(), &rows, earliest);
            Ok(rows)
        };
        pools.runner.measure(sql.operation, sql.table, work).await
    }
}

/// Returns the query for a page on PostgreSQL. Its parameters are the highest number that was seen, the number of the last
/// entry that this reading has returned, and the snapshot of the last reading.
fn postgres_page() -> String {
    // The numbers are new. After a crash of the server this also finds the entries of transactions that got the id of one
    // that left no trace.
    let new = format!("SELECT * FROM revocations WHERE seq > $2 AND seq > $3 ORDER BY seq LIMIT {PAGE}");
    // The numbers are old, and the transactions had not ended. OFFSET 0 keeps the planner from looking for them along all
    // numbers because of the ORDER BY and LIMIT.
    let late = format!(
        "SELECT * FROM (SELECT * FROM revocations WHERE $3 < $2 AND seq <= $2 AND seq > $3 \
         AND (transaction_id >= pg_snapshot_xmax(CAST($4 AS pg_snapshot)) \
         OR transaction_id = ANY (ARRAY(SELECT pg_snapshot_xip(CAST($4 AS pg_snapshot))))) OFFSET 0) AS late \
         ORDER BY seq LIMIT {PAGE}"
    );
    format!("SELECT * FROM (({late}) UNION ALL ({new})) AS both_kinds ORDER BY seq LIMIT {PAGE}")
}

/// Returns the server that a reading came from. A standby may lag behind, so a reading from it is refused.
fn primary(row: &Row) -> Result<String, StoreError> {
    if row.read::<bool>("standby")? {
        return Err(StoreError::standby());
    }
    row.read("server")
}

/// Reads an entry and its number; `None` for the row that only carries the position.
fn entry(row: &Row) -> Result<Option<(i64, Revocation)>, StoreError> {
    let Some(seq) = row.get::<Option<i64>>("entries_seq")? else { return Ok(None) };
    let revocation = Revocation {
        user_id: row.read("entries_user_id")?,
        session_id: row.read("entries_session_id")?,
        epoch: row.read("entries_epoch")?,
        ends: row.read("entries_ends")?,
    };
    Ok(Some((seq, revocation)))
}
