//! Sorts the driver's errors into those of [`StoreError`].

use sqlx::Error as SqlxError;
use sqlx::error::DatabaseError;

use super::error::StoreError;

/// Constraints that callers tell apart. Each carries this name in the schema.
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

impl From<SqlxError> for StoreError {
    fn from(error: SqlxError) -> Self {
        match classify(&error) {
            Class::Unavailable => Self::Unavailable { source: error.into() },
            Class::Conflict(name) => Self::Conflict(name),
            Class::Corrupt => Self::corrupt(error.to_string()),
            Class::Internal => Self::Internal { source: error.into() },
        }
    }
}

enum Class {
    Unavailable,
    Conflict(&'static str),
    Corrupt,
    Internal,
}

fn classify(error: &SqlxError) -> Class {
    match error {
        SqlxError::Database(reported) => classify_reported(reported.as_ref()),
        SqlxError::Io(_)
        | SqlxError::Tls(_)
        | SqlxError::Protocol(_)
        | SqlxError::PoolTimedOut
        | SqlxError::PoolClosed
        | SqlxError::WorkerCrashed => Class::Unavailable,
        SqlxError::ColumnDecode { .. } | SqlxError::Decode(_) => Class::Corrupt,
        _ => Class::Internal,
    }
}

fn classify_reported(error: &dyn DatabaseError) -> Class {
    if error.is_unique_violation() {
        return Class::Conflict(constraint_of(error));
    }
    if error.is_foreign_key_violation() {
        return Class::Conflict("foreign_key");
    }
    let code = error.code().unwrap_or_default();
    match sqlite_primary_code(&code) {
        // SQLITE_BUSY, LOCKED, NOMEM, READONLY, IOERR, FULL, CANTOPEN, PROTOCOL (https://sqlite.org/rescode.html).
        Some(5..=8 | 10 | 13..=15) => return Class::Unavailable,
        // SQLITE_CORRUPT, NOTADB.
        Some(11 | 26) => return Class::Corrupt,
        Some(_) => return Class::Internal,
        None => {}
    }
    // SQLSTATE classes (PostgreSQL, appendix A): 08 connection, 53 insufficient resources, 55P03 lock not
    // available, 57P operator intervention, 58 system error, 40 rolled back in favour of another transaction,
    // 25006 read-only (a primary that has just become a standby).
    let unavailable = ["08", "53", "55P03", "57P", "57014", "58", "40", "25006"];
    if unavailable.iter().any(|class| code.starts_with(class)) {
        return Class::Unavailable;
    }
    if code.starts_with("XX") { Class::Corrupt } else { Class::Internal }
}

/// Returns the primary result code of a SQLite error, `None` for PostgreSQL's. SQLite reports its extended result code
/// in decimal; PostgreSQL's SQLSTATE has five characters.
fn sqlite_primary_code(code: &str) -> Option<u32> {
    if code.len() == 5 { None } else { code.parse::<u32>().ok().map(|extended| extended & 0xff) }
}

/// Returns the name of the violated unique constraint. PostgreSQL reports it; SQLite reports the columns
/// (`UNIQUE constraint failed: users.email`), and our constraints are named after their columns.
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
    fn codes_of_both_engines_are_told_apart() {
        assert_eq!(sqlite_primary_code("2067"), Some(19));
        assert_eq!(sqlite_primary_code("5"), Some(5));
        assert_eq!(sqlite_primary_code("53300"), None);
        assert_eq!(sqlite_primary_code("40P01"), None);
    }

    #[test]
    fn a_closed_pool_counts_as_unavailable() {
        assert!(matches!(StoreError::from(SqlxError::PoolClosed), StoreError::Unavailable { .. }));
    }
}
