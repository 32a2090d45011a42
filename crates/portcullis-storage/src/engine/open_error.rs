//! Why a database could not be opened, in sentences for the operator who starts the server.

use std::borrow::Cow;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::Error as SqlxError;
use sqlx::error::DatabaseError;
use sqlx::postgres::PgConnectOptions;

use super::error::StoreError;
use super::pooler;
use super::postgres_url::address;
use super::url::DatabaseUrl;

/// Why a database could not be opened: one sentence, and a [`hint`](Self::hint).
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file cannot be created, read or written.
    #[error("cannot open the database file {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The operating system's or SQLite's error.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The file is not a SQLite database.
    #[error("{} is not a SQLite database", path.display())]
    NotADatabase {
        /// The file.
        path: PathBuf,
    },
    /// A newer version of Portcullis has migrated the schema, and this version cannot run on it.
    #[error(
        "the database has schema {found}, but this version supports schemas up to {known}: {} applied {}",
        by.as_ref().map_or_else(|| "a newer Portcullis".to_owned(), |by| format!("the newer Portcullis {by}")),
        contract_step.as_ref().map_or_else(|| "later steps".to_owned(), |step| format!("the contract step {step}"))
    )]
    NewerSchema {
        /// The schema's version.
        found: i64,
        /// The newest schema that this program supports.
        known: i64,
        /// The version of Portcullis that migrated it.
        by: Option<String>,
        /// Number and name of the first step on whose schema this program does not run.
        contract_step: Option<String>,
        /// The copy that was made before the migration.
        copy: Option<PathBuf>,
    },
    /// There is no database yet, and a command does not create one.
    #[error("there is no database at {}", path.display())]
    NoDatabase {
        /// Path of the missing file.
        path: PathBuf,
    },
    /// The schema is older than this program's, and it is not migrated here.
    #[error(
        "the database {} and this version needs schema {known}{}",
        if *found == 0 { "is empty".to_owned() } else { format!("has schema {found}") },
        if *is_off { ", and database.migrate is off" } else { "" }
    )]
    OldSchema {
        /// The schema's version.
        found: i64,
        /// The schema that this program needs.
        known: i64,
        /// Whether `database.migrate` is the reason; otherwise the command does not migrate.
        is_off: bool,
    },
    /// A move into this database has not finished.
    #[error("a move into this database has not finished")]
    UnfinishedMove,
    /// Another process has been migrating for longer than `database.migrate_wait`.
    #[error("another process ({holder}) has been migrating the database for {} s", waited.as_secs())]
    MigrationLocked {
        /// The process that migrates.
        holder: String,
        /// How long this process waited.
        waited: Duration,
    },
    /// The copy before a migration could not be made. The database is unchanged.
    #[error("the database cannot be copied to {} before its migration", path.display())]
    Snapshot {
        /// Path of the copy.
        path: PathBuf,
        /// The underlying error.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The server's version is not supported.
    #[error("PostgreSQL at {address} is version {found}; {needed} or newer is needed")]
    TooOld {
        /// `host:port/database`.
        address: String,
        /// The server's version.
        found: String,
        /// The oldest supported major version.
        needed: u32,
    },
    /// The user may not change the schema.
    #[error("the user of {address} may not change the schema")]
    NoRights {
        /// The address without user and password.
        address: String,
        /// The server's error.
        #[source]
        source: StoreError,
    },
    /// The server refuses writes, as a standby does.
    #[error(
        "PostgreSQL at {address} is read-only: {}",
        if *is_standby { "it is a standby" } else { "default_transaction_read_only is on" }
    )]
    ReadOnly {
        /// `host:port/database`.
        address: String,
        /// Whether the server is a standby.
        is_standby: bool,
    },
    /// The database cannot store every text.
    #[error("the database at {address} has the encoding {encoding}; UTF8 is needed")]
    Encoding {
        /// `host:port/database`.
        address: String,
        /// The encoding of the database.
        encoding: String,
    },
    /// The user may not read or change some of the tables.
    #[error("the user of {address} may not read and change every table: {}", tables.join(", "))]
    TableRights {
        /// `host:port/database`.
        address: String,
        /// The tables for which rights are missing.
        tables: Vec<String>,
    },
    /// A pooler gives each transaction another connection to the server, and the address does not say so.
    #[error("a pooler at {address} gives each transaction another connection, as PgBouncer does in transaction mode")]
    Pooler {
        /// `host:port/database`.
        address: String,
    },
    /// The work needs a session on the server, and the address leads to a pooler in transaction mode.
    #[error("{address} leads to a pooler (pgbouncer=true), and this needs a session of its own on the server")]
    NeedsSession {
        /// `host:port/database`.
        address: String,
    },
    /// A file that the address names cannot be read.
    #[error("{} ({option}) cannot be read", path.display())]
    TlsFile {
        /// The option that names the file.
        option: &'static str,
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        #[source]
        source: io::Error,
    },
    /// The environment variable PGSSLMODE has an unknown value.
    #[error("PGSSLMODE is none of disable, allow, prefer, require, verify-ca and verify-full")]
    SslModeVariable,
    /// No server answers at the address.
    #[error("cannot reach PostgreSQL at {address}")]
    Unreachable {
        /// `host:port/database`.
        address: String,
        /// The operating system's error.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The server refuses the user or the password.
    #[error("PostgreSQL at {address} refuses the user {user:?}")]
    Refused {
        /// `host:port/database`.
        address: String,
        /// The refused user.
        user: String,
    },
    /// The server has no such database.
    #[error("PostgreSQL at {address} has no such database")]
    MissingDatabase {
        /// `host:port/database`.
        address: String,
        /// The name of the missing database.
        database: String,
    },
    /// Another program's table of users cannot be read.
    #[error("the table of users cannot be read")]
    ForeignTable {
        /// The underlying error.
        #[source]
        source: StoreError,
    },
    /// Another program's users can be read directly only from PostgreSQL.
    #[error("users can be read directly only from a PostgreSQL database")]
    NotPostgres,
    /// The connection cannot be encrypted as `sslmode` demands.
    #[error("PostgreSQL at {address} does not offer TLS as sslmode demands")]
    Tls {
        /// `host:port/database`.
        address: String,
        /// The TLS library's error.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A migration failed and was rolled back.
    #[error("the migration to schema {version} ({name}) failed")]
    Migration {
        /// The migration's number.
        version: i64,
        /// The migration's name.
        name: &'static str,
        /// The underlying error.
        #[source]
        source: StoreError,
    },
    /// The schema could not be read.
    #[error("the database's schema cannot be read")]
    Schema {
        /// The underlying error.
        #[from]
        source: StoreError,
    },
    /// Any other error of the driver.
    #[error("the database cannot be opened: {source}")]
    Other {
        /// The driver's error.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl OpenError {
    /// Returns what the operator can do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::File { path, .. } => {
                let folder = path.parent().unwrap_or(path).display();
                format!(
                    "the folder {folder} must exist and be writable by this user; PORTCULLIS_DATA_DIR chooses another"
                )
            }
            Self::NotADatabase { .. } => "set DATABASE_URL to another file, or move this one away".into(),
            Self::NewerSchema { copy: Some(copy), .. } => format!(
                "start the newer version; or, to go back and lose all later changes, put {} in the database's place",
                copy.display()
            ),
            Self::NewerSchema { known, .. } => {
                format!("start the newer version, or run its `portcullis migrate down --to {known}`")
            }
            Self::UnfinishedMove => "run `portcullis move` again: it continues where it stopped".into(),
            Self::NoDatabase { .. } => {
                "does DATABASE_URL or PORTCULLIS_DATA_DIR name the right one? `portcullis migrate up` creates it, and so \
                 does the first `portcullis serve`"
                    .into()
            }
            Self::OldSchema { is_off: false, .. } => {
                "run `portcullis migrate up`; the next `portcullis serve` does the same, unless database.migrate is off"
                    .into()
            }
            Self::OldSchema { .. } => {
                "run `portcullis migrate up` as a user who may change the schema, or set database.migrate = \"auto\""
                    .into()
            }
            Self::MigrationLocked { .. } => {
                "wait until it has finished, or stop it; `portcullis migrate status` shows the schema's version".into()
            }
            Self::Snapshot { .. } => "check that the disk has room and that this user may write into the folder".into(),
            Self::TooOld { .. } => "upgrade PostgreSQL, or use SQLite".into(),
            Self::NoRights { .. } => {
                "GRANT CREATE, USAGE ON the schema (GRANT CREATE ON the database if it is missing) TO that user and make \
                 it the owner of the tables; or run `portcullis migrate up` as another user and set database.migrate = \"off\""
                    .into()
            }
            Self::ReadOnly { is_standby: true, .. } => "DATABASE_URL must lead to the primary".into(),
            Self::ReadOnly { .. } => "ALTER ROLE … RESET default_transaction_read_only, or of the database".into(),
            Self::Encoding { .. } => {
                "create another database: CREATE DATABASE … TEMPLATE template0 ENCODING 'UTF8'; an existing one is \
                 moved with `portcullis move` or pg_dump"
                    .into()
            }
            Self::TableRights { .. } => {
                "GRANT SELECT, INSERT, UPDATE, DELETE ON these tables TO that user, or make it their owner".into()
            }
            Self::Pooler { .. } => {
                "write pgbouncer=true into DATABASE_URL and set database.direct_url to the server's own address; or \
                 use pool_mode = session"
                    .into()
            }
            Self::NeedsSession { .. } => {
                "set database.direct_url (DATABASE_DIRECT_URL) to an address of the server itself; a move and an import take \
                 that address"
                    .into()
            }
            Self::TlsFile { .. } => "name a file in PEM that this user can read".into(),
            Self::SslModeVariable => "correct or unset PGSSLMODE, or write sslmode into DATABASE_URL".into(),
            Self::Unreachable { .. } => "is the server running, and are host and port of DATABASE_URL right?".into(),
            Self::Refused { .. } => "check user and password in DATABASE_URL, and the server's pg_hba.conf".into(),
            Self::MissingDatabase { database, .. } => format!("create it: createdb {database}"),
            Self::Tls { .. } => {
                "the server must offer TLS with a certificate for this host; sslrootcert=/path/ca.pem in \
                 DATABASE_URL names the authority that signed it, unless it is a public one"
                    .into()
            }
            Self::ForeignTable { .. } => {
                "--table names a table, or schema.table, that this user may read; otherwise export it as CSV or NDJSON"
                    .into()
            }
            Self::NotPostgres => "specify an address such as postgres://user@host/database, or a file".into(),
            Self::Migration { source, .. } | Self::Schema { source } if source.has_no_room() => {
                "make room on the disk of the database; nothing of the migration was kept".into()
            }
            Self::Migration { .. } | Self::Schema { .. } | Self::Other { .. } => return None,
        })
    }

    /// Returns the error for a migration that failed.
    pub(crate) fn of_migration(source: StoreError, version: i64, name: &'static str, url: &DatabaseUrl) -> Self {
        match source.sqlstate().as_deref() {
            Some("42501" | "3F000") => Self::NoRights { address: url.to_string(), source },
            Some("25006") => Self::ReadOnly { address: url.to_string(), is_standby: true },
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
        if pooler::is_about_foreign_statements(&error) {
            return Self::Pooler { address };
        }
        match (code.as_deref(), &error) {
            (Some("28P01" | "28000"), _) => Self::Refused { address, user: server.get_username().to_owned() },
            (Some("3D000"), _) => {
                let database = server.get_database().unwrap_or_else(|| server.get_username()).to_owned();
                Self::MissingDatabase { address, database }
            }
            // rustls reports its errors as invalid data from the stream.
            (None, SqlxError::Io(io)) if io.kind() == io::ErrorKind::InvalidData => {
                Self::Tls { address, source: error.into() }
            }
            (None, SqlxError::Tls(_)) => Self::Tls { address, source: error.into() },
            (None, SqlxError::Io(_) | SqlxError::PoolTimedOut) => Self::Unreachable { address, source: error.into() },
            _ => Self::Other { source: error.into() },
        }
    }
}
