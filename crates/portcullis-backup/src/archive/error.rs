//! Why an archive cannot be read.

use std::io;

use crate::age::AgeError;

/// Why an archive cannot be read or written: one sentence, and a [`hint`](Self::hint).
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The file cannot be read or written.
    #[error("the file cannot be read or written")]
    Io(#[source] io::Error),
    /// The file is no archive.
    #[error("it is not a backup of Portcullis")]
    NotAnArchive,
    /// A newer version of the program made the archive.
    #[error("it has format {found}, and this version reads formats {oldest} to {newest}")]
    Format {
        /// The number of the format that the archive names.
        found: u32,
        /// The oldest format that this version reads.
        oldest: u32,
        /// The newest format that this version reads.
        newest: u32,
    },
    /// The archive was made under an ENCRYPTION_KEY that is not at hand.
    #[error("it was made under another ENCRYPTION_KEY ({id})")]
    OtherKey {
        /// The id of the key in the archive's manifest.
        id: String,
    },
    /// A part of the archive is not the one that was written.
    #[error("it was changed after it was made: {part} is not authentic")]
    Altered {
        /// Which part it is, for the operator: a block by its number, or the manifest.
        part: String,
    },
    /// The archive ends too early.
    #[error("it is cut off in {part}")]
    CutOff {
        /// The part in which it ends.
        part: String,
    },
    /// The archive goes on after its end.
    #[error("something was added at its end")]
    Added,
    /// The archive is encrypted to recipients, and an identity is needed to read its rows.
    #[error("its rows are encrypted to {recipients} recipients, and none of the identities at hand opens them")]
    NoIdentity {
        /// How many public keys the rows are encrypted to.
        recipients: usize,
    },
    /// The encrypted part is not in the format of age.
    #[error("the encrypted part cannot be opened")]
    Encryption(#[source] AgeError),
    /// The rows do not have the form that the manifest declares, or another number or checksum.
    #[error("its rows are not those of its manifest: {what}")]
    Rows {
        /// What differs, for the operator.
        what: String,
    },
    /// A row is larger than the format allows.
    #[error("a row of {table} has more than {} MiB", super::rows::MAX_ROW_BYTES >> 20)]
    RowTooLarge {
        /// The name of the table that the row belongs to.
        table: String,
    },
}

impl ArchiveError {
    /// Returns what the operator can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Io(_) => "check the disk and the permissions of the file and its folder",
            Self::NotAnArchive => "name a file that `portcullis backup create` made",
            Self::Format { .. } => "use the version of Portcullis that made it, or a newer one",
            Self::OtherKey { .. } => {
                "set the ENCRYPTION_KEY under which it was made; old keys stand below the new one, one a line"
            }
            Self::Altered { .. } | Self::CutOff { .. } | Self::Added => {
                "use another backup, or another copy of this one"
            }
            Self::NoIdentity { .. } => "name the file of the private key with --identity",
            Self::Encryption(_) | Self::Rows { .. } => "use another backup, keep this one, and report it",
            Self::RowTooLarge { .. } => "report it: no value that Portcullis stores is that large",
        }
    }

    pub(crate) fn altered(part: impl Into<String>) -> Self {
        Self::Altered { part: part.into() }
    }

    pub(crate) fn rows(what: impl Into<String>) -> Self {
        Self::Rows { what: what.into() }
    }
}

/// Finds the error of an archive's layer within the error that a layer above it passed on.
impl From<io::Error> for ArchiveError {
    fn from(error: io::Error) -> Self {
        match error.downcast::<Self>() {
            Ok(error) => error,
            Err(error) => match error.downcast::<AgeError>() {
                Ok(error) => Self::Encryption(error),
                Err(error) => Self::Io(error),
            },
        }
    }
}

impl From<ArchiveError> for io::Error {
    fn from(error: ArchiveError) -> Self {
        match error {
            ArchiveError::Io(error) => error,
            error => Self::new(io::ErrorKind::InvalidData, error),
        }
    }
}
