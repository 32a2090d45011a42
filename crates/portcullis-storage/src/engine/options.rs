//! What must be known to open a database.

use std::time::Duration;

use portcullis_model::{Clock, Random};
use portcullis_telemetry::Metrics;

use super::url::DatabaseUrl;

/// How to open a [`Store`](crate::Store).
#[derive(Clone)]
pub struct StoreOptions {
    /// The database's address (`DATABASE_URL`).
    pub url: DatabaseUrl,
    /// Connections that PostgreSQL keeps open even when idle (`database.pool_min`).
    pub pool_min: u32,
    /// Most connections at once (`database.pool_max`). SQLite has one writer and up to this many readers, at most
    /// eight.
    pub pool_max: u32,
    /// Longest wait for a free connection (`database.acquire_timeout`).
    pub acquire_timeout: Duration,
    /// Longest run of one statement (`database.statement_timeout`).
    pub statement_timeout: Duration,
    /// What to do when the schema is older than this program's (`database.migrate`).
    pub migrate: MigrateMode,
    /// Longest wait while another process migrates (`database.migrate_wait`).
    pub migrate_wait: Duration,
    /// Portcullis's version, recorded beside each migration that this process applies.
    pub app_version: String,
    /// Whether PostgreSQL notifies the other replicas of revocations, see [`Store::listen`](crate::Store::listen).
    pub notify: bool,
    /// The clock that dates rows.
    pub clock: Clock,
    /// Source of the ids of rows that the store creates itself.
    pub random: Random,
    /// Where the duration and the errors of statements are counted.
    pub metrics: Metrics,
}

impl StoreOptions {
    /// Returns the options of this version of the program, with the defaults that its settings document, for a process that
    /// notifies no replicas.
    pub fn new(url: DatabaseUrl, clock: Clock, random: Random, metrics: Metrics) -> Self {
        Self {
            url,
            pool_min: 1,
            pool_max: 10,
            acquire_timeout: Duration::from_secs(3),
            statement_timeout: Duration::from_secs(10),
            migrate: MigrateMode::default(),
            migrate_wait: Duration::from_secs(600),
            app_version: env!("CARGO_PKG_VERSION").to_owned(),
            notify: false,
            clock,
            random,
            metrics,
        }
    }

    /// Returns the longest run of one statement: the address's own limit goes before the setting.
    pub(crate) fn statement_limit(&self) -> Duration {
        let of_address = match &self.url {
            DatabaseUrl::Postgres { url } => url.statement_timeout(),
            DatabaseUrl::Sqlite { .. } => None,
        };
        of_address.unwrap_or(self.statement_timeout)
    }
}

/// What a program does when the schema is older than its own (`database.migrate`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MigrateMode {
    /// Applies the pending migrations, or waits while another replica does.
    #[default]
    Auto,
    /// Refuses to start until `portcullis migrate up` has been run.
    Off,
    /// Refuses an older schema and a missing database, as every command does that is not about the schema.
    Command,
}
