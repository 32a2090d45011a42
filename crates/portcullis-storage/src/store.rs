//! The database as the rest of the program sees it: a [`Store`], and the transactions ([`Tx`]) that it begins.

pub(crate) mod database_clock;
mod durability;
mod open;
mod transaction;

use std::sync::Arc;

use portcullis_model::{Clock, Random, ReplicaNotifier, RevocationListener};
use portcullis_telemetry::Metrics;

use crate::audit::Gathering;
use crate::audit_addresses::AuditAddresses;
use crate::engine::dialect::Dialect;
use crate::engine::error::StoreError;
use crate::engine::open_error::OpenError;
use crate::engine::pools::Pools;
use crate::engine::row::Row;
use crate::engine::statement::{Executor, NO_TABLE, Sql};
use crate::engine::url::DatabaseUrl;
use crate::engine::value::Value;
use crate::revocation_log::Announcer;

pub(crate) use transaction::InTransaction;

/// The database, reached through the pools ([`Store`]) or inside one transaction ([`Tx`]).
///
/// A read that works on both is one function of `impl<A: Access> Database<A>`. What only a transaction may do is a
/// function of `impl Tx`; what needs no transaction, of `impl Store`.
#[derive(Clone)]
pub struct Database<A> {
    pub(crate) access: A,
}

/// A handle on the database that is cheap to clone. Each statement runs by itself, on whichever connection is free.
pub type Store = Database<Pooled>;

/// One transaction. Dropping it without [`commit`](Tx::commit) rolls it back.
///
/// The revocations of a transaction are written last, by the commit: between an entry's time and the moment when others
/// can see it there is then no waiting for locks.
pub type Tx = Database<InTransaction>;

/// Access through the pools.
#[derive(Clone)]
pub struct Pooled {
    pub(crate) shared: Arc<SharedState>,
}

/// What all handles on one database share.
pub(crate) struct SharedState {
    pub(crate) pools: Pools,
    pub(crate) clock: Clock,
    pub(crate) random: Random,
    pub(crate) announcer: Announcer,
    pub(crate) audit_addresses: AuditAddresses,
    pub(crate) audit_gathering: Gathering,
    /// Distinguishes this process's notifications from those of other replicas.
    pub(crate) replica: String,
}

/// A way to run statements that also leads to what all handles share.
pub(crate) trait Access: Executor {
    fn shared(&self) -> &SharedState;
}

static PING: Sql = Sql::select(NO_TABLE, "SELECT 1 AS one");

impl<A: Access> Database<A> {
    pub(crate) fn shared(&self) -> &SharedState {
        self.access.shared()
    }
}

impl Store {
    /// Checks that the database answers.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.one(&PING, vec![]).await.map(|_| ())
    }

    /// Begins a transaction. On SQLite no other write runs until it ends, so nothing slow may happen inside it.
    pub async fn begin(&self) -> Result<Tx, StoreError> {
        let lease = self.shared().pools.begin().await?;
        Ok(Database { access: InTransaction::new(self.clone(), lease) })
    }

    /// Registers a listener for revocations. It hears of those made through this store right after their commit, and
    /// of other replicas' revocations by the feed. It is held weakly, so that a listener may hold the store.
    pub fn subscribe<L: RevocationListener>(&self, listener: &Arc<L>) {
        self.shared().announcer.subscribe(listener);
    }

    /// Calls this notifier after each commit that appends to the revocation log. Only the first call has an effect.
    pub fn set_replica_notifier(&self, notifier: Arc<dyn ReplicaNotifier>) {
        self.shared().announcer.set_notifier(notifier);
    }

    /// Returns the metrics in which statements are measured.
    pub fn metrics(&self) -> &Metrics {
        &self.shared().pools.runner.metrics
    }

    /// Closes connections that have been idle for ten minutes.
    pub fn close_idle_connections(&self) {
        self.shared().pools.shrink();
    }

    /// Returns this process's name among the replicas: random, new at every start.
    pub fn replica(&self) -> &str {
        &self.shared().replica
    }

    /// Returns the clock that dates rows.
    pub fn clock(&self) -> &Clock {
        &self.shared().clock
    }

    /// Returns `sqlite` or `postgresql`.
    pub fn engine(&self) -> &'static str {
        self.dialect().name()
    }

    /// Connects with the login of this address from now on, if it leads to the same PostgreSQL database. Returns whether it
    /// does; another database needs another store.
    ///
    /// # Errors
    /// When the server does not accept the login. Then nothing changes.
    pub async fn replace_login(&self, url: &DatabaseUrl) -> Result<bool, OpenError> {
        self.shared().pools.replace_login(url).await
    }

    /// Waits for running statements and closes every connection. Later calls fail with [`StoreError::Unavailable`].
    pub async fn close(&self) {
        self.shared().pools.close().await;
    }
}

impl Access for Pooled {
    fn shared(&self) -> &SharedState {
        &self.shared
    }
}

impl Executor for Pooled {
    fn dialect(&self) -> Dialect {
        self.shared.pools.runner.dialect
    }

    fn now_value(&self) -> Value {
        self.dialect().now_value(&self.shared.clock)
    }

    async fn all(&self, sql: &Sql, values: Vec<Value>) -> Result<Vec<Row>, StoreError> {
        let pools = &self.shared.pools;
        let pool = if sql.reads() { &pools.reader } else { &pools.writer };
        let work = async { Ok(pool.acquire().await?.connection.all(sql.text.clone(), values).await?) };
        pools.runner.measure(sql.operation, sql.table, work).await
    }

    async fn execute(&self, sql: &Sql, values: Vec<Value>) -> Result<u64, StoreError> {
        let pools = &self.shared.pools;
        let work = async { Ok(pools.writer.acquire().await?.connection.execute(sql.text.clone(), values).await?) };
        pools.runner.measure(sql.operation, sql.table, work).await
    }
}

impl<A: Access> Executor for Database<A> {
    fn dialect(&self) -> Dialect {
        self.access.dialect()
    }

    fn now_value(&self) -> Value {
        self.access.now_value()
    }

    fn all(&self, sql: &Sql, values: Vec<Value>) -> impl Future<Output = Result<Vec<Row>, StoreError>> + Send {
        self.access.all(sql, values)
    }

    fn execute(&self, sql: &Sql, values: Vec<Value>) -> impl Future<Output = Result<u64, StoreError>> + Send {
        self.access.execute(sql, values)
    }
}
