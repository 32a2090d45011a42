//! Reads the entries of the revocation log that others have committed since the last reading.

use std::time::Duration;

use portcullis_model::{Revocation, Timestamp};

use crate::engine::columns::column_list;
use crate::engine::error::StoreError;
use crate::engine::row::Row;
use crate::engine::statement::{Executor, Sql};
use crate::engine::value::Value;
use crate::store::Store;

/// How far each reading looks back. An entry becomes visible only when its transaction commits, which may be this long
/// after its number and time were taken. Commits write their entries last, so only a stalled commit comes near it.
const OVERLAP: Duration = Duration::from_secs(5);

/// Up to where the revocation log was read.
#[derive(Clone, Copy, Debug)]
pub struct LogPosition {
    /// The highest number seen. Guards against a database clock that is set back.
    seq: i64,
    /// The database's time of the last reading.
    now: Timestamp,
}

impl LogPosition {
    /// Returns the position from which a reading also covers the entries of the time `by` before this one.
    pub fn rewound(self, by: Duration) -> Self {
        Self { now: self.now - by, ..self }
    }
}

const ENTRY_COLUMNS: &str = column_list!(revocations { seq, user_id, session_id, epoch, ends });

static END: Sql = Sql::select("revocations", "");
static SINCE: Sql = Sql::select("revocations", "");
static NEW: Sql = Sql::select("revocations", "");

impl Store {
    /// Returns the log's end: where a feed begins that has read nothing yet.
    pub async fn feed_end(&self) -> Result<LogPosition, StoreError> {
        let text = format!(
            "SELECT {} AS db_now, (SELECT COALESCE(MAX(seq), 0) FROM revocations) AS seq",
            self.dialect().now("$1")
        );
        let rows = self.read_log(&END.with_text(text), vec![self.now_value()]).await?;
        let row = rows.first().ok_or_else(|| StoreError::corrupt("a SELECT without FROM returned no row"))?;
        Ok(LogPosition { seq: row.read("seq")?, now: row.read("db_now")? })
    }

    /// Reads the entries since `position` and those of the overlap before it, oldest first, tells the listeners of the
    /// entries that are new to them, and returns the new position.
    pub async fn read_revocations(&self, position: LogPosition) -> Result<LogPosition, StoreError> {
        let text = format!(
            "SELECT clock.db_now, {ENTRY_COLUMNS} FROM (SELECT {} AS db_now) AS clock \
             LEFT JOIN revocations ON revocations.seq > $2 OR revocations.at >= $3 ORDER BY revocations.seq",
            self.dialect().now("$1")
        );
        let from = position.now - OVERLAP;
        let values = vec![self.now_value(), position.seq.into(), from.into()];
        let rows = self.read_log(&SINCE.with_text(text), values).await?;
        let now = rows.first().map_or(Ok(position.now), |row| row.read("db_now"))?;
        Ok(LogPosition { seq: self.announce_entries(position.seq, &rows)?, now })
    }

    /// Reads only entries with a higher number than any before: done between two readings, when another replica has
    /// notified this one. Entries that commit late are left to [`read_revocations`](Self::read_revocations).
    pub async fn read_new_revocations(&self, position: LogPosition) -> Result<LogPosition, StoreError> {
        let text = format!("SELECT {ENTRY_COLUMNS} FROM revocations WHERE seq > $1 ORDER BY seq");
        let rows = self.read_log(&NEW.with_text(text), vec![position.seq.into()]).await?;
        Ok(LogPosition { seq: self.announce_entries(position.seq, &rows)?, ..position })
    }

    /// Announces the entries in these rows and returns the highest number seen.
    fn announce_entries(&self, seen: i64, rows: &[Row]) -> Result<i64, StoreError> {
        let entries = rows.iter().filter_map(|row| entry(row).transpose()).collect::<Result<Vec<_>, _>>()?;
        self.shared().announcer.read(&entries);
        Ok(entries.last().map_or(seen, |(seq, _)| seen.max(*seq)))
    }

    /// Runs a query on the connection that only the feed uses.
    async fn read_log(&self, sql: &Sql, values: Vec<Value>) -> Result<Vec<Row>, StoreError> {
        let pools = &self.shared().pools;
        let work = async { Ok(pools.feed.acquire().await?.connection.all(sql.text.clone(), values).await?) };
        pools.runner.measure(sql.operation, sql.table, work).await
    }
}

/// Reads an entry and its number; `None` for the row that only carries the time.
fn entry(row: &Row) -> Result<Option<(i64, Revocation)>, StoreError> {
    let Some(seq) = row.get::<Option<i64>>("revocations_seq")? else { return Ok(None) };
    let revocation = Revocation {
        user_id: row.read("revocations_user_id")?,
        session_id: row.read("revocations_session_id")?,
        epoch: row.read("revocations_epoch")?,
        ends: row.read("revocations_ends")?,
    };
    Ok(Some((seq, revocation)))
}
