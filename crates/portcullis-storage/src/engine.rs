//! The connections: one writer and a few readers on SQLite, one pool on PostgreSQL.

use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use portcullis_telemetry::Metrics;
use sqlx::postgres::PgConnectOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Error as SqlxError};

use crate::connection::{Connection, Target};
use crate::dialect::Dialect;
use crate::error::StoreError;
use crate::migrate::Migrator;
use crate::open::{OpenError, StoreOptions};
use crate::pool::{Holding, Lease, Pool};
use crate::statement::Runner;
use crate::url::DatabaseUrl;
use crate::{judge, open, transfer};

/// SQLite readers run beside each other and the writer; more of them than this only cost memory.
const SQLITE_READERS: u32 = 8;
/// What our own clock allows a statement beyond the limit that PostgreSQL keeps, which gives the better reason.
const LIMIT_SLACK: Duration = Duration::from_secs(1);

/// Connections and the engine that they lead to.
pub(crate) struct Engine {
    pub(crate) runner: Runner,
    /// Takes every write. On SQLite a single connection, so that writers queue here and not on the file.
    pub(crate) writer: Pool,
    /// Takes every read outside a transaction.
    pub(crate) reader: Pool,
    /// Where other replicas' notifications come from.
    pub(crate) listening: Option<Target>,
}

impl Engine {
    /// Opens the database and brings its schema up to date.
    pub(crate) async fn open(options: &StoreOptions) -> Result<Self, OpenError> {
        let mut migrator = Migrator::connect(options).await?;
        let prepared = Box::pin(migrator.prepare(options.migrate)).await;
        let mut side = migrator.into_side();
        let unfinished = transfer::is_unfinished(&mut side).await;
        side.close().await;
        prepared?;
        if unfinished? {
            return Err(OpenError::UnfinishedMove);
        }
        let pool = |target, least, most| Pool::new(target, least, most, options.acquire_timeout);
        let engine = match &options.url {
            DatabaseUrl::Sqlite { path } => {
                let writer = pool(writing(path, options), 1, 1);
                writer.fill().await.map_err(|error| OpenError::from_sqlite(error, path))?;
                let reader = pool(reading(path, options), 1, options.pool_max.clamp(1, SQLITE_READERS));
                Self { runner: runner(options), writer, reader, listening: None }
            }
            DatabaseUrl::Postgres { url } => {
                let server = server(url.expose())?;
                let target = postgres(&server, options);
                let listening = Some(target.clone()).filter(|_| options.notify);
                let pool = pool(target, options.pool_min, options.pool_max);
                pool.fill().await.map_err(|error| OpenError::from_postgres(error, &server))?;
                Self { runner: runner(options), writer: pool.clone(), reader: pool, listening }
            }
        };
        engine.observe(&options.metrics);
        Ok(engine)
    }

    /// A connection outside the pools, without a limit of time on its statements.
    pub(crate) async fn connect_alone(options: &StoreOptions) -> Result<Connection, OpenError> {
        match &options.url {
            DatabaseUrl::Sqlite { path } => {
                open::prepare_file(path)?;
                Connection::open(&writing(path, options)).await.map_err(|error| OpenError::from_sqlite(error, path))
            }
            DatabaseUrl::Postgres { url } => {
                let server = server(url.expose())?;
                let mut connection = Box::pin(Self::connect_elsewhere(options)).await?;
                judge::server(&runner(options), &mut connection, &server).await?;
                Ok(connection)
            }
        }
    }

    /// A connection to a PostgreSQL that need not be fit for us: somebody else's data is read there.
    pub(crate) async fn connect_elsewhere(options: &StoreOptions) -> Result<Connection, OpenError> {
        let DatabaseUrl::Postgres { url } = &options.url else { return Err(OpenError::NotPostgres) };
        let server = server(url.expose())?;
        let setup = format!("{LIFELINE}; {PATIENCE}");
        let target = Target::Postgres { server: Box::new(server.clone()), setup };
        let opening = tokio::time::timeout(options.acquire_timeout, Connection::open(&target)).await;
        let opened = opening.unwrap_or(Err(SqlxError::PoolTimedOut));
        opened.map_err(|error| OpenError::from_postgres(error, &server))
    }

    /// A connection of its own that only reads. It makes no file and leaves the one that it finds as it is.
    pub(crate) async fn connect_to_read(options: &StoreOptions) -> Result<Connection, OpenError> {
        let DatabaseUrl::Sqlite { path } = &options.url else {
            return Box::pin(Self::connect_alone(options)).await;
        };
        let opened = async {
            let mut connection = Connection::open(&reading(path, options)).await?;
            // SQLite looks at the file only when it is asked for something in it.
            connection.script("SELECT count(*) FROM sqlite_master").await?;
            Ok(connection)
        };
        opened.await.map_err(|error| OpenError::from_sqlite(error, path))
    }

    /// Begins a transaction that may write.
    pub(crate) async fn begin(&self) -> Result<Lease, StoreError> {
        let work = async {
            let mut lease = self.writer.acquire().await?;
            lease.connection.script(self.runner.dialect.begin()).await?;
            lease.connection.in_transaction = true;
            Ok(lease)
        };
        self.runner.measure("BEGIN", "transaction", work).await
    }

    /// Closes connections that nobody has needed for long.
    pub(crate) fn shrink(&self) {
        self.reader.shrink();
        self.writer.shrink();
    }

    /// Waits for running statements and closes every connection.
    pub(crate) async fn close(&self) {
        self.reader.close().await;
        self.writer.close().await;
    }

    fn observe(&self, metrics: &Metrics) {
        let mut pools = vec![self.writer.clone()];
        if self.runner.dialect == Dialect::Sqlite {
            pools.push(self.reader.clone());
        }
        let gauge = |name, help, of: fn(Holding) -> usize| {
            let pools = pools.clone();
            let read = move || pools.iter().map(|pool| as_sample(of(pool.holding()))).sum();
            metrics.gauge_fn(name, help, Box::new(read));
        };
        let availability = Arc::clone(&self.runner.availability);
        let up = move || f64::from(u8::from(availability.is_available()));
        metrics.gauge_fn("database_up", "Whether the last statement reached the database.", Box::new(up));
        gauge("database_pool_connections", "Open database connections.", |pool| pool.size);
        gauge("database_pool_idle_connections", "Open database connections that nobody uses.", |pool| pool.idle);
        gauge("database_pool_waiting", "Statements that wait for a database connection.", |pool| pool.waiting);
    }
}

pub(crate) fn runner(options: &StoreOptions) -> Runner {
    let dialect = match options.url {
        DatabaseUrl::Sqlite { .. } => Dialect::Sqlite,
        DatabaseUrl::Postgres { .. } => Dialect::Postgres,
    };
    let limit = options.acquire_timeout + options.statement_timeout + LIMIT_SLACK;
    Runner { dialect, metrics: options.metrics.clone(), limit, availability: Arc::default() }
}

/// A lock that another process holds, such as a command run beside the server, is waited for as a connection is.
fn file(path: &Path, options: &StoreOptions) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .foreign_keys(true)
        .busy_timeout(options.acquire_timeout)
        .disable_statement_logging()
}

/// FULL syncs the log at every commit: what is acknowledged survives a power cut.
fn writing(path: &Path, options: &StoreOptions) -> Target {
    let options = file(path, options).journal_mode(SqliteJournalMode::Wal).synchronous(SqliteSynchronous::Full);
    Target::Sqlite(Box::new(options))
}

fn reading(path: &Path, options: &StoreOptions) -> Target {
    Target::Sqlite(Box::new(file(path, options).pragma("query_only", "1")))
}

fn server(url: &str) -> Result<PgConnectOptions, OpenError> {
    let server = PgConnectOptions::from_str(url).map_err(|error| OpenError::Other { source: error.into() })?;
    Ok(server.application_name("portcullis").disable_statement_logging())
}

/// How soon the server notices that a replica is gone, and lets go of its locks: a replica that vanished without a
/// close, as a machine does that loses power, must not keep the others waiting.
const LIFELINE: &str = "SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3; \
    SET tcp_user_timeout = '30s'; SET idle_in_transaction_session_timeout = '30s'";

/// A step that waits for a lock makes everybody else wait behind it: it gives up sooner than they do.
const PATIENCE: &str = "SET lock_timeout = '5s'";

fn postgres(server: &PgConnectOptions, options: &StoreOptions) -> Target {
    let millis = options.statement_timeout.as_millis();
    let setup = format!("{LIFELINE}; SET statement_timeout = {millis}");
    Target::Postgres { server: Box::new(server.clone()), setup }
}

fn as_sample(connections: usize) -> f64 {
    u32::try_from(connections).map_or(f64::MAX, f64::from)
}
