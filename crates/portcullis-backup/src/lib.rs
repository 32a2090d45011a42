//! Backups: the format of an archive, where archives are kept, and how they are made and checked.
//!
//! An archive is one file of the rows of all tables, in a form that no database engine has a part in. Everything in it
//! is authenticated under ENCRYPTION_KEY, and no part of it is believed before its code was checked.
//! `docs/backup-format.md` describes the bytes.

pub mod age;
mod archive;
mod create;
mod error;
mod folder;
mod name;
mod restore;
mod verify;

pub use archive::{
    ArchiveError, ArchiveKeys, ArchiveReader, ArchiveWriter, Contents, Manifest, ManifestColumn, ManifestTable,
    NewArchive, Record, Trust,
};
pub use create::{BackupOptions, BackupProgress, CreatedBackup, create};
pub use error::BackupError;
pub use folder::{Folder, StoredArchive};
pub use name::ArchiveName;
pub use restore::{RestoreOptions, RestoreProgress, restore};
pub use verify::{Verified, VerifyProgress, read_manifest, verify};
