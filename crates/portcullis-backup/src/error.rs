//! Why a backup was not made or cannot be used, in sentences for the operator.

use std::io;
use std::path::PathBuf;

use portcullis_storage::{RestoreError, SnapshotError};

use crate::archive::ArchiveError;
use crate::name::ArchiveName;

/// Why a backup was not made, or cannot be used: one sentence, and a [`hint`](Self::hint).
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The folder of backups cannot be used.
    #[error("the folder of backups {} cannot be used", path.display())]
    Folder {
        /// The path as the settings name it (`backup.to`).
        path: PathBuf,
        /// The operating system's error.
        #[source]
        source: io::Error,
    },
    /// The archive could not be written.
    #[error("the backup could not be written to {}", folder.display())]
    Write {
        /// The path of the folder, as the settings name it (`backup.to`).
        folder: PathBuf,
        /// Which step of writing failed, and why.
        #[source]
        source: ArchiveError,
    },
    /// The database cannot be read.
    #[error("the database cannot be read")]
    Database(#[from] SnapshotError),
    /// No backup has this id.
    #[error("no backup in {} has the id {id}", folder.display())]
    Unknown {
        /// What was asked for.
        id: String,
        /// The path of the folder, as the settings name it (`backup.to`).
        folder: PathBuf,
    },
    /// There is no backup.
    #[error("there is no backup in {}", folder.display())]
    None {
        /// The path of the folder, as the settings name it (`backup.to`).
        folder: PathBuf,
    },
    /// The archive cannot be used.
    #[error("{name} cannot be used")]
    Archive {
        /// The name of its file in the folder of backups.
        name: ArchiveName,
        /// What is wrong with it.
        #[source]
        source: ArchiveError,
    },
    /// The archive at this path cannot be used.
    #[error("the backup {} cannot be used", path.display())]
    File {
        /// The path that the command was given.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: ArchiveError,
    },
    /// The database was not restored.
    #[error("the backup was not restored")]
    Restore(#[from] RestoreError),
    /// The file has the name of another archive.
    #[error("{name} is not the backup that its name says: it was made as {made_as}")]
    Renamed {
        /// The name that the file has now.
        name: ArchiveName,
        /// The name of the archive in it.
        made_as: ArchiveName,
    },
    /// The thread that wrote the archive has panicked.
    #[error("the backup was not written: {0}")]
    Panicked(String),
}

impl BackupError {
    /// Returns what the operator can do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Folder { path, source } if source.kind() == io::ErrorKind::NotFound => {
                format!("create the folder, or mount its disk: mkdir -p -m 700 {}", path.display())
            }
            Self::Folder { .. } => "this user must be able to list, read and write the folder".into(),
            Self::Write { source: ArchiveError::Io(error), .. } if error.kind() == io::ErrorKind::StorageFull => {
                "the disk is full; nothing of the backup was left there. Make room and run it again".into()
            }
            Self::Write { source, .. } | Self::Archive { source, .. } | Self::File { source, .. } => {
                source.hint().into()
            }
            Self::Restore(error) => return error.hint(),
            Self::Database(error) => return error.hint(),
            Self::Unknown { .. } => "`portcullis backup list` shows the ids".into(),
            Self::None { .. } => "make one with `portcullis backup create`".into(),
            Self::Renamed { made_as, .. } => format!("give the file its name again: {made_as}"),
            Self::Panicked(_) => "report it".into(),
        })
    }
}
