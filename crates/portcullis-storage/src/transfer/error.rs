//! Why a transfer fails, in sentences for the person who runs it.

use std::path::PathBuf;

use super::Sum;
use crate::engine::error::StoreError;
use crate::engine::open_error::OpenError;

/// Why a database was not moved: one sentence, and a [`hint`](Self::hint).
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// Both addresses are the same.
    #[error("both addresses lead to the same database")]
    Same,
    /// There is no file to move.
    #[error("there is no database at {}", path.display())]
    NoSource {
        /// Where it should be.
        path: PathBuf,
    },
    /// The source cannot be opened.
    #[error("the database to move from cannot be opened")]
    Source(#[source] OpenError),
    /// The source has another schema than this version.
    #[error("the database to move from has schema {found}, and this version moves schema {known}")]
    SourceSchema {
        /// Its schema.
        found: i64,
        /// This version's.
        known: i64,
    },
    /// The source is itself half-moved.
    #[error("the database to move from is itself the target of a move that has not finished")]
    SourceUnfinished,
    /// The target cannot be opened or migrated.
    #[error("the database to move to cannot be used")]
    Target(#[source] OpenError),
    /// The target holds something.
    #[error("the database to move to is not empty: it holds {rows} rows in {table}")]
    NotEmpty {
        /// The first table that holds something.
        table: &'static str,
        /// How much.
        rows: u64,
    },
    /// The target holds an unfinished move of something else.
    #[error("the database to move to holds an unfinished move from {other}")]
    OtherSource {
        /// Where that came from.
        other: String,
    },
    /// What was carried is not what was read.
    #[error("{table} differs: {read} were read and {written} are in the target")]
    Different {
        /// The table.
        table: &'static str,
        /// What the source holds.
        read: Sum,
        /// What the target holds.
        written: Sum,
        /// Whether an earlier attempt had carried a part.
        resumed: bool,
    },
    /// A row that is read clashes with one that is in the target.
    #[error("a row of {table} clashes with what the database to move to holds already")]
    Clash {
        /// The table.
        table: &'static str,
        /// Whether an earlier attempt had carried a part.
        resumed: bool,
        /// With what.
        #[source]
        source: StoreError,
    },
    /// A statement failed.
    #[error("a statement failed while rows were carried")]
    Statement(#[from] StoreError),
}

impl TransferError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Same => "--to must name another database than --from".into(),
            Self::NoSource { .. } => {
                "--from takes the absolute path of the file: sqlite:///var/lib/portcullis/portcullis.db".into()
            }
            Self::Source(error) => return hint_about(error, "--from"),
            Self::Target(error) => return hint_about(error, "--to"),
            Self::SourceSchema { found: 0, .. } => {
                "it holds nothing of Portcullis; does --from name the right one?".into()
            }
            Self::SourceSchema { found, known } if found < known => {
                "bring it up to date first: DATABASE_URL=<its address> portcullis migrate up".into()
            }
            Self::SourceSchema { .. } => "use the version of Portcullis that migrated it".into(),
            Self::SourceUnfinished => "finish that move first, or move from the original".into(),
            Self::NotEmpty { .. } => {
                "make an empty database, or empty this one with `portcullis migrate down --to 0`".into()
            }
            Self::OtherSource { .. } => "finish that move, or begin afresh with --restart".into(),
            Self::Different { resumed: true, .. } | Self::Clash { resumed: true, .. } => {
                "the source has changed since the first attempt: stop its server and begin afresh with --restart".into()
            }
            Self::Different { .. } => {
                "begin afresh with --restart; if it happens again, keep both databases and report it".into()
            }
            Self::Clash { .. } => {
                "does another move or a server write there? stop it, then begin afresh with --restart".into()
            }
            Self::Statement(_) => "once the cause is gone, run it again: it goes on where it stopped".into(),
        })
    }
}

/// What to do about a database that was named by a flag and not by settings.
fn hint_about(error: &OpenError, flag: &str) -> Option<String> {
    if let OpenError::File { path, .. } = error {
        let folder = path.parent().unwrap_or(path).display();
        return Some(format!("{flag} names a file; its folder {folder} must exist and be writable by this user"));
    }
    error.hint().map(|hint| hint.replace("DATABASE_URL", flag))
}
