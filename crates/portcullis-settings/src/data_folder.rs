//! The data folder, and the secrets that development keeps there.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use portcullis_model::{Random, SecretRing, SecretString};
use portcullis_storage::DatabaseUrl;

use crate::Settings;
use crate::sections::secrets::{LEAST_BYTES, parse_secrets};

/// The secrets in force.
#[derive(Clone, Debug)]
pub struct Secrets {
    /// Signs CSRF tokens.
    pub csrf: SecretRing,
    /// Seals what the database must not know.
    pub encryption: SecretRing,
    /// Signs access tokens with HS256, if there is one.
    pub jwt: Option<SecretRing>,
}

/// Why the data folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataFolderError {
    /// It cannot be made, or is no folder.
    #[error("cannot make the data folder {}: {source}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Nothing can be made in it.
    #[error("cannot write in the data folder {}: {source}", path.display())]
    Unwritable {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A file in it cannot be read, made or written.
    #[error("cannot keep a secret in the data folder, in {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A file in it holds no secret.
    #[error("{} in the data folder holds no secret: {reason}", path.display())]
    NoSecret {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

impl DataFolderError {
    /// What to do.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Folder { .. } | Self::Unwritable { .. } => {
                "choose a folder that can be written with --data-dir or PORTCULLIS_DATA_DIR".to_owned()
            }
            Self::File { path, .. } => format!("make {} readable and writable for this user only", path.display()),
            Self::NoSecret { .. } => {
                "put the secret back from a backup; without it, what it sealed cannot be opened".to_owned()
            }
        })
    }
}

const CSRF_FILE: &str = "csrf-secret";
const ENCRYPTION_FILE: &str = "encryption-key";
/// Held while secrets are made, so that two processes that start at once make one;
/// that it can be opened shows that the folder can be written.
const LOCK_FILE: &str = ".lock";

pub(crate) fn keep_secrets(settings: &Settings, random: &Random) -> Result<Secrets, DataFolderError> {
    let configured = &settings.secrets;
    let folder = settings.data_dir.as_path();
    let complete = configured.csrf.is_some() && configured.encryption.is_some();
    let holds_database = matches!(&settings.database.url, DatabaseUrl::Sqlite { path } if path.starts_with(folder));
    if !complete || holds_database {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(|source| DataFolderError::Folder { path: folder.to_owned(), source })?;
    }
    // Secrets may be read from a folder that is mounted read-only; a database needs more.
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

/// Reads a secret, or makes it. It is on the disk before anything is sealed with it.
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

/// 32 random bytes in hexadecimal.
pub fn new_secret(random: &Random) -> SecretString {
    SecretString::new(random.hex::<LEAST_BYTES>())
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
    // What a crash left behind may have other permissions: begin anew.
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = private(OpenOptions::new().write(true).create_new(true)).open(path)?;
    writeln!(file, "{secret}")?;
    file.sync_all()
}

/// Readable and writable for this user only, from the moment the file exists.
fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    options.mode(0o600)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::Flags;
    use crate::testing::{PRODUCTION, load_in};

    fn in_folder(folder: &Path) -> Settings {
        load_in(folder, Flags::default(), &[]).expect("good settings")
    }

    #[test]
    fn sr_50_secrets_are_made_once_and_only_their_owner_reads_them() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let settings = in_folder(folder.path());
        let first = settings.keep_secrets(&Random::system()).expect("a fresh folder");
        let second = settings.keep_secrets(&Random::system()).expect("the same folder");
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
                    .keep_secrets(&Random::system())
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
    fn production_with_a_database_elsewhere_touches_no_folder() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let environment = [PRODUCTION, &[("DATABASE_URL", "postgres://u@db.example/x")]].concat();
        let settings = load_in(folder.path(), Flags::default(), &environment).expect("good settings");
        settings.keep_secrets(&Random::system()).expect("all are configured");
        assert!(!folder.path().join("portcullis-data").exists());
    }

    #[test]
    fn a_folder_that_is_none_and_a_secret_that_is_none_are_told_with_a_hint() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let data = folder.path().join("portcullis-data");
        std::fs::write(&data, "in the way").expect("writable");
        let error = in_folder(folder.path()).keep_secrets(&Random::system()).expect_err("a file is in the way");
        assert!(
            error.to_string().starts_with("cannot make the data folder")
                && error.hint().is_some_and(|hint| hint.contains("--data-dir"))
        );
        std::fs::remove_file(&data).expect("it was made");
        std::fs::create_dir(&data).expect("writable");
        std::fs::write(data.join("csrf-secret"), "").expect("writable");
        let error = in_folder(folder.path()).keep_secrets(&Random::system()).expect_err("an empty secret");
        assert!(
            error.to_string().contains("csrf-secret in the data folder holds no secret: it has 0 bytes"),
            "{error}"
        );
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_told_before_the_database_is_opened() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        // A folder in the lock's place refuses root too.
        std::fs::create_dir_all(folder.path().join("portcullis-data/.lock")).expect("writable");
        let kept = |environment: &[(&str, &str)]| {
            let settings = load_in(folder.path(), Flags::default(), environment).expect("good settings");
            settings.keep_secrets(&Random::system())
        };
        for environment in [&[][..], PRODUCTION] {
            let error = kept(environment).expect_err("nothing can be made there");
            assert!(error.to_string().starts_with("cannot write in the data folder /"), "{error}");
            assert!(error.hint().is_some_and(|hint| hint.contains("--data-dir")), "{:?}", error.hint());
        }
        for name in [CSRF_FILE, ENCRYPTION_FILE] {
            let secret = new_secret(&Random::system());
            std::fs::write(folder.path().join("portcullis-data").join(name), secret.expose()).expect("writable");
        }
        kept(&[("DATABASE_URL", "postgres://u@db.example/x")])
            .expect("secrets are only read, as from a mounted folder");
    }
}
