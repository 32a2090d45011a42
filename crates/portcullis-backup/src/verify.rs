//! Reads a backup back, and holds every byte and every row against its manifest.

use std::fs::File;
use std::io::{self, BufReader, Read};

use crate::age::Identity;
use crate::archive::{ArchiveError, ArchiveKeys, ArchiveReader, Manifest, Trust};
use crate::error::BackupError;
use crate::folder::{Folder, StoredArchive};
use crate::name::ArchiveName;

/// Is told of the progress of a verification.
pub trait VerifyProgress {
    /// This many more bytes of the archive were read.
    fn read(&mut self, bytes: u64);
}

/// A backup in which everything was found right.
#[derive(Clone, Debug)]
pub struct Verified {
    /// What the archive holds.
    pub manifest: Manifest,
    /// Whether its rows were read too. Those that are encrypted to recipients need an identity; without one, every byte
    /// was checked, but not what they say.
    pub rows_read: bool,
}

/// Reads the manifest of a backup, authenticated under the keys.
pub fn read_manifest(folder: &Folder, name: &ArchiveName, keys: &ArchiveKeys) -> Result<Manifest, BackupError> {
    let archive = open(folder, name, keys, BufReader::new)?;
    Ok(archive.manifest().clone())
}

/// Reads a whole backup. Identities are used for rows that are encrypted to recipients.
pub fn verify(
    folder: &Folder,
    archive: &StoredArchive,
    keys: &ArchiveKeys,
    identities: &[Identity],
    progress: &mut dyn VerifyProgress,
) -> Result<Verified, BackupError> {
    let name = &archive.name;
    let failed = |source| BackupError::Archive { name: name.clone(), source };
    let reader = open(folder, name, keys, |file| BufReader::new(Counted { input: file, progress }))?;
    if reader.is_sealed() || !identities.is_empty() {
        let manifest = reader.manifest().clone();
        let mut contents = reader.contents(identities).map_err(failed)?;
        while contents.next().map_err(failed)?.is_some() {}
        Ok(Verified { manifest, rows_read: true })
    } else {
        let manifest = reader.check_bytes().map_err(failed)?;
        Ok(Verified { manifest, rows_read: false })
    }
}

fn open<R: Read>(
    folder: &Folder,
    name: &ArchiveName,
    keys: &ArchiveKeys,
    read: impl FnOnce(File) -> R,
) -> Result<ArchiveReader<R>, BackupError> {
    let failed = |source: ArchiveError| BackupError::Archive { name: name.clone(), source };
    let file = folder.open(name)?;
    let archive = ArchiveReader::open(read(file), Trust::Keys(keys)).map_err(failed)?;
    let made_as = ArchiveName::of(archive.manifest());
    match made_as == *name {
        true => Ok(archive),
        false => Err(BackupError::Renamed { name: name.clone(), made_as }),
    }
}

/// Counts what is read.
struct Counted<'a, R> {
    input: R,
    progress: &'a mut dyn VerifyProgress,
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(out)?;
        self.progress.read(read as u64);
        Ok(read)
    }
}
