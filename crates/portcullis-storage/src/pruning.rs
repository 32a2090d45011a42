//! Deletes rows that nobody needs any more, a batch at a time. The jobs that keep the tables small run it.

use portcullis_model::Timestamp;

use crate::engine::dialect::Dialect;
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
    /// Sessions, by the time they were ended.
    EndedSessions,
    /// API keys, by the time they were revoked.
    RevokedApiKeys,
    /// API keys, by their expiry.
    ExpiredApiKeys,
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
    /// Groups of errors, by the last error.
    Errors,
}

/// Which rows of a table are old, by an indexed column.
struct Rule {
    sql: Sql,
    key: &'static str,
    /// The time by which rows are old. An index has it.
    column: &'static str,
    /// A further condition.
    also: &'static str,
}

const fn rule(table: &'static str, key: &'static str, column: &'static str, also: &'static str) -> Rule {
    Rule { sql: Sql::delete(table, ""), key, column, also }
}

static REFRESH_GRACE: Rule = rule("refresh_grace", "token_hash", "rotated_at", "");
static REVOCATIONS: Rule = rule("revocations", "seq", "at", "");
static SESSIONS: Rule = rule("sessions", "id", "absolute_expires_at", "");
static ENDED_SESSIONS: Rule = rule("sessions", "id", "ended_at", " AND ended_at IS NOT NULL");
static REVOKED_API_KEYS: Rule = rule("api_keys", "id", "revoked_at", " AND revoked_at IS NOT NULL");
static EXPIRED_API_KEYS: Rule = rule("api_keys", "id", "expires_at", " AND expires_at IS NOT NULL");
static ONE_TIME_TOKENS: Rule = rule("one_time_tokens", "hash", "expires_at", "");
static SIGN_IN_ATTEMPTS: Rule =
    rule("sign_in_attempts", "subject", "last_at", " AND (trusted_until IS NULL OR trusted_until < $3)");
static KNOWN_CLIENTS: Rule = rule("known_clients", "user_id, client", "known_until", "");
static MAILS: Rule = rule("mail_outbox", "id", "created_at", "");
static IDEMPOTENCY_KEYS: Rule = rule("idempotency_keys", "id", "expires_at", "");
static AUDIT_LOG: Rule = rule("audit_log", "id", "at", "");
static ERRORS: Rule = rule("errors", "id", "last_seen_at", "");

impl Rule {
    /// Returns the DELETE of the oldest rows up to a limit. It skips rows that another transaction has locked, so that one
    /// of them does not stop the rest.
    fn delete(&self, dialect: Dialect) -> Sql {
        let Self { sql, key, column, also } = self;
        let (table, skip_locked) = (sql.table, dialect.row_lock(" FOR UPDATE SKIP LOCKED"));
        sql.with_text(format!(
            "WITH oldest AS MATERIALIZED (SELECT {key} FROM {table} WHERE {column} < $1{also} ORDER BY {column} \
             LIMIT $2{skip_locked}) DELETE FROM {table} WHERE ({key}) IN (SELECT {key} FROM oldest)"
        ))
    }
}

impl Store {
    /// Deletes the oldest rows from before `before`, at most `limit` of them in one transaction, and returns how many it
    /// deleted.
    pub async fn prune(&self, what: Prunable, before: Timestamp, limit: u64) -> Result<u64, StoreError> {
        let mut values: Vec<Value> = vec![before.into(), as_bigint(limit)];
        let rule = match what {
            Prunable::RefreshGrace => &REFRESH_GRACE,
            Prunable::Revocations => &REVOCATIONS,
            Prunable::Sessions => &SESSIONS,
            Prunable::EndedSessions => &ENDED_SESSIONS,
            Prunable::RevokedApiKeys => &REVOKED_API_KEYS,
            Prunable::ExpiredApiKeys => &EXPIRED_API_KEYS,
            Prunable::OneTimeTokens => &ONE_TIME_TOKENS,
            Prunable::SignInAttempts => {
                values.push(self.clock().now().into());
                &SIGN_IN_ATTEMPTS
            }
            Prunable::KnownClients => &KNOWN_CLIENTS,
            Prunable::Mails => &MAILS,
            Prunable::IdempotencyKeys => &IDEMPOTENCY_KEYS,
            Prunable::AuditLog => &AUDIT_LOG,
            Prunable::Errors => &ERRORS,
        };
        self.execute(&rule.delete(self.dialect()), values).await
    }
}
