//! Work that keeps the tables small and `last_seen_at` true. The session table's task calls it.

use std::time::Duration;

use crate::engine::value::Value;
use portcullis_model::{SessionId, Timestamp};

use crate::engine::error::StoreError;
use crate::engine::statement::{Runs, Sql};
use crate::store::Store;

/// Sessions in one UPDATE: two parameters each, far below either engine's bound.
const BATCH: usize = 500;
/// A revocation is old news once every copy of a session that it concerns was read after it.
const REVOCATIONS_KEPT: Duration = Duration::from_secs(86_400);
/// A session, or a one-time token, past its limit is kept a while, so that a late refresh is still recognised.
const EXPIRED_KEPT: Duration = Duration::from_secs(7 * 86_400);
/// Failed sign-ins count for this long after the last of them.
const ATTEMPTS_KEPT: Duration = Duration::from_secs(30 * 86_400);
/// Mails are kept a while after they left or were given up, for whoever asks where theirs is.
const MAILS_KEPT: Duration = Duration::from_secs(30 * 86_400);
/// Lines of the audit log that are deleted at once, so that nobody waits for long.
const AUDIT_BATCH: i64 = 10_000;

static TOUCH: Sql = Sql::update("sessions", "");
static GRACE: Sql = Sql::delete("refresh_grace", "DELETE FROM refresh_grace WHERE rotated_at < $1");
static REVOCATIONS: Sql = Sql::delete("revocations", "DELETE FROM revocations WHERE at < $1");
static SESSIONS: Sql = Sql::delete("sessions", "DELETE FROM sessions WHERE absolute_expires_at < $1");
static TOKENS: Sql = Sql::delete("one_time_tokens", "DELETE FROM one_time_tokens WHERE expires_at < $1");
static ATTEMPTS: Sql = Sql::delete(
    "sign_in_attempts",
    "DELETE FROM sign_in_attempts WHERE last_at < $1 AND (trusted_until IS NULL OR trusted_until < $2)",
);
static IDEMPOTENCY: Sql = Sql::delete("idempotency_keys", "DELETE FROM idempotency_keys WHERE expires_at < $1");
static MAILS: Sql = Sql::delete("mail_outbox", "DELETE FROM mail_outbox WHERE created_at < $1");
static AUDIT: Sql = Sql::delete(
    "audit_log",
    "DELETE FROM audit_log WHERE id IN (SELECT id FROM audit_log WHERE at < $1 ORDER BY at, id LIMIT $2)",
);

/// Sets a column of a table to when each row was last used; never sets one back.
pub(crate) async fn touch(
    store: &Store,
    sql: &Sql,
    [table, column]: [&str; 2],
    seen: &[(SessionId, Timestamp)],
) -> Result<(), StoreError> {
    for batch in seen.chunks(BATCH) {
        let rows: Vec<String> = (0..batch.len()).map(|n| format!("(${}, ${})", 2 * n + 1, 2 * n + 2)).collect();
        let text = format!(
            "UPDATE {table} SET {column} = seen.column2 FROM (VALUES {}) AS seen WHERE {table}.id = seen.column1 \
             AND ({table}.{column} IS NULL OR {table}.{column} < seen.column2)",
            rows.join(", ")
        );
        let values: Vec<Value> = batch.iter().flat_map(|(id, at)| [id.0.into(), (*at).into()]).collect();
        store.execute(&sql.with_text(text), values).await?;
    }
    Ok(())
}

impl Store {
    /// Notes when sessions were last used; never sets one back.
    pub async fn touch_sessions(&self, seen: &[(SessionId, Timestamp)]) -> Result<(), StoreError> {
        touch(self, &TOUCH, ["sessions", "last_seen_at"], seen).await
    }

    /// Erases the sealed successors of tokens rotated before `cutoff`, and says how many.
    pub async fn erase_grace_before(&self, cutoff: Timestamp) -> Result<u64, StoreError> {
        self.execute(&GRACE, vec![cutoff.into()]).await
    }

    /// Deletes what nobody can need any more: revocations a day old, sessions and one-time tokens a week past their
    /// limit, mails and failed sign-ins a month old, answers to Idempotency-Keys past their day. `now` is the database's time.
    pub async fn prune(&self, now: Timestamp) -> Result<(), StoreError> {
        self.execute(&REVOCATIONS, vec![(now - REVOCATIONS_KEPT).into()]).await?;
        self.execute(&SESSIONS, vec![(now - EXPIRED_KEPT).into()]).await?;
        self.execute(&TOKENS, vec![(now - EXPIRED_KEPT).into()]).await?;
        self.execute(&ATTEMPTS, vec![(now - ATTEMPTS_KEPT).into(), now.into()]).await?;
        self.execute(&MAILS, vec![(now - MAILS_KEPT).into()]).await?;
        self.execute(&IDEMPOTENCY, vec![now.into()]).await?;
        Ok(())
    }

    /// Deletes lines of the audit log from before `cutoff`, and says how many.
    pub async fn prune_audit(&self, cutoff: Timestamp) -> Result<u64, StoreError> {
        let mut deleted = 0;
        loop {
            let batch = self.execute(&AUDIT, vec![cutoff.into(), AUDIT_BATCH.into()]).await?;
            deleted += batch;
            if batch < AUDIT_BATCH.unsigned_abs() {
                return Ok(deleted);
            }
        }
    }
}
