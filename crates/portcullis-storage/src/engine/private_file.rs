//! Files that only their owner may read: a database and its copies hold password hashes.

use std::io;
use std::path::Path;

use super::open_error::OpenError;

/// Creates the database file with mode 0600 before SQLite would create it readable by everybody. SQLite gives its
/// write-ahead log and shared-memory file the same mode.
pub(crate) fn prepare_database_file(path: &Path) -> Result<(), OpenError> {
    create(path, false)
        .map_err(|error| OpenError::File { path: path.to_owned(), source: without_error_number(&error).into() })
}

/// Creates a file with mode 0600. With `new` it fails if the file exists.
pub(crate) fn create(path: &Path, new: bool) -> io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.create(!new).create_new(new).truncate(false).read(true).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(|_| ())
}

/// Describes an I/O error without the number that the operating system gave it.
fn without_error_number(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "the folder does not exist".into(),
        io::ErrorKind::PermissionDenied => "permission denied".into(),
        io::ErrorKind::NotADirectory => "a part of the path is not a folder".into(),
        io::ErrorKind::IsADirectory => "it is a folder".into(),
        io::ErrorKind::ReadOnlyFilesystem => "the file system is read-only".into(),
        _ => error.to_string(),
    }
}
