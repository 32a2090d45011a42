//! The pools of a store: one writer and a few readers on SQLite, one pool on PostgreSQL.

use std::sync::Arc;

use portcullis_telemetry::{Metrics, ReadMetric};

use super::connect::{self, Notifications};
use super::connection::Connection;
use super::dialect::Dialect;
use super::error::StoreError;
use super::open_error::OpenError;
use super::options::StoreOptions;
use super::pool::{Lease, Pool, PoolStatus};
use super::statement::Runner;
use super::url::DatabaseUrl;

/// Most SQLite readers. They run beside each other and beside the writer; more would only cost memory.
const SQLITE_READERS: u32 = 8;

/// The operations of a gateway that serves, of which `database_errors_total` has a counter from the beginning.
const OPERATIONS: [&str; 6] = ["SELECT", "INSERT", "UPDATE", "DELETE", "BEGIN", "COMMIT"];

/// The connections to one database.
pub(crate) struct Pools {
    pub(crate) runner: Runner,
    /// Runs every write. On SQLite it has a single connection, so that writers queue here and not on the file.
    pub(crate) writer: Pool,
    /// Runs every read outside a transaction.
    pub(crate) reader: Pool,
    /// A single connection that only the revocation feed reads on, so that no other work delays it.
    pub(crate) feed: Pool,
    /// Where to listen for other replicas' notifications; `None` on SQLite and when they are switched off.
    pub(crate) notifications: Option<Notifications>,
    /// How they were opened.
    options: StoreOptions,
}

impl Pools {
    /// Opens the least number of connections. The schema must be up to date.
    pub(crate) async fn open(options: &StoreOptions) -> Result<Self, OpenError> {
        let pool = |target, least, most| Pool::new(target, least, most, options.acquire_timeout);
        let runner = connect::runner(options);
        let pools = match &options.url {
            DatabaseUrl::Sqlite { path } => {
                let writer = pool(connect::sqlite_writer(path, options), 1, 1);
                writer.fill().await.map_err(|error| OpenError::from_sqlite(error, path))?;
                let readers = options.pool_max.clamp(1, SQLITE_READERS);
                let reader = pool(connect::sqlite_reader(path, options), 1, readers);
                let feed = pool(connect::sqlite_reader(path, options), 0, 1);
                Self { runner, writer, reader, feed, notifications: None, options: options.clone() }
            }
            DatabaseUrl::Postgres { url } => {
                let server = connect::postgres_server(url)?;
                let target = connect::postgres_target(url, &server, options);
                let notifications = connect::notifications(options)?;
                let feed = pool(connect::feed_target(url, &server, options), 0, 1);
                let pool = pool(target, options.pool_min, options.pool_max);
                pool.fill().await.map_err(|error| OpenError::from_postgres(error, &server))?;
                Self { runner, writer: pool.clone(), reader: pool, feed, notifications, options: options.clone() }
            }
        };
        pools.register_metrics(&options.metrics);
        Ok(pools)
    }

    /// Connects with the login of this address from now on, if it leads to the same database and the server accepts it.
    /// Connections that are open are replaced before their next use. Returns whether it leads to the same database.
    pub(crate) async fn replace_login(&self, url: &DatabaseUrl) -> Result<bool, OpenError> {
        let (DatabaseUrl::Postgres { url: opened }, DatabaseUrl::Postgres { url: new }) = (&self.options.url, url)
        else {
            return Ok(false);
        };
        if !new.leads_where(opened) {
            return Ok(false);
        }
        let options = StoreOptions { url: url.clone(), ..self.options.clone() };
        let server = connect::postgres_server(new)?;
        let target = connect::postgres_target(new, &server, &options);
        let opening = tokio::time::timeout(options.acquire_timeout, Box::pin(Connection::open(&target))).await;
        let opened = opening.unwrap_or(Err(sqlx::Error::PoolTimedOut));
        let connection = opened.map_err(|error| OpenError::from_postgres(error, &server))?;
        if let Err(error) = connection.close().await {
            tracing::debug!(error = &error as &dyn std::error::Error, "a database connection did not close cleanly");
        }
        let notifications = connect::notifications(&options)?;
        self.writer.replace_target(target);
        self.feed.replace_target(connect::feed_target(new, &server, &options));
        if let (Some(old), Some(new)) = (&self.notifications, &notifications) {
            old.replace_server(new);
        }
        Ok(true)
    }

    /// Begins a transaction that may write.
    pub(crate) async fn begin(&self) -> Result<Lease, StoreError> {
        let work = async {
            let mut lease = self.writer.acquire().await?;
            lease.connection.begin(self.runner.dialect.begin()).await?;
            Ok(lease)
        };
        self.runner.measure("BEGIN", "transaction", work).await
    }

    /// Closes connections that have been idle for ten minutes.
    pub(crate) fn shrink(&self) {
        self.reader.shrink();
        self.writer.shrink();
    }

    /// Waits for running statements and closes every connection.
    pub(crate) async fn close(&self) {
        self.feed.close().await;
        self.reader.close().await;
        self.writer.close().await;
    }

    fn register_metrics(&self, metrics: &Metrics) {
        for operation in OPERATIONS {
            for kind in StoreError::KINDS {
                metrics.begin_database_errors(operation, kind);
            }
        }
        let mut pools = vec![self.writer.clone()];
        if self.runner.dialect == Dialect::Sqlite {
            pools.push(self.reader.clone());
        }
        let of_pools = |metric, of: fn(PoolStatus) -> usize| {
            let pools = pools.clone();
            metrics.read_value(metric, move || Some(pools.iter().map(|pool| as_sample(of(pool.status()))).sum()));
        };
        let availability = Arc::clone(&self.runner.availability);
        let up = move || Some(f64::from(u8::from(availability.is_available())));
        metrics.read_value(ReadMetric::DatabaseUp, up);
        of_pools(ReadMetric::DatabasePoolConnections, |pool| pool.size);
        of_pools(ReadMetric::DatabasePoolIdleConnections, |pool| pool.idle);
        of_pools(ReadMetric::DatabasePoolWaiting, |pool| pool.waiting);
    }
}

fn as_sample(connections: usize) -> f64 {
    u32::try_from(connections).map_or(f64::MAX, f64::from)
}
