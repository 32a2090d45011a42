//! What can go wrong with a statement, in words that both engines share.

use sqlx::Error as SqlxError;
use sqlx::error::DatabaseError;

type Source = Box<dyn std::error::Error + Send + Sync>;

/// Why a statement or a transaction failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database cannot be reached, is too busy, is stopping or has no room: the same call may work later.
    #[error("the database is not available")]
    Unavailable {
        /// What the driver said.
        #[source]
        source: Source,
    },
    /// A row with this value exists already; the name of the constraint (`users_email`), or `foreign_key`
    /// when a row that this one belongs to is gone.
    #[error("conflicts with another row ({0})")]
    Conflict(&'static str),
    /// A stored value is not one that this program writes.
    #[error("the database holds a value that cannot be read: {what}")]
    Corrupt {
        /// Which value.
        what: String,
    },
    /// A defect in a statement or in the schema.
    #[error("a statement failed")]
    Internal {
        /// What the driver said.
        #[source]
        source: Source,
    },
}

/// The constraints that a caller may want to tell apart. Each is named in the schema.
const CONSTRAINTS: [&str; 12] = [
    "users_id",
    "users_email",
    "users_username",
    "user_permissions_permission",
    "sessions_id",
    "refresh_grace_token_hash",
    "one_time_tokens_hash",
    "signing_keys_kid",
    "audit_log_id",
    "mail_outbox_id",
    "instance_key",
    "schema_migrations_version",
];

impl StoreError {
    /// The label `error_type` of `database_errors_total`.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Unavailable { .. } => "unavailable",
            Self::Conflict(_) => "conflict",
            Self::Corrupt { .. } => "corrupt",
            Self::Internal { .. } => "internal",
        }
    }

    /// PostgreSQL's code for what went wrong, if it said one.
    pub(crate) fn sqlstate(&self) -> Option<String> {
        let (Self::Unavailable { source } | Self::Internal { source }) = self else { return None };
        let reported = source.downcast_ref::<SqlxError>()?.as_database_error()?;
        reported.code().map(std::borrow::Cow::into_owned)
    }

    pub(crate) fn corrupt(what: impl Into<String>) -> Self {
        Self::Corrupt { what: what.into() }
    }

    pub(crate) fn timed_out() -> Self {
        Self::Unavailable { source: "the database did not answer in time".into() }
    }
}

impl From<SqlxError> for StoreError {
    fn from(error: SqlxError) -> Self {
        match classify(&error) {
            Verdict::Unavailable => Self::Unavailable { source: error.into() },
            Verdict::Conflict(name) => Self::Conflict(name),
            Verdict::Corrupt => Self::corrupt(error.to_string()),
            Verdict::Internal => Self::Internal { source: error.into() },
        }
    }
}

enum Verdict {
    Unavailable,
    Conflict(&'static str),
    Corrupt,
    Internal,
}

fn classify(error: &SqlxError) -> Verdict {
    match error {
        SqlxError::Database(reported) => classify_reported(reported.as_ref()),
        SqlxError::Io(_)
        | SqlxError::Tls(_)
        | SqlxError::Protocol(_)
        | SqlxError::PoolTimedOut
        | SqlxError::PoolClosed
        | SqlxError::WorkerCrashed => Verdict::Unavailable,
        SqlxError::ColumnDecode { .. } | SqlxError::Decode(_) => Verdict::Corrupt,
        _ => Verdict::Internal,
    }
}

fn classify_reported(error: &dyn DatabaseError) -> Verdict {
    if error.is_unique_violation() {
        return Verdict::Conflict(constraint_of(error));
    }
    if error.is_foreign_key_violation() {
        return Verdict::Conflict("foreign_key");
    }
    let code = error.code().unwrap_or_default();
    match sqlite_primary_code(&code) {
        // SQLITE_BUSY, LOCKED, NOMEM, READONLY, IOERR, FULL, CANTOPEN, PROTOCOL (https://sqlite.org/rescode.html).
        Some(5..=8 | 10 | 13..=15) => return Verdict::Unavailable,
        // SQLITE_CORRUPT, NOTADB.
        Some(11 | 26) => return Verdict::Corrupt,
        Some(_) => return Verdict::Internal,
        None => {}
    }
    // SQLSTATE classes (PostgreSQL, appendix A): 08 connection, 53 insufficient resources, 55P03 lock not
    // available, 57P operator intervention, 58 system error, 40 rolled back for another transaction's sake,
    // 25006 read-only, as a primary is that has just become a standby.
    let unavailable = ["08", "53", "55P03", "57P", "57014", "58", "40", "25006"];
    if unavailable.iter().any(|class| code.starts_with(class)) {
        return Verdict::Unavailable;
    }
    if code.starts_with("XX") { Verdict::Corrupt } else { Verdict::Internal }
}

/// SQLite reports its extended result code in decimal; PostgreSQL's SQLSTATE has five characters.
fn sqlite_primary_code(code: &str) -> Option<u32> {
    if code.len() == 5 { None } else { code.parse::<u32>().ok().map(|extended| extended & 0xff) }
}

/// The name of the unique constraint. PostgreSQL says it; SQLite names the columns
/// (`UNIQUE constraint failed: users.email`), after which the constraints are named.
fn constraint_of(error: &dyn DatabaseError) -> &'static str {
    let known = |name: &str| CONSTRAINTS.into_iter().find(|candidate| *candidate == name);
    if let Some(name) = error.constraint() {
        return known(name).unwrap_or("other");
    }
    let columns = error.message().rsplit(": ").next().unwrap_or_default();
    columns.split(", ").find_map(|column| known(&column.replace('.', "_"))).unwrap_or("other")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_engines_codes_are_told_apart() {
        assert_eq!(sqlite_primary_code("2067"), Some(19));
        assert_eq!(sqlite_primary_code("5"), Some(5));
        assert_eq!(sqlite_primary_code("53300"), None);
        assert_eq!(sqlite_primary_code("40P01"), None);
    }

    #[test]
    fn a_closed_pool_is_a_database_that_may_come_back() {
        assert!(matches!(StoreError::from(SqlxError::PoolClosed), StoreError::Unavailable { .. }));
    }
}
