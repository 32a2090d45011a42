//! Statements that keep the tables small and the times of last use true. Jobs run them, a batch at a time.

use portcullis_model::{SessionId, Timestamp};

use crate::engine::error::StoreError;
use crate::engine::statement::{Runs, Sql};
use crate::engine::value::{Value, as_bigint};
use crate::store::Store;

/// Sessions in one UPDATE: two parameters each, far below either engine's bound.
const BATCH: usize = 500;

/// Rows that nobody needs after some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prunable {
    /// Sealed successors of refresh tokens, by the time of the rotation.
    RefreshGrace,
    /// Entries of the revocation log, by their time.
    Revocations,
    /// Sessions, by their absolute limit.
    Sessions,
    /// One-time tokens, by their expiry.
    OneTimeTokens,
    /// Failed sign-ins, by the last of them. A row that vouches for a known client stays until that ends.
    SignInAttempts,
    /// Mails, by the time they were queued.
    Mails,
    /// Idempotency keys, by their expiry.
    IdempotencyKeys,
    /// Audit events, by their time.
    AuditLog,
}

/// The oldest rows of a table, by an indexed column, up to a limit.
macro_rules! delete {
    ($table:literal, $key:literal, $column:literal, $also:literal) => {
        Sql::delete(
            $table,
            concat!(
                "DELETE FROM ",
                $table,
                " WHERE ",
                $key,
                " IN (SELECT ",
                $key,
                " FROM ",
                $table,
                " WHERE ",
                $column,
                " < $1",
                $also,
                " ORDER BY ",
                $column,
                " LIMIT $2)"
            ),
        )
    };
    ($table:literal, $key:literal, $column:literal) => {
        delete!($table, $key, $column, "")
    };
}

static REFRESH_GRACE: Sql = delete!("refresh_grace", "token_hash", "rotated_at");
static REVOCATIONS: Sql = delete!("revocations", "seq", "at");
static SESSIONS: Sql = delete!("sessions", "id", "absolute_expires_at");
static ONE_TIME_TOKENS: Sql = delete!("one_time_tokens", "hash", "expires_at");
static SIGN_IN_ATTEMPTS: Sql =
    delete!("sign_in_attempts", "subject", "last_at", " AND (trusted_until IS NULL OR trusted_until < $3)");
static MAILS: Sql = delete!("mail_outbox", "id", "created_at");
static IDEMPOTENCY_KEYS: Sql = delete!("idempotency_keys", "id", "expires_at");
static AUDIT_LOG: Sql = delete!("audit_log", "id", "at");
static TOUCH: Sql = Sql::update("sessions", "");

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
    /// Records when sessions were last used; never sets a time back.
    pub async fn touch_sessions(&self, seen: &[(SessionId, Timestamp)]) -> Result<(), StoreError> {
        touch(self, &TOUCH, ["sessions", "last_seen_at"], seen).await
    }

    /// Deletes the oldest rows from before `before`, at most `limit` of them in one transaction, and says how many.
    pub async fn prune(&self, what: Prunable, before: Timestamp, limit: u64) -> Result<u64, StoreError> {
        let mut values: Vec<Value> = vec![before.into(), as_bigint(limit)];
        let sql = match what {
            Prunable::RefreshGrace => &REFRESH_GRACE,
            Prunable::Revocations => &REVOCATIONS,
            Prunable::Sessions => &SESSIONS,
            Prunable::OneTimeTokens => &ONE_TIME_TOKENS,
            Prunable::SignInAttempts => {
                values.push(self.clock().now().into());
                &SIGN_IN_ATTEMPTS
            }
            Prunable::Mails => &MAILS,
            Prunable::IdempotencyKeys => &IDEMPOTENCY_KEYS,
            Prunable::AuditLog => &AUDIT_LOG,
        };
        self.execute(sql, values).await
    }
}
