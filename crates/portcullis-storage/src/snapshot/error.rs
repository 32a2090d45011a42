//! Why a database cannot be read as a whole, in sentences for the operator.

use std::path::PathBuf;

use crate::engine::error::StoreError;
use crate::engine::open_error::OpenError;

/// Why a database cannot be read as a whole: one sentence, and a [`hint`](Self::hint).
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The database's file does not exist.
    #[error("there is no database at {}", path.display())]
    NoDatabase {
        /// Path of the missing file.
        path: PathBuf,
    },
    /// The database cannot be opened.
    #[error("the database cannot be opened")]
    Open(#[source] OpenError),
    /// The database's schema is not that of this version.
    #[error("the database has schema {found}, and this version needs schema {known}")]
    Schema {
        /// The version of the schema that the database has.
        found: i64,
        /// The schema of this version.
        known: i64,
    },
    /// The database is the target of a move that has not finished.
    #[error("the database is the target of a move that has not finished")]
    Unfinished,
    /// A statement failed.
    #[error("a statement failed while rows were read")]
    Statement(#[from] StoreError),
}

impl SnapshotError {
    /// Returns what the operator can do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NoDatabase { .. } => "does DATABASE_URL or --data-dir name the right one?".into(),
            Self::Open(error) => return error.hint(),
            Self::Schema { found: 0, .. } => {
                "it is not a database of Portcullis; does DATABASE_URL name the right one?".into()
            }
            Self::Schema { found, known } if found < known => "migrate it first: portcullis migrate up".into(),
            Self::Schema { .. } => "use the version of Portcullis that migrated it".into(),
            Self::Unfinished => "finish that move first".into(),
            Self::Statement(_) => "remove the cause and run it again".into(),
        })
    }
}
