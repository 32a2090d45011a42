//! The data folder, and the secrets that development keeps there.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use portcullis_model::{Random, SecretRing, SecretString};
use portcullis_storage::DatabaseUrl;

use crate::sections::secrets::{ConfiguredSecrets, MIN_SECRET_BYTES, parse_secrets};

/// The secrets in force, configured or read from the data folder.
#[derive(Clone, Debug)]
pub struct Secrets {
    /// The secrets that sign CSRF tokens.
    pub csrf: SecretRing,
    /// The secrets that seal values in the database.
    pub encryption: SecretRing,
    /// The secrets that sign access tokens with HS256, if any are set.
    pub jwt: Option<SecretRing>,
}

/// Why the data folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataFolderError {
    /// The folder cannot be made, or a file is in its place.
    #[error("cannot make the data folder {}: {source}", path.display())]
    Folder {
        /// The path of the folder.
        path: PathBuf,
        /// The error of the operating system.
        #[source]
        source: io::Error,
    },
    /// The folder cannot be written to.
    #[error("cannot write to the data folder {}: {source}", path.display())]
    Unwritable {
        /// The path of the folder.
        path: PathBuf,
        /// The error of the operating system.
        #[source]
        source: io::Error,
    },
    /// A file in the folder cannot be read, made or written.
    #[error("cannot read or write a secret in the data folder, {}: {source}", path.display())]
    File {
        /// The path of the file.
        path: PathBuf,
        /// The error of the operating system.
        #[source]
        source: io::Error,
    },
    /// A file in the folder does not hold a valid secret.
    #[error("{} in the data folder is not a valid secret: {reason}", path.display())]
    NoSecret {
        /// The path of the file.
        path: PathBuf,
        /// The reason why the secret is not valid.
        reason: String,
    },
}

impl DataFolderError {
    /// Returns how to fix it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Folder { path, source } | Self::Unwritable { path, source } => match source.kind() {
                ErrorKind::ReadOnlyFilesystem => format!("mount it so that it can be written to, {ELSEWHERE}"),
                // A volume of another user, or a container that runs as another one.
                ErrorKind::PermissionDenied => {
                    let user = rustix::process::geteuid().as_raw();
                    let command = if matches!(self, Self::Folder { .. }) { "install -d -o" } else { "chown" };
                    format!("give it to the user {user} ({command} {user} {}), {ELSEWHERE}", path.display())
                }
                _ => "name a folder that this user can write to with --data-dir or PORTCULLIS_DATA_DIR".to_owned(),
            },
            Self::File { path, .. } => format!("make {} readable and writable for this user only", path.display()),
            Self::NoSecret { .. } => {
                "restore the secret from a backup; without it, values that it sealed cannot be opened".to_owned()
            }
        })
    }
}

const ELSEWHERE: &str = "or name another folder with --data-dir or PORTCULLIS_DATA_DIR";
const CSRF_FILE: &str = "csrf-secret";
const ENCRYPTION_FILE: &str = "encryption-key";
/// The lock that is held while secrets are made, so that two processes that start together make only one. Opening it also
/// shows whether the folder can be written to.
const LOCK_FILE: &str = ".lock";

/// Returns the configured secrets, and in place of missing ones those in the data folder.
pub(crate) fn load_or_create_secrets(
    configured: &ConfiguredSecrets,
    folder: &Path,
    database: &DatabaseUrl,
    random: &Random,
) -> Result<Secrets, DataFolderError> {
    let complete = configured.csrf.is_some() && configured.encryption.is_some();
    let holds_database = matches!(database, DatabaseUrl::Sqlite { path } if path.starts_with(folder));
    if !complete || holds_database {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(|source| DataFolderError::Folder { path: folder.to_owned(), source })?;
    }
    // Secrets may be read from a folder that is mounted read-only; a database must be able to write.
    if holds_database {
        open_lock(folder)?;
    }
    let kept = |secret: &Option<SecretRing>, name| match secret {
        Some(secret) => Ok(secret.clone()),
        None => keep(folder, name, random),
    };
    Ok(Secrets {
        csrf: kept(&configured.csrf, CSRF_FILE)?,
        encryption: kept(&configured.encryption, ENCRYPTION_FILE)?,
        jwt: configured.jwt.clone(),
    })
}

/// Returns the secrets that seal, configured or read from the data folder, without making any.
pub(crate) fn known_encryption_secrets(
    configured: &ConfiguredSecrets,
    folder: &Path,
) -> Result<Option<SecretRing>, DataFolderError> {
    match &configured.encryption {
        Some(secrets) => Ok(Some(secrets.clone())),
        None => read(&folder.join(ENCRYPTION_FILE)),
    }
}

/// Returns the files of the secrets that are made in the data folder, each with the variable that would replace it.
pub(crate) fn secret_files(folder: &Path) -> [(&'static str, PathBuf); 2] {
    [("CSRF_SECRET", folder.join(CSRF_FILE)), ("ENCRYPTION_KEY", folder.join(ENCRYPTION_FILE))]
}

/// Reads a secret, or makes it. It is on the disk before any value is sealed with it.
fn keep(folder: &Path, name: &str, random: &Random) -> Result<SecretRing, DataFolderError> {
    let path = folder.join(name);
    let failed = |source| DataFolderError::File { path: path.clone(), source };
    if let Some(secret) = read(&path)? {
        return Ok(secret);
    }
    let lock = open_lock(folder)?;
    lock.lock().map_err(failed)?;
    // Another process may have made it while this one waited.
    if let Some(secret) = read(&path)? {
        return Ok(secret);
    }
    let secret = new_secret(random);
    let unfinished = folder.join(format!("{name}.new"));
    write_whole(&unfinished, secret.expose()).map_err(failed)?;
    std::fs::rename(&unfinished, &path).map_err(failed)?;
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)?;
    Ok(secret.into())
}

fn open_lock(folder: &Path) -> Result<File, DataFolderError> {
    private(OpenOptions::new().write(true).create(true).truncate(false))
        .open(folder.join(LOCK_FILE))
        .map_err(|source| DataFolderError::Unwritable { path: folder.to_owned(), source })
}

/// Makes a secret of 32 random bytes, in hexadecimal.
pub fn new_secret(random: &Random) -> SecretString {
    SecretString::new(random.hex::<MIN_SECRET_BYTES>())
}

fn read(path: &Path) -> Result<Option<SecretRing>, DataFolderError> {
    match std::fs::read_to_string(path) {
        Ok(text) => parse_secrets(&text)
            .map(Some)
            .map_err(|reason| DataFolderError::NoSecret { path: path.to_owned(), reason: reason.to_string() }),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(DataFolderError::File { path: path.to_owned(), source }),
    }
}

fn write_whole(path: &Path, secret: &str) -> io::Result<()> {
    // A file left by a crash may have other permissions.
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = private(OpenOptions::new().write(true).create_new(true)).open(path)?;
    writeln!(file, "{secret}")?;
    file.sync_all()
}

/// Makes the file readable and writable for this user only, from the moment it exists.
fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    options.mode(0o600)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::testing::{PRODUCTION, load_in};
    use crate::{Flags, Settings};

    fn in_folder(folder: &Path) -> Settings {
        load_in(folder, Flags::default(), &[]).expect("good settings")
    }

    #[test]
    fn sr_50_secrets_are_made_once_and_only_their_owner_reads_them() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let settings = in_folder(folder.path());
        let first = settings.load_or_create_secrets(&Random::system()).expect("a fresh folder");
        let second = settings.load_or_create_secrets(&Random::system()).expect("the same folder");
        assert_eq!(first.csrf.current().expose(), second.csrf.current().expose());
        assert_eq!(first.encryption.current().expose(), second.encryption.current().expose());
        assert_ne!(first.csrf.current().expose(), first.encryption.current().expose());
        let data = folder.path().join("portcullis-data");
        let mode = |path: &Path| path.metadata().expect("it exists").permissions().mode() & 0o777;
        assert_eq!(mode(&data), 0o700);
        for entry in std::fs::read_dir(&data).expect("a folder") {
            let path = entry.expect("an entry").path();
            assert_eq!(mode(&path), 0o600, "{}", path.display());
        }
    }

    #[test]
    fn processes_that_start_at_once_agree_on_one_secret() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let settings = in_folder(folder.path());
        let made: Vec<String> = std::thread::scope(|scope| {
            let one = || {
                settings
                    .load_or_create_secrets(&Random::system())
                    .expect("a fresh folder")
                    .encryption
                    .current()
                    .expose()
                    .to_owned()
            };
            let threads: Vec<_> = (0..16).map(|_| scope.spawn(one)).collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
        });
        assert!(made.iter().all(|secret| *secret == made[0]));
    }

    #[test]
    fn production_with_an_external_database_needs_no_folder() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let environment = [PRODUCTION, &[("DATABASE_URL", "postgres://u@db.example/x")]].concat();
        let settings = load_in(folder.path(), Flags::default(), &environment).expect("good settings");
        settings.load_or_create_secrets(&Random::system()).expect("all are configured");
        assert!(!folder.path().join("portcullis-data").exists());
    }

    #[test]
    fn an_invalid_folder_or_secret_is_refused_with_a_hint() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let data = folder.path().join("portcullis-data");
        std::fs::write(&data, "in the way").expect("writable");
        let error =
            in_folder(folder.path()).load_or_create_secrets(&Random::system()).expect_err("a file is in the way");
        assert!(
            error.to_string().starts_with("cannot make the data folder")
                && error.hint().is_some_and(|hint| hint.contains("--data-dir"))
        );
        std::fs::remove_file(&data).expect("it was made");
        std::fs::create_dir(&data).expect("writable");
        std::fs::write(data.join("csrf-secret"), "").expect("writable");
        let error = in_folder(folder.path()).load_or_create_secrets(&Random::system()).expect_err("an empty secret");
        assert!(
            error.to_string().contains("csrf-secret in the data folder is not a valid secret: it has 0 bytes"),
            "{error}"
        );
    }

    #[test]
    fn a_read_only_folder_is_refused_before_the_database_opens() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        // A folder in the lock's place refuses root too.
        std::fs::create_dir_all(folder.path().join("portcullis-data/.lock")).expect("writable");
        let kept = |environment: &[(&str, &str)]| {
            let settings = load_in(folder.path(), Flags::default(), environment).expect("good settings");
            settings.load_or_create_secrets(&Random::system())
        };
        for environment in [&[][..], PRODUCTION] {
            let error = kept(environment).expect_err("nothing can be made there");
            assert!(error.to_string().starts_with("cannot write to the data folder /"), "{error}");
            assert!(error.hint().is_some_and(|hint| hint.contains("--data-dir")), "{:?}", error.hint());
        }
        for name in [CSRF_FILE, ENCRYPTION_FILE] {
            let secret = new_secret(&Random::system());
            std::fs::write(folder.path().join("portcullis-data").join(name), secret.expose()).expect("writable");
        }
        kept(&[("DATABASE_URL", "postgres://u@db.example/x")])
            .expect("secrets are only read, as from a mounted folder");
    }

    #[test]
    fn the_hint_of_an_unwritable_folder_fits_its_cause() {
        let path = PathBuf::from("/data");
        let user = rustix::process::geteuid().as_raw();
        let unwritable =
            |kind| DataFolderError::Unwritable { path: path.clone(), source: io::Error::from(kind) }.hint();
        let unmade = |kind| DataFolderError::Folder { path: path.clone(), source: io::Error::from(kind) }.hint();
        for (hint, part) in [
            (unwritable(ErrorKind::PermissionDenied), format!("give it to the user {user} (chown {user} /data), or")),
            (unmade(ErrorKind::PermissionDenied), format!("(install -d -o {user} /data), or")),
            (unwritable(ErrorKind::ReadOnlyFilesystem), "mount it so that it can be written to, or".to_owned()),
            (unmade(ErrorKind::AlreadyExists), "name a folder that this user can write to".to_owned()),
        ] {
            assert!(hint.as_ref().is_some_and(|hint| hint.contains(&part)), "{part}: {hint:?}");
        }
    }
}
