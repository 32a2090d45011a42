//! Why a statement failed, in terms that both engines share.

use sqlx::Error as SqlxError;

type Source = Box<dyn std::error::Error + Send + Sync>;

/// Why a statement or a transaction failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database cannot be reached, is too busy, is stopping or has no room. The same call may succeed later.
    #[error("the database is not available")]
    Unavailable {
        /// The driver's error.
        #[source]
        source: Source,
    },
    /// A unique constraint was violated: the constraint's name (`users_email`). `foreign_key` when the row that the
    /// new row refers to does not exist.
    #[error("conflicts with another row ({0})")]
    Conflict(&'static str),
    /// A stored value is not one that this program writes.
    #[error("the database holds a value that cannot be read: {what}")]
    Corrupt {
        /// The column and what is wrong with its value.
        what: String,
    },
    /// A statement or the schema has a defect.
    #[error("a statement failed")]
    Internal {
        /// The driver's error.
        #[source]
        source: Source,
    },
}

impl StoreError {
    /// The labels that [`kind`](Self::kind) returns.
    pub(crate) const KINDS: [&'static str; 4] = ["unavailable", "conflict", "corrupt", "internal"];

    /// Returns the label `error_type` of `database_errors_total`.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Unavailable { .. } => "unavailable",
            Self::Conflict(_) => "conflict",
            Self::Corrupt { .. } => "corrupt",
            Self::Internal { .. } => "internal",
        }
    }

    /// Returns whether the disk of the database is full.
    pub(crate) fn has_no_room(&self) -> bool {
        // SQLite's SQLITE_FULL, PostgreSQL's disk_full.
        matches!(self.sqlstate().as_deref(), Some("13" | "53100"))
    }

    /// Returns the SQLSTATE that PostgreSQL reported, if it reported one.
    pub(crate) fn sqlstate(&self) -> Option<String> {
        let (Self::Unavailable { source } | Self::Internal { source }) = self else { return None };
        let reported = source.downcast_ref::<SqlxError>()?.as_database_error()?;
        reported.code().map(std::borrow::Cow::into_owned)
    }

    pub(crate) fn corrupt(what: impl Into<String>) -> Self {
        Self::Corrupt { what: what.into() }
    }

    pub(crate) fn standby() -> Self {
        Self::Unavailable { source: "the database is a standby, which may lag behind its primary".into() }
    }

    pub(crate) fn timed_out() -> Self {
        Self::Unavailable { source: "the database did not answer in time".into() }
    }
}
