//! Why a move failed, in sentences for the operator who runs it.

use std::path::PathBuf;

use super::Checksum;
use crate::engine::error::StoreError;
use crate::engine::open_error::OpenError;
use crate::snapshot::SnapshotError;

/// Why a database was not moved: one sentence, and a [`hint`](Self::hint).
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// Both addresses lead to the same database.
    #[error("both addresses lead to the same database")]
    Same,
    /// The source's file does not exist.
    #[error("there is no database at {}", path.display())]
    NoSource {
        /// Path of the missing file.
        path: PathBuf,
    },
    /// The source cannot be opened.
    #[error("the database to move from cannot be opened")]
    Source(#[source] OpenError),
    /// The source's schema is not the one that this version moves.
    #[error("the database to move from has schema {found}, and this version moves schema {known}")]
    SourceSchema {
        /// The source's schema.
        found: i64,
        /// The schema that this version moves.
        known: i64,
    },
    /// The source is itself the target of an unfinished move.
    #[error("the database to move from is itself the target of a move that has not finished")]
    SourceUnfinished,
    /// The target cannot be opened or migrated.
    #[error("the database to move to cannot be used")]
    Target(#[source] OpenError),
    /// The target already holds rows.
    #[error("the database to move to is not empty: it holds {rows} rows in {table}")]
    NotEmpty {
        /// The first table that holds rows.
        table: &'static str,
        /// Number of its rows.
        rows: u64,
    },
    /// The target holds an unfinished move from another source.
    #[error("the database to move to holds an unfinished move from {other}")]
    OtherSource {
        /// Address of the other source.
        other: String,
    },
    /// The rows in the target differ from those in the source.
    #[error("{table} differs: the source has {read}, the target has {written}")]
    Different {
        /// The table that differs.
        table: &'static str,
        /// Count and checksum in the source.
        read: Checksum,
        /// Count and checksum in the target.
        written: Checksum,
        /// Whether an earlier attempt had copied a part.
        resumed: bool,
    },
    /// A row of the source conflicts with a row that the target already holds.
    #[error("a row of {table} conflicts with a row that the database to move to already holds")]
    Conflict {
        /// The table that differs.
        table: &'static str,
        /// Whether an earlier attempt had copied a part.
        resumed: bool,
        /// The violated constraint.
        #[source]
        source: StoreError,
    },
    /// A statement failed.
    #[error("a statement failed while rows were copied")]
    Statement(#[from] StoreError),
}

impl From<SnapshotError> for TransferError {
    fn from(error: SnapshotError) -> Self {
        match error {
            SnapshotError::NoDatabase { path } => Self::NoSource { path },
            SnapshotError::Open(error) => Self::Source(error),
            SnapshotError::Schema { found, known } => Self::SourceSchema { found, known },
            SnapshotError::Unfinished => Self::SourceUnfinished,
            SnapshotError::Statement(error) => Self::Statement(error),
        }
    }
}

impl TransferError {
    /// Returns what the operator can do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Same => "--to must name another database than --from".into(),
            Self::NoSource { .. } => {
                "--from takes the absolute path of the file: sqlite:///var/lib/portcullis/portcullis.db".into()
            }
            Self::Source(error) => return hint_about(error, "--from"),
            Self::Target(error) => return hint_about(error, "--to"),
            Self::SourceSchema { found: 0, .. } => {
                "it is not a database of Portcullis; does --from name the right one?".into()
            }
            Self::SourceSchema { found, known } if found < known => {
                "migrate it first: DATABASE_URL=<its address> portcullis migrate up".into()
            }
            Self::SourceSchema { .. } => "use the version of Portcullis that migrated it".into(),
            Self::SourceUnfinished => "finish that move first, or move from its source".into(),
            Self::NotEmpty { .. } => {
                "create an empty database, or empty this one with `portcullis migrate down --to 0`".into()
            }
            Self::OtherSource { .. } => "finish that move, or start again with --restart".into(),
            Self::Different { resumed: true, .. } | Self::Conflict { resumed: true, .. } => {
                "the source has changed since the first attempt: stop its server and start again with --restart".into()
            }
            Self::Different { .. } => {
                "start again with --restart; if it happens again, keep both databases and report it".into()
            }
            Self::Conflict { .. } => {
                "does another move or a server write there? Stop it, then start again with --restart".into()
            }
            Self::Statement(_) => "remove the cause and run it again: it continues where it stopped".into(),
        })
    }
}

/// Returns the hint for a database that was named by a flag instead of the settings.
fn hint_about(error: &OpenError, flag: &str) -> Option<String> {
    if let OpenError::File { path, .. } = error {
        let folder = path.parent().unwrap_or(path).display();
        return Some(format!("{flag} names a file; its folder {folder} must exist and be writable by this user"));
    }
    error.hint().map(|hint| hint.replace("DATABASE_URL", flag))
}
