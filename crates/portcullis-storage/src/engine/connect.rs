//! How a connection to each engine is opened, and the settings that it gets.

use std::path::Path;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Error as SqlxError};

use super::connection::{Connection, PostgresTarget, Setup, Target};
use super::dialect::Dialect;
use super::open_error::OpenError;
use super::options::StoreOptions;
use super::postgres_url::{PostgresUrl, address};
use super::schema_name::SchemaName;
use super::statement::Runner;
use super::url::DatabaseUrl;
use super::{pooler, private_file, server_check};

/// Added to the limit that PostgreSQL itself keeps on a statement, so that PostgreSQL's error comes first: it gives
/// the better reason.
const LIMIT_SLACK: Duration = Duration::from_secs(1);

/// Makes the server release the locks of a replica that vanished without closing its connection, as a machine does
/// that loses power.
const DEAD_PEER_TIMEOUTS: [&str; 4] =
    ["tcp_keepalives_idle = 10", "tcp_keepalives_interval = 5", "tcp_keepalives_count = 3", "tcp_user_timeout = '30s'"];
/// Releases the locks of a replica that hangs in a transaction.
const IDLE_TIMEOUT: &str = "idle_in_transaction_session_timeout = '30s'";
/// A server, database or user may have it off, and `\'` would then end a literal.
const STANDARD_STRINGS: &str = "standard_conforming_strings = on";

/// A migration that waits for a table's lock blocks everybody behind it, so it gives up after this time.
pub(crate) const MIGRATION_LOCK_TIMEOUT: &str = "lock_timeout = '5s'";
/// The name of our connections in `pg_stat_activity`.
const APPLICATION: &str = "portcullis";
/// The PostgreSQL channel on which replicas notify each other of new entries in the revocation log.
const CHANNEL: &str = "portcullis_revocations";

/// Where replicas notify each other of new entries in the revocation log.
#[derive(Clone)]
pub(crate) struct Notifications {
    /// The server, reached without a pooler between. Its login may be replaced.
    server: Arc<Mutex<PgConnectOptions>>,
    /// The channel. Each schema of a database has its own.
    pub(crate) channel: String,
}

impl Notifications {
    /// The server, with the login in force.
    pub(crate) fn server(&self) -> PgConnectOptions {
        self.server.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Connects with another login from now on.
    pub(super) fn replace_server(&self, other: &Self) {
        let server = other.server();
        *self.server.lock().unwrap_or_else(PoisonError::into_inner) = server;
    }
}

/// Returns a runner for the engine of the options.
pub(crate) fn runner(options: &StoreOptions) -> Runner {
    let (dialect, namespace) = match &options.url {
        DatabaseUrl::Sqlite { .. } => (Dialect::Sqlite, 0),
        DatabaseUrl::Postgres { url } => (Dialect::Postgres, namespace(url)),
    };
    let limit = options.acquire_timeout + options.statement_limit() + LIMIT_SLACK;
    Runner { dialect, metrics: options.metrics.clone(), limit, availability: Arc::default(), namespace }
}

/// Opens a connection outside the pools, without a limit on the duration of statements. Creates a SQLite file that
/// does not exist; refuses a PostgreSQL that is not supported, and a pooler that the address does not declare.
pub(crate) async fn open_unpooled(options: &StoreOptions) -> Result<Connection, OpenError> {
    match &options.url {
        DatabaseUrl::Sqlite { path } => {
            private_file::prepare_database_file(path)?;
            let opened = Connection::open(&sqlite_writer(path, options)).await;
            opened.map_err(|error| OpenError::from_sqlite(error, path))
        }
        DatabaseUrl::Postgres { url } => {
            let server = postgres_server(url.direct())?;
            let mut connection = Box::pin(open_any_postgres(options)).await?;
            let target = unpooled_target(url.direct(), &server);
            let shares = pooler::shares_sessions(&mut connection, &target).await;
            if shares.map_err(|error| OpenError::from_postgres(error, &server))? {
                return Err(OpenError::Pooler { address: address(&server) });
            }
            server_check::check(&runner(options), &mut connection, &address(&server)).await?;
            Ok(connection)
        }
    }
}

/// Opens a connection to a PostgreSQL of any version, which may hold another program's data.
pub(crate) async fn open_any_postgres(options: &StoreOptions) -> Result<Connection, OpenError> {
    let DatabaseUrl::Postgres { url } = &options.url else { return Err(OpenError::NotPostgres) };
    let url = url.direct();
    let server = postgres_server(url)?;
    refuse_unreadable_files(url)?;
    let target = unpooled_target(url, &server);
    let opening = tokio::time::timeout(options.acquire_timeout, Connection::open(&target)).await;
    let opened = opening.unwrap_or(Err(SqlxError::PoolTimedOut));
    opened.map_err(|error| OpenError::from_postgres(error, &server))
}

/// Opens a connection that only reads. It neither creates nor changes a SQLite file.
pub(crate) async fn open_read_only(options: &StoreOptions) -> Result<Connection, OpenError> {
    let DatabaseUrl::Sqlite { path } = &options.url else {
        return Box::pin(open_unpooled(options)).await;
    };
    let opened = async {
        let mut connection = Connection::open(&sqlite_reader(path, options)).await?;
        // SQLite reads the file only when a statement needs something from it.
        connection.script("SELECT count(*) FROM sqlite_master").await?;
        Ok(connection)
    };
    opened.await.map_err(|error| OpenError::from_sqlite(error, path))
}

/// Returns the target of SQLite's writing connection. `synchronous=FULL` syncs the log at every commit, so that an
/// acknowledged commit survives a power cut.
pub(crate) fn sqlite_writer(path: &Path, options: &StoreOptions) -> Target {
    let options = sqlite_file(path, options).journal_mode(SqliteJournalMode::Wal).synchronous(SqliteSynchronous::Full);
    Target::Sqlite(Box::new(options))
}

/// Returns the target of a SQLite connection that refuses to write.
pub(crate) fn sqlite_reader(path: &Path, options: &StoreOptions) -> Target {
    Target::Sqlite(Box::new(sqlite_file(path, options).pragma("query_only", "1")))
}

/// Returns the target of the pool's connections to a PostgreSQL server.
pub(crate) fn postgres_target(url: &PostgresUrl, server: &PgConnectOptions, options: &StoreOptions) -> Target {
    let limit = format!("statement_timeout = {}", options.statement_limit().as_millis());
    target(url, server, &[limit])
}

/// Returns the target of the connection that reads the revocation log. Every reading must find its entries by an index,
/// also while the planner knows nothing of the newest transactions.
pub(crate) fn feed_target(url: &PostgresUrl, server: &PgConnectOptions, options: &StoreOptions) -> Target {
    let limit = format!("statement_timeout = {}", options.statement_limit().as_millis());
    target(url, server, &[limit, "enable_seqscan = off".to_owned()])
}

/// Returns the target of a connection outside the pools.
fn unpooled_target(url: &PostgresUrl, server: &PgConnectOptions) -> Target {
    // A user may have a statement_timeout that a migration or a move of a large table would not keep.
    target(url, server, &[MIGRATION_LOCK_TIMEOUT.to_owned(), "statement_timeout = 0".to_owned()])
}

/// Returns a target with the settings that every connection needs and some more.
fn target(url: &PostgresUrl, server: &PgConnectOptions, more: &[String]) -> Target {
    let mut settings = vec![IDLE_TIMEOUT.to_owned(), STANDARD_STRINGS.to_owned()];
    settings.extend(url.schema().map(|schema| format!("search_path = {}", schema.quoted())));
    settings.extend_from_slice(more);
    let setup = if url.is_pooled() {
        let settings: Vec<String> = settings.iter().map(|setting| format!("SET LOCAL {setting}")).collect();
        Setup::Transaction(settings.join("; ").into())
    } else {
        settings.extend(DEAD_PEER_TIMEOUTS.map(str::to_owned));
        let settings: Vec<String> = settings.iter().map(|setting| format!("SET {setting}")).collect();
        Setup::Session(settings.join("; "))
    };
    Target::Postgres(Box::new(PostgresTarget { server: server.clone(), connect_timeout: url.connect_timeout(), setup }))
}

/// Returns where to listen for other replicas' notifications; `None` when they are switched off, and behind a pooler
/// without an address that leads past it.
pub(crate) fn notifications(options: &StoreOptions) -> Result<Option<Notifications>, OpenError> {
    let DatabaseUrl::Postgres { url } = &options.url else { return Ok(None) };
    let direct = url.direct();
    if !options.notify || direct.is_pooled() {
        return Ok(None);
    }
    let channel = match namespace(url) {
        0 => CHANNEL.to_owned(),
        namespace => format!("{CHANNEL}_{namespace:016x}"),
    };
    Ok(Some(Notifications { server: Arc::new(Mutex::new(postgres_server(direct)?)), channel }))
}

fn namespace(url: &PostgresUrl) -> u64 {
    url.schema().map_or(0, SchemaName::namespace)
}

/// Parses a PostgreSQL address for the driver.
pub(crate) fn postgres_server(url: &PostgresUrl) -> Result<PgConnectOptions, OpenError> {
    refuse_bad_ssl_mode(url)?;
    let server = PgConnectOptions::from_str(url.expose()).map_err(|error| OpenError::Other { source: error.into() })?;
    // PgBouncer refuses a start with the parameter; since version 12 the server's own value is exact.
    let server = server.extra_float_digits(None).disable_statement_logging();
    Ok(if url.names_application() { server } else { server.application_name(APPLICATION) })
}

/// Refuses a value of PGSSLMODE that the driver would ignore.
fn refuse_bad_ssl_mode(url: &PostgresUrl) -> Result<(), OpenError> {
    let mode = std::env::var("PGSSLMODE").unwrap_or_default();
    match url.chooses_tls() || mode.is_empty() || mode.parse::<PgSslMode>().is_ok() {
        true => Ok(()),
        false => Err(OpenError::SslModeVariable),
    }
}

/// Names a certificate or key that cannot be read; the driver would report that the server cannot be reached.
fn refuse_unreadable_files(url: &PostgresUrl) -> Result<(), OpenError> {
    for (option, path) in url.files() {
        if let Err(source) = std::fs::File::open(&path) {
            return Err(OpenError::TlsFile { option, path, source });
        }
    }
    Ok(())
}

/// A statement waits for another process's lock (a command run beside the server) as long as it waits for a
/// connection.
fn sqlite_file(path: &Path, options: &StoreOptions) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .foreign_keys(true)
        .busy_timeout(options.acquire_timeout)
        .disable_statement_logging()
}
