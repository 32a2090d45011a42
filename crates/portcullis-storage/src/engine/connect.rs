//! How a connection to each engine is opened, and the settings that it gets.

use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Error as SqlxError};

use super::connection::{Connection, Target};
use super::dialect::Dialect;
use super::open_error::OpenError;
use super::options::StoreOptions;
use super::statement::Runner;
use super::url::DatabaseUrl;
use super::{private_file, server_version};

/// Added to the limit that PostgreSQL itself keeps on a statement, so that PostgreSQL's error comes first: it gives
/// the better reason.
const LIMIT_SLACK: Duration = Duration::from_secs(1);

/// Makes the server release the locks of a replica that vanished without closing its connection, as a machine does
/// that loses power.
const DEAD_PEER_TIMEOUTS: &str = "SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; \
    SET tcp_keepalives_count = 3; SET tcp_user_timeout = '30s'; SET idle_in_transaction_session_timeout = '30s'";

/// A migration that waits for a table's lock blocks everybody behind it, so it gives up after this time.
const MIGRATION_LOCK_TIMEOUT: &str = "SET lock_timeout = '5s'";

/// Returns a runner for the engine of the options.
pub(crate) fn runner(options: &StoreOptions) -> Runner {
    let dialect = match options.url {
        DatabaseUrl::Sqlite { .. } => Dialect::Sqlite,
        DatabaseUrl::Postgres { .. } => Dialect::Postgres,
    };
    let limit = options.acquire_timeout + options.statement_timeout + LIMIT_SLACK;
    Runner { dialect, metrics: options.metrics.clone(), limit, availability: Arc::default() }
}

/// Opens a connection outside the pools, without a limit on the duration of statements. Creates a SQLite file that
/// does not exist; refuses a PostgreSQL that is too old.
pub(crate) async fn open_unpooled(options: &StoreOptions) -> Result<Connection, OpenError> {
    match &options.url {
        DatabaseUrl::Sqlite { path } => {
            private_file::prepare_database_file(path)?;
            let opened = Connection::open(&sqlite_writer(path, options)).await;
            opened.map_err(|error| OpenError::from_sqlite(error, path))
        }
        DatabaseUrl::Postgres { url } => {
            let server = postgres_server(url.expose())?;
            let mut connection = Box::pin(open_any_postgres(options)).await?;
            server_version::check(&runner(options), &mut connection, &server).await?;
            Ok(connection)
        }
    }
}

/// Opens a connection to a PostgreSQL of any version, which may hold another program's data.
pub(crate) async fn open_any_postgres(options: &StoreOptions) -> Result<Connection, OpenError> {
    let DatabaseUrl::Postgres { url } = &options.url else { return Err(OpenError::NotPostgres) };
    let server = postgres_server(url.expose())?;
    let setup = format!("{DEAD_PEER_TIMEOUTS}; {MIGRATION_LOCK_TIMEOUT}");
    let target = Target::Postgres { server: Box::new(server.clone()), setup };
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
pub(crate) fn postgres_target(server: &PgConnectOptions, options: &StoreOptions) -> Target {
    let millis = options.statement_timeout.as_millis();
    let setup = format!("{DEAD_PEER_TIMEOUTS}; SET statement_timeout = {millis}");
    Target::Postgres { server: Box::new(server.clone()), setup }
}

/// Parses a PostgreSQL address.
pub(crate) fn postgres_server(url: &str) -> Result<PgConnectOptions, OpenError> {
    let server = PgConnectOptions::from_str(url).map_err(|error| OpenError::Other { source: error.into() })?;
    Ok(server.application_name("portcullis").disable_statement_logging())
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
