//! Deletes rows that nobody needs any more, a batch at a time. The jobs that keep the tables small run it.

use portcullis_model::Timestamp;

use crate::engine::error::StoreError;
use crate::engine::statement::{Executor, Sql};
use crate::engine::value::{Value, as_bigint};
use crate::store::Store;

/// A kind of rows that nobody needs after some time.
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
    /// Known clients of users, by the end of that.
    KnownClients,
    /// Mails, by the time they were queued.
    Mails,
    /// Idempotency keys, by their expiry.
    IdempotencyKeys,
    /// Audit events, by their time.
    AuditLog,
}

/// Makes a DELETE of the oldest rows of a table, by an indexed column, up to a limit.
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
static KNOWN_CLIENTS: Sql = Sql::delete(
    "known_clients",
    "DELETE FROM known_clients WHERE (user_id, client) IN (SELECT user_id, client FROM known_clients \
     WHERE known_until < $1 ORDER BY known_until LIMIT $2)",
);
static MAILS: Sql = delete!("mail_outbox", "id", "created_at");
static IDEMPOTENCY_KEYS: Sql = delete!("idempotency_keys", "id", "expires_at");
static AUDIT_LOG: Sql = delete!("audit_log", "id", "at");

impl Store {
    /// Deletes the oldest rows from before `before`, at most `limit` of them in one transaction, and returns how many it
    /// deleted.
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
            Prunable::KnownClients => &KNOWN_CLIENTS,
            Prunable::Mails => &MAILS,
            Prunable::IdempotencyKeys => &IDEMPOTENCY_KEYS,
            Prunable::AuditLog => &AUDIT_LOG,
        };
        self.execute(sql, values).await
    }
}
