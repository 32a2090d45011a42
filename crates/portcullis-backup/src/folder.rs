//! A folder of archives. An archive is written under a temporary name and gets its name when it is whole and synced.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use crate::error::BackupError;
use crate::name::ArchiveName;

/// The end of temporary names. They begin with a dot, so that neither `ls` nor we list them.
const PARTIAL: &str = ".partial";

/// A folder in which archives are kept.
#[derive(Clone, Debug)]
pub struct Folder {
    path: PathBuf,
}

/// An archive in a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredArchive {
    /// The archive's name.
    pub name: ArchiveName,
    /// Bytes of the file.
    pub bytes: u64,
}

impl Folder {
    /// Names a folder, which must exist when it is used: one that is made by itself would be on the wrong disk when a
    /// file system is not mounted.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// The folder's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Lists the archives, the newest first. Other files are passed over.
    pub fn list(&self) -> Result<Vec<StoredArchive>, BackupError> {
        let listed = || -> io::Result<Vec<StoredArchive>> {
            let mut archives = Vec::new();
            for entry in fs::read_dir(&self.path)? {
                let entry = entry?;
                let Some(name) = entry.file_name().to_str().and_then(ArchiveName::parse) else { continue };
                archives.push(StoredArchive { name, bytes: entry.metadata()?.len() });
            }
            archives.sort_by(|a, b| b.name.cmp(&a.name));
            Ok(archives)
        };
        listed().map_err(|source| self.error(source))
    }

    /// Returns the archive with this id or this name.
    pub fn find(&self, id_or_name: &str) -> Result<StoredArchive, BackupError> {
        let archives = self.list()?;
        let named = |archive: &StoredArchive| archive.name.id() == id_or_name || archive.name.to_string() == id_or_name;
        archives
            .into_iter()
            .find(named)
            .ok_or_else(|| BackupError::Unknown { id: id_or_name.to_owned(), folder: self.path.clone() })
    }

    /// Opens an archive for reading.
    pub(crate) fn open(&self, name: &ArchiveName) -> Result<File, BackupError> {
        File::open(self.path.join(name.to_string())).map_err(|source| self.error(source))
    }

    /// Begins an archive under a temporary name, and removes what killed runs have left.
    pub(crate) fn begin(&self, name: &ArchiveName) -> Result<PartialArchive, BackupError> {
        self.remove_abandoned().map_err(|source| self.error(source))?;
        let path = self.path.join(format!(".{name}{PARTIAL}"));
        let opened = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path);
        let file = opened.map_err(|source| self.error(source))?;
        let partial = PartialArchive { file, path: Some(path), target: self.path.join(name.to_string()) };
        // Tells other runs that this file is not abandoned.
        flock(&partial.file, FlockOperation::NonBlockingLockExclusive).map_err(|error| self.error(error.into()))?;
        Ok(partial)
    }

    /// Removes temporary files whose writer has died: nobody holds their lock.
    fn remove_abandoned(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            let name = entry.file_name();
            let name = name.to_str().and_then(|name| name.strip_prefix('.')?.strip_suffix(PARTIAL));
            if name.and_then(ArchiveName::parse).is_none() {
                continue;
            }
            let Ok(file) = File::open(entry.path()) else { continue };
            if flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    pub(crate) fn error(&self, source: io::Error) -> BackupError {
        BackupError::Folder { path: self.path.clone(), source }
    }
}

/// An archive that is being written. Dropping it removes the file.
#[derive(Debug)]
pub(crate) struct PartialArchive {
    file: File,
    /// `None` once the archive has its name.
    path: Option<PathBuf>,
    target: PathBuf,
}

impl PartialArchive {
    /// Returns a second handle on the file.
    pub(crate) fn file(&self) -> io::Result<File> {
        self.file.try_clone()
    }

    /// Gives the archive its name, after all of it is on the disk. Returns its length in bytes.
    pub(crate) fn publish(mut self) -> io::Result<u64> {
        self.file.sync_all()?;
        let bytes = self.file.metadata()?.len();
        if let Some(path) = self.path.take()
            && let Err(error) = fs::rename(&path, &self.target)
        {
            self.path = Some(path);
            return Err(error);
        }
        // The name is on the disk only when the folder is.
        if let Some(folder) = self.target.parent() {
            File::open(folder)?.sync_all()?;
        }
        Ok(bytes)
    }
}

impl Drop for PartialArchive {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            // If it cannot be removed, the next run tries again.
            let _ = fs::remove_file(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use portcullis_model::Clock;

    use super::*;

    fn files(folder: &tempfile::TempDir) -> Vec<String> {
        let entries = fs::read_dir(folder.path()).expect("a folder");
        entries.map(|entry| entry.expect("readable").file_name().to_string_lossy().into_owned()).collect()
    }

    fn name(id: &str) -> ArchiveName {
        ArchiveName::new(Clock::system().now(), id)
    }

    #[test]
    fn an_archive_is_listed_when_it_is_whole() {
        let place = tempfile::tempdir().expect("a folder");
        let folder = Folder::new(place.path());
        let name = name("0123456789abcdef");
        let partial = folder.begin(&name).expect("begins");
        partial.file().expect("a handle").write_all(b"content").expect("writes");
        assert_eq!(folder.list().expect("lists"), []);
        assert_eq!(partial.publish().expect("publishes"), 7);
        assert_eq!(folder.list().expect("lists"), [StoredArchive { name: name.clone(), bytes: 7 }]);
        assert_eq!(folder.find("0123456789abcdef").expect("by id").name, name);
        assert_eq!(folder.find(&name.to_string()).expect("by name").name, name);
        assert!(folder.find("../x").is_err());
    }

    #[test]
    fn an_archive_that_is_given_up_leaves_nothing() {
        let place = tempfile::tempdir().expect("a folder");
        drop(Folder::new(place.path()).begin(&name("0123456789abcdef")).expect("begins"));
        assert_eq!(files(&place), Vec::<String>::new());
    }

    #[test]
    fn what_a_killed_run_left_is_removed_by_the_next_one() {
        let place = tempfile::tempdir().expect("a folder");
        let folder = Folder::new(place.path());
        let running = folder.begin(&name("aaaaaaaaaaaaaaaa")).expect("begins");
        let abandoned = format!(".{}{PARTIAL}", name("bbbbbbbbbbbbbbbb"));
        fs::write(place.path().join(&abandoned), "half").expect("writes");
        drop(folder.begin(&name("cccccccccccccccc")).expect("begins"));
        let running = running.path.as_deref().and_then(Path::file_name).expect("it has a temporary name");
        assert_eq!(files(&place), [running.to_str().expect("ASCII")]);
    }
}
