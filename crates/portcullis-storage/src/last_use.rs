//! Records when sessions and API keys were last used, many at once.

use portcullis_model::{SessionId, Timestamp};

use crate::engine::dialect::Dialect;
use crate::engine::error::StoreError;
use crate::engine::statement::{Executor, Sql};
use crate::engine::value::{ToValue, Value};
use crate::store::Store;

/// Rows in one UPDATE. Each has two parameters, far below the limit of either engine.
const BATCH: usize = 500;

static SESSIONS: Sql = Sql::update("sessions", "");
static API_KEYS: Sql = Sql::update("api_keys", "");

/// The tables that have a time of last use.
#[derive(Clone, Copy)]
pub(crate) enum LastUse {
    Sessions,
    ApiKeys,
}

impl LastUse {
    fn statement_and_column(self) -> (&'static Sql, &'static str) {
        match self {
            Self::Sessions => (&SESSIONS, "last_seen_at"),
            Self::ApiKeys => (&API_KEYS, "last_used_at"),
        }
    }
}

impl Store {
    /// Sets the time of last use of each row, unless a later time is recorded already, and returns the rows that were
    /// set. A row that another transaction holds is left out: replicas that record uses of the same rows never wait for
    /// each other, and so cannot deadlock.
    pub(crate) async fn record_last_use(
        &self,
        of: LastUse,
        seen: &[(SessionId, Timestamp)],
    ) -> Result<Vec<SessionId>, StoreError> {
        let (sql, column) = of.statement_and_column();
        let mut recorded = Vec::with_capacity(seen.len());
        for batch in seen.chunks(BATCH) {
            let rows: Vec<String> = (0..batch.len()).map(|n| format!("(${}, ${})", 2 * n + 1, 2 * n + 2)).collect();
            let text = statement(self.dialect(), sql.table, column, &rows.join(", "));
            let values: Vec<Value> = batch.iter().flat_map(|(id, at)| [id.to_value(), at.to_value()]).collect();
            for row in self.all(&sql.with_text(text), values).await? {
                recorded.push(row.read("id")?);
            }
        }
        Ok(recorded)
    }

    /// Records when sessions were last used, and returns those that were recorded. An earlier time than the recorded
    /// one is ignored, and so is a session that another transaction is changing.
    pub async fn touch_sessions(&self, seen: &[(SessionId, Timestamp)]) -> Result<Vec<SessionId>, StoreError> {
        self.record_last_use(LastUse::Sessions, seen).await
    }
}

/// Returns the UPDATE for these rows of ids and times. On SQLite writers take turns, and there are no locks of rows.
fn statement(dialect: Dialect, table: &str, column: &str, rows: &str) -> String {
    let due = format!("({table}.{column} IS NULL OR {table}.{column} < seen.column2)");
    match dialect {
        Dialect::Sqlite => format!(
            "UPDATE {table} SET {column} = seen.column2 FROM (VALUES {rows}) AS seen \
             WHERE {table}.id = seen.column1 AND {due} RETURNING id"
        ),
        Dialect::Postgres => format!(
            "UPDATE {table} SET {column} = free.at FROM (SELECT {table}.id, seen.column2 AS at FROM {table} \
             JOIN (VALUES {rows}) AS seen ON {table}.id = seen.column1 WHERE {due} \
             ORDER BY {table}.id FOR NO KEY UPDATE OF {table} SKIP LOCKED) AS free \
             WHERE {table}.id = free.id RETURNING {table}.id"
        ),
    }
}
