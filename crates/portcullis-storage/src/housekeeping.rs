//! Work that keeps the tables small and `last_seen_at` true. The session table's task calls it.

use std::time::Duration;

use crate::value::Value;
use portcullis_model::{SessionId, Timestamp};

use crate::error::StoreError;
use crate::statement::{Runs, Sql};
use crate::store::Store;

/// Sessions in one UPDATE: two parameters each, far below either engine's bound.
const BATCH: usize = 500;
/// A revocation is old news once every copy of a session that it concerns was read after it.
const REVOCATIONS_KEPT: Duration = Duration::from_secs(86_400);
/// A session, or a one-time token, past its limit is kept a while, so that a late refresh is still recognised.
const EXPIRED_KEPT: Duration = Duration::from_secs(7 * 86_400);

static TOUCH: Sql = Sql::update("sessions", "");
static GRACE: Sql = Sql::delete("refresh_grace", "DELETE FROM refresh_grace WHERE rotated_at < $1");
static REVOCATIONS: Sql = Sql::delete("revocations", "DELETE FROM revocations WHERE at < $1");
static SESSIONS: Sql = Sql::delete("sessions", "DELETE FROM sessions WHERE absolute_expires_at < $1");
static TOKENS: Sql = Sql::delete("one_time_tokens", "DELETE FROM one_time_tokens WHERE expires_at < $1");

impl Store {
    /// Notes when sessions were last used; never sets one back.
    pub async fn touch_sessions(&self, seen: &[(SessionId, Timestamp)]) -> Result<(), StoreError> {
        for batch in seen.chunks(BATCH) {
            let rows: Vec<String> = (0..batch.len()).map(|n| format!("(${}, ${})", 2 * n + 1, 2 * n + 2)).collect();
            let text = format!(
                "UPDATE sessions SET last_seen_at = seen.column2 FROM (VALUES {}) AS seen \
                 WHERE sessions.id = seen.column1 AND sessions.last_seen_at < seen.column2",
                rows.join(", ")
            );
            let values: Vec<Value> = batch.iter().flat_map(|(id, at)| [id.0.into(), (*at).into()]).collect();
            self.execute(&TOUCH.with_text(text), values).await?;
        }
        Ok(())
    }

    /// Erases the sealed successors of tokens rotated before `cutoff`, and says how many.
    pub async fn erase_grace_before(&self, cutoff: Timestamp) -> Result<u64, StoreError> {
        self.execute(&GRACE, vec![cutoff.into()]).await
    }

    /// Deletes what nobody can need any more: revocations a day old, sessions and one-time tokens a week past their
    /// limit. `now` is the database's time.
    pub async fn prune(&self, now: Timestamp) -> Result<(), StoreError> {
        self.execute(&REVOCATIONS, vec![(now - REVOCATIONS_KEPT).into()]).await?;
        self.execute(&SESSIONS, vec![(now - EXPIRED_KEPT).into()]).await?;
        self.execute(&TOKENS, vec![(now - EXPIRED_KEPT).into()]).await?;
        Ok(())
    }
}
