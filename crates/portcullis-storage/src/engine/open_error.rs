//! Why a database could not be opened, in sentences for the person who starts the server.

use std::borrow::Cow;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::Error as SqlxError;
use sqlx::error::DatabaseError;
use sqlx::postgres::PgConnectOptions;

use super::error::StoreError;
use super::url::{DatabaseUrl, address};

/// Why a database could not be opened: one sentence, and a [`hint`](Self::hint).
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file cannot be made, read or written.
    #[error("cannot open the database file {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system or SQLite said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The file is something else.
    #[error("{} is not a SQLite database", path.display())]
    NotADatabase {
        /// The file.
        path: PathBuf,
    },
    /// The schema is from a later version of Portcullis.
    #[error(
        "the database has schema {found}, this version knows up to {known}: it was migrated by {}",
        by.as_ref().map_or_else(|| "a newer Portcullis".to_owned(), |by| format!("the newer Portcullis {by}"))
    )]
    NewerSchema {
        /// The schema's version.
        found: i64,
        /// The last version this program knows.
        known: i64,
        /// Which version of Portcullis did it.
        by: Option<String>,
        /// The snapshot that was made before.
        copy: Option<PathBuf>,
    },
    /// The schema is older than this program's, and it was told not to migrate.
    #[error("the database has schema {found} and this version needs {known}, and database.migrate is off")]
    OldSchema {
        /// The schema's version.
        found: i64,
        /// The version this program needs.
        known: i64,
    },
    /// A move into this database has not finished.
    #[error("a move into this database has not finished")]
    UnfinishedMove,
    /// Another process has been migrating for longer than one waits.
    #[error("another process ({holder}) has been migrating the database for {} s", waited.as_secs())]
    MigrationLocked {
        /// Who.
        holder: String,
        /// How long was waited.
        waited: Duration,
    },
    /// The copy before a migration could not be made; nothing was changed.
    #[error("the database cannot be copied to {} before its schema changes", path.display())]
    Snapshot {
        /// Where to.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The server is too old.
    #[error("PostgreSQL at {address} is version {found}; {needed} or newer is needed")]
    TooOld {
        /// `host:port/database`.
        address: String,
        /// Its version.
        found: String,
        /// The oldest that will do.
        needed: u32,
    },
    /// The user may not change the schema.
    #[error("the user of {address} may not change the schema")]
    NoRights {
        /// Where, without user and password.
        address: String,
        /// What the server said.
        #[source]
        source: StoreError,
    },
    /// The server takes no writes.
    #[error("PostgreSQL at {address} is read-only, as a standby is")]
    ReadOnly {
        /// `host:port/database`.
        address: String,
    },
    /// Nobody answers at the address.
    #[error("cannot reach PostgreSQL at {address}")]
    Unreachable {
        /// `host:port/database`.
        address: String,
        /// What the system said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// User or password is wrong.
    #[error("PostgreSQL at {address} refuses the user {user:?}")]
    Refused {
        /// `host:port/database`.
        address: String,
        /// The user.
        user: String,
    },
    /// The server has no such database.
    #[error("PostgreSQL at {address} has no such database")]
    MissingDatabase {
        /// `host:port/database`.
        address: String,
        /// The database.
        database: String,
    },
    /// A table of users elsewhere.
    #[error("the table of users cannot be read")]
    ForeignTable {
        /// Why.
        #[source]
        source: StoreError,
    },
    /// A table of users elsewhere is read from PostgreSQL only.
    #[error("users are read straight from a PostgreSQL database only")]
    NotPostgres,
    /// The connection cannot be encrypted as asked.
    #[error("PostgreSQL at {address} cannot be spoken to over TLS as sslmode asks")]
    Tls {
        /// `host:port/database`.
        address: String,
        /// What the TLS library said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A migration failed; nothing of it was kept.
    #[error("the migration to schema {version} ({name}) failed")]
    Migration {
        /// Its number.
        version: i64,
        /// Its name.
        name: &'static str,
        /// Why.
        #[source]
        source: StoreError,
    },
    /// The schema could not be read.
    #[error("the database's schema cannot be read")]
    Schema {
        /// Why.
        #[from]
        source: StoreError,
    },
    /// Anything else the driver said.
    #[error("the database cannot be opened: {source}")]
    Other {
        /// What it said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl OpenError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::File { path, .. } => {
                let folder = path.parent().unwrap_or(path).display();
                format!(
                    "the folder {folder} must exist and be writable by this user; PORTCULLIS_DATA_DIR chooses another"
                )
            }
            Self::NotADatabase { .. } => "DATABASE_URL names another file, or move this one away".into(),
            Self::NewerSchema { copy: Some(copy), .. } => format!(
                "start the newer version; or, to go back and lose what came since, put {} in the database's place",
                copy.display()
            ),
            Self::NewerSchema { known, .. } => {
                format!("start the newer version, or run its `portcullis migrate down --to {known}`")
            }
            Self::UnfinishedMove => "run `portcullis move` again: it goes on where it stopped".into(),
            Self::OldSchema { .. } => {
                "run `portcullis migrate up` as a user who may change the schema, or set database.migrate = \"auto\""
                    .into()
            }
            Self::MigrationLocked { .. } => {
                "wait for it, or end it; `portcullis migrate status` shows where the schema stands".into()
            }
            Self::Snapshot { .. } => "is there room on the disk, and may this user write into the folder?".into(),
            Self::TooOld { .. } => "use a newer PostgreSQL, or SQLite".into(),
            Self::NoRights { .. } => {
                "GRANT CREATE, USAGE ON SCHEMA public TO that user and make it the tables' owner; \
                 or run `portcullis migrate up` as another user and set database.migrate = \"off\""
                    .into()
            }
            Self::ReadOnly { .. } => "DATABASE_URL must lead to the primary".into(),
            Self::Unreachable { .. } => "is the server running, and are host and port of DATABASE_URL right?".into(),
            Self::Refused { .. } => "check user and password in DATABASE_URL, and the server's pg_hba.conf".into(),
            Self::MissingDatabase { database, .. } => format!("make it: createdb {database}"),
            Self::Tls { .. } => {
                "the server must offer TLS with a certificate for this host; sslrootcert=/path/ca.pem in \
                 DATABASE_URL names the authority that vouches for it, when it is not a public one"
                    .into()
            }
            Self::ForeignTable { .. } => {
                "it needs the columns id, email, username, \"firstName\", \"lastName\", password, \
                 role, \"isActive\", \"isEmailVerified\" and \"createdAt\"; otherwise export it as CSV or NDJSON"
                    .into()
            }
            Self::NotPostgres => "give an address as postgres://user@host/database, or a file".into(),
            Self::Migration { .. } | Self::Schema { .. } | Self::Other { .. } => return None,
        })
    }

    /// Of a step that failed.
    pub(crate) fn of_step(source: StoreError, version: i64, name: &'static str, url: &DatabaseUrl) -> Self {
        match source.sqlstate().as_deref() {
            Some("42501") => Self::NoRights { address: url.to_string(), source },
            Some("25006") => Self::ReadOnly { address: url.to_string() },
            _ => Self::Migration { version, name, source },
        }
    }

    pub(crate) fn from_sqlite(error: SqlxError, path: &Path) -> Self {
        let code = error.as_database_error().and_then(DatabaseError::code).and_then(|code| code.parse::<u32>().ok());
        match code.map(|extended| extended & 0xff) {
            Some(26) => Self::NotADatabase { path: path.to_owned() },
            _ => Self::File { path: path.to_owned(), source: error.into() },
        }
    }

    pub(crate) fn from_postgres(error: SqlxError, server: &PgConnectOptions) -> Self {
        let address = address(server);
        let code = error.as_database_error().and_then(DatabaseError::code).map(Cow::into_owned);
        match (code.as_deref(), &error) {
            (Some("28P01" | "28000"), _) => Self::Refused { address, user: server.get_username().to_owned() },
            (Some("3D000"), _) => {
                let database = server.get_database().unwrap_or_else(|| server.get_username()).to_owned();
                Self::MissingDatabase { address, database }
            }
            // What rustls refuses comes as invalid data from the stream.
            (None, SqlxError::Io(io)) if io.kind() == io::ErrorKind::InvalidData => {
                Self::Tls { address, source: error.into() }
            }
            (None, SqlxError::Tls(_)) => Self::Tls { address, source: error.into() },
            (None, SqlxError::Io(_) | SqlxError::PoolTimedOut) => Self::Unreachable { address, source: error.into() },
            _ => Self::Other { source: error.into() },
        }
    }
}
