//! The connections: one writer and a few readers on SQLite, one pool on PostgreSQL.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use sea_orm::sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sea_orm::sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sea_orm::sqlx::{ConnectOptions, Connection, Error as SqlxError};
use sea_orm::{DatabaseConnection, DatabaseTransaction, SqliteTransactionMode, TransactionOptions, TransactionTrait};

use crate::dialect::Dialect;
use crate::error::StoreError;
use crate::open::{OpenError, StoreOptions};
use crate::statement::Runner;
use crate::url::DatabaseUrl;
use crate::{migrate, open};

/// How long SQLite waits for a lock that another process holds, such as a command run beside the server.
const SQLITE_BUSY: Duration = Duration::from_secs(5);
/// SQLite readers run beside each other and the writer; more of them than this only cost memory.
const SQLITE_READERS: u32 = 8;
/// An idle connection is tried before use when it has been idle this long: a server that restarted meanwhile
/// then costs a reconnect, not an error. Not on every use, which would double each statement.
const TRIED_AFTER_IDLE: Duration = Duration::from_secs(1);

/// Connections and the engine that they lead to.
pub(crate) struct Engine {
    pub(crate) runner: Runner,
    /// Takes every write. On SQLite a single connection, so that writers queue here and not on the file.
    pub(crate) writer: DatabaseConnection,
    /// Takes every read outside a transaction.
    pub(crate) reader: DatabaseConnection,
}

impl Engine {
    /// Opens the database and brings its schema up to date.
    pub(crate) async fn open(options: &StoreOptions) -> Result<Self, OpenError> {
        let engine = match &options.url {
            DatabaseUrl::Sqlite { path } => {
                open::prepare_file(path)?;
                let file = SqliteConnectOptions::new()
                    .filename(path)
                    .foreign_keys(true)
                    .busy_timeout(SQLITE_BUSY)
                    .disable_statement_logging();
                // FULL syncs the log at every commit: what is acknowledged survives a power cut.
                let writing = file.clone().journal_mode(SqliteJournalMode::Wal).synchronous(SqliteSynchronous::Full);
                let writer = sqlite_pool(options, 1)
                    .connect_with(writing)
                    .await
                    .map_err(|error| OpenError::from_sqlite(error, path))?;
                let readers = options.pool_max.clamp(1, SQLITE_READERS);
                let reader = sqlite_pool(options, readers).connect_lazy_with(file.pragma("query_only", "1"));
                observe_sqlite(options, &writer, &reader);
                Self::new(Dialect::Sqlite, options, writer.into(), reader.into())
            }
            DatabaseUrl::Postgres { url } => {
                let server = PgConnectOptions::from_str(url.expose())
                    .map_err(|error| OpenError::Other { source: error.into() })?
                    .application_name("portcullis")
                    .disable_statement_logging();
                let pool = postgres_pool(options, &server).await?;
                observe_postgres(options, &pool);
                Self::new(Dialect::Postgres, options, pool.clone().into(), pool.into())
            }
        };
        migrate::migrate(&engine, &options.clock).await?;
        Ok(engine)
    }

    fn new(dialect: Dialect, options: &StoreOptions, writer: DatabaseConnection, reader: DatabaseConnection) -> Self {
        Self { runner: Runner { dialect, metrics: options.metrics.clone() }, writer, reader }
    }

    /// Begins a transaction that may write. On SQLite it is alone from here on (`BEGIN IMMEDIATE`), so that it
    /// never has to give up half-way because another wrote first.
    pub(crate) async fn begin(&self) -> Result<DatabaseTransaction, StoreError> {
        let mode = (self.runner.dialect == Dialect::Sqlite).then_some(SqliteTransactionMode::Immediate);
        let options = TransactionOptions { sqlite_transaction_mode: mode, ..TransactionOptions::default() };
        self.runner.measure("BEGIN", "transaction", self.writer.begin_with_options(options)).await
    }

    /// Waits for running statements and closes every connection.
    pub(crate) async fn close(&self) {
        for pool in [&self.reader, &self.writer] {
            if let Err(error) = pool.close_by_ref().await {
                tracing::warn!(error = &error as &dyn std::error::Error, "a database pool did not close cleanly");
            }
        }
    }
}

fn sqlite_pool(options: &StoreOptions, connections: u32) -> SqlitePoolOptions {
    SqlitePoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(options.acquire_timeout)
        .test_before_acquire(false)
        .idle_timeout(None)
        .max_lifetime(None)
}

async fn postgres_pool(options: &StoreOptions, server: &PgConnectOptions) -> Result<PgPool, OpenError> {
    let made = PgPoolOptions::new()
        .min_connections(options.pool_min.min(options.pool_max))
        .max_connections(options.pool_max.max(1))
        .acquire_timeout(options.acquire_timeout)
        .test_before_acquire(false)
        .before_acquire(|connection, found| {
            Box::pin(async move {
                if found.idle_for >= TRIED_AFTER_IDLE {
                    connection.ping().await?;
                }
                Ok(true)
            })
        })
        .connect_with(server.clone())
        .await;
    match made {
        Ok(pool) => Ok(pool),
        // The pool tries until its time is up and then no longer knows why.
        Err(SqlxError::PoolTimedOut) => {
            let reason = match tokio::time::timeout(options.acquire_timeout, server.connect()).await {
                Ok(Err(error)) => error,
                Ok(Ok(_)) | Err(_) => SqlxError::PoolTimedOut,
            };
            Err(OpenError::from_postgres(reason, server))
        }
        Err(error) => Err(OpenError::from_postgres(error, server)),
    }
}

const POOL_SIZE: (&str, &str) = ("database_pool_connections", "Open database connections.");
const POOL_IDLE: (&str, &str) = ("database_pool_idle_connections", "Open database connections that nobody uses.");

fn observe_sqlite(options: &StoreOptions, writer: &SqlitePool, reader: &SqlitePool) {
    let pools = Arc::new([writer.clone(), reader.clone()]);
    let idle = Arc::clone(&pools);
    let size = move || pools.iter().map(|pool| f64::from(pool.size())).sum();
    options.metrics.gauge_fn(POOL_SIZE.0, POOL_SIZE.1, Box::new(size));
    let idle = move || idle.iter().map(|pool| as_sample(pool.num_idle())).sum();
    options.metrics.gauge_fn(POOL_IDLE.0, POOL_IDLE.1, Box::new(idle));
}

fn observe_postgres(options: &StoreOptions, pool: &PgPool) {
    let (size, idle) = (pool.clone(), pool.clone());
    options.metrics.gauge_fn(POOL_SIZE.0, POOL_SIZE.1, Box::new(move || f64::from(size.size())));
    options.metrics.gauge_fn(POOL_IDLE.0, POOL_IDLE.1, Box::new(move || as_sample(idle.num_idle())));
}

fn as_sample(connections: usize) -> f64 {
    u32::try_from(connections).map_or(f64::MAX, f64::from)
}
