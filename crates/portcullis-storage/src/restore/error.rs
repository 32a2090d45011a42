//! Why a database was not restored, in sentences for the operator.

use crate::engine::error::StoreError;
use crate::engine::open_error::OpenError;

/// Why a database was not restored: one sentence, and a [`hint`](Self::hint). The database is as it was.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The database cannot be opened, or its schema cannot be made.
    #[error("the database to restore into cannot be used")]
    Open(#[source] OpenError),
    /// The database has a schema of another version.
    #[error("the database to restore into has schema {found}, and this version needs schema {known}")]
    Schema {
        /// The version of the schema that the database has.
        found: i64,
        /// The schema of this version.
        known: i64,
    },
    /// The database already holds rows.
    #[error("the database to restore into is not empty: it holds {rows} rows in {table}")]
    NotEmpty {
        /// The first table that holds rows.
        table: &'static str,
        /// Number of its rows.
        rows: u64,
    },
    /// The rows are of a newer schema.
    #[error("the rows are of schema {found}, and this version knows schema {known}")]
    NewerRows {
        /// The version of the schema that the rows were written in.
        found: i64,
        /// The newest schema of this version.
        known: i64,
    },
    /// The rows are of a schema that this version has left behind.
    #[error("the rows are of schema {found}, and this version takes those since schema {oldest}")]
    OlderRows {
        /// The version of the schema that the rows were written in.
        found: i64,
        /// The oldest schema whose rows fit.
        oldest: i64,
    },
    /// A row was refused.
    #[error("a row of {table} cannot be inserted")]
    Insert {
        /// The row's table.
        table: &'static str,
        /// The database's error.
        #[source]
        source: StoreError,
    },
    /// A statement failed.
    #[error("a statement failed while the database was restored")]
    Statement(#[from] StoreError),
}

impl RestoreError {
    /// Returns what the operator can do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Open(error) => return error.hint().map(|hint| hint.replace("DATABASE_URL", "--into")),
            Self::Schema { .. } | Self::NotEmpty { .. } => {
                "restore into an empty database: a new one, or a SQLite file that does not exist yet".into()
            }
            Self::NewerRows { .. } => "use the version of Portcullis that made the backup, or a newer one".into(),
            Self::OlderRows { .. } => "restore with an older version of Portcullis, and then migrate up".into(),
            Self::Insert { .. } => "nothing was changed. Keep the backup and report it".into(),
            Self::Statement(_) => "nothing was changed; remove the cause and run it again".into(),
        })
    }
}
