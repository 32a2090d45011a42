//! Records when sessions and API keys were last used, many at once.

use portcullis_model::{SessionId, Timestamp};

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
    /// Sets the time of last use of each row, unless a later time is recorded already.
    pub(crate) async fn record_last_use(&self, of: LastUse, seen: &[(SessionId, Timestamp)]) -> Result<(), StoreError> {
        let (sql, column) = of.statement_and_column();
        let table = sql.table;
        for batch in seen.chunks(BATCH) {
            let rows: Vec<String> = (0..batch.len()).map(|n| format!("(${}, ${})", 2 * n + 1, 2 * n + 2)).collect();
            let text = format!(
                "UPDATE {table} SET {column} = seen.column2 FROM (VALUES {}) AS seen WHERE {table}.id = seen.column1 \
                 AND ({table}.{column} IS NULL OR {table}.{column} < seen.column2)",
                rows.join(", ")
            );
            let values: Vec<Value> = batch.iter().flat_map(|(id, at)| [id.to_value(), at.to_value()]).collect();
            self.execute(&sql.with_text(text), values).await?;
        }
        Ok(())
    }

    /// Records when sessions were last used. An earlier time than the recorded one is ignored.
    pub async fn touch_sessions(&self, seen: &[(SessionId, Timestamp)]) -> Result<(), StoreError> {
        self.record_last_use(LastUse::Sessions, seen).await
    }
}
