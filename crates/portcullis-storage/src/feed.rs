//! Reading the revocation log: what others have committed since the last reading.

use std::time::Duration;

use portcullis_model::{Revocation, SessionId, Timestamp, UserId};
use uuid::Uuid;

use crate::error::StoreError;
use crate::row::Row;
use crate::statement::{Runs, Sql};
use crate::store::Store;

/// An entry may become visible this long after its number and time were taken, because its transaction had yet to
/// commit; each reading therefore looks back this far. Commits write their entries last, so only a stalled
/// commit comes near it.
pub(crate) const OVERLAP: Duration = Duration::from_secs(5);

/// Up to where the log was read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Position {
    /// The highest number seen. Guards against a database clock that is set back.
    pub(crate) seq: i64,
    /// The database's time of the last reading.
    pub(crate) now: Timestamp,
}

static END: Sql = Sql::select("revocations", "");
static SINCE: Sql = Sql::select("revocations", "");
static NEW: Sql = Sql::select(
    "revocations",
    "SELECT seq, user_id, session_id, epoch, ends FROM revocations WHERE seq > $1 ORDER BY seq",
);

impl Store {
    /// The log's end: what a table of sessions that holds nothing yet starts from.
    pub(crate) async fn feed_end(&self) -> Result<Position, StoreError> {
        let text = format!(
            "SELECT {} AS db_now, (SELECT COALESCE(MAX(seq), 0) FROM revocations) AS seq",
            self.dialect().now("$1")
        );
        let row = self.one(&END.with_text(text), vec![self.now_value()]).await?;
        let row = row.ok_or_else(|| StoreError::corrupt("a SELECT without FROM gave no row"))?;
        Ok(Position { seq: row.get("seq")?, now: row.time("db_now")? })
    }

    /// Reads what is new since `position` and what the overlap shows again, oldest first; tells the listeners of
    /// what they have not heard; gives the new position.
    pub(crate) async fn read_revocations(&self, position: Position) -> Result<Position, StoreError> {
        let text = format!(
            "SELECT clock.db_now, r.seq, r.user_id, r.session_id, r.epoch, r.ends \
             FROM (SELECT {} AS db_now) AS clock LEFT JOIN revocations r ON r.seq > $2 OR r.at >= $3 ORDER BY r.seq",
            self.dialect().now("$1")
        );
        let from = position.now - OVERLAP;
        let rows = self.all(&SINCE.with_text(text), vec![self.now_value(), position.seq.into(), from.into()]).await?;
        let now = rows.first().map_or(Ok(position.now), |row| row.time("db_now"))?;
        let entries = rows.iter().filter_map(|row| entry(row).transpose()).collect::<Result<Vec<_>, _>>()?;
        self.inner.announcer.read(&entries);
        Ok(Position { seq: highest(position.seq, &entries), now })
    }

    /// Reads only what has a higher number than any before: what is done between two readings, when another replica
    /// says that there is news. What commits late is left to the readings.
    pub(crate) async fn read_new_revocations(&self, position: Position) -> Result<Position, StoreError> {
        let rows = self.all(&NEW, vec![position.seq.into()]).await?;
        let entries = rows.iter().filter_map(|row| entry(row).transpose()).collect::<Result<Vec<_>, _>>()?;
        self.inner.announcer.read(&entries);
        Ok(Position { seq: highest(position.seq, &entries), ..position })
    }
}

fn highest(known: i64, entries: &[(i64, Revocation)]) -> i64 {
    entries.last().map_or(known, |(seq, _)| known.max(*seq))
}

/// `None` for the row that only carries the time.
fn entry(row: &Row) -> Result<Option<(i64, Revocation)>, StoreError> {
    let Some(seq) = row.get::<Option<i64>>("seq")? else { return Ok(None) };
    let revocation = Revocation {
        user_id: UserId(row.get::<Uuid>("user_id")?),
        session_id: row.get::<Option<Uuid>>("session_id")?.map(SessionId),
        epoch: row.get("epoch")?,
        ends: row.get("ends")?,
    };
    Ok(Some((seq, revocation)))
}
