//! The Store: a handle on the database that is cheap to clone.

use std::sync::Arc;

use crate::value::Value;
use portcullis_model::{Clock, Random, ReplicaNotifier, RevocationListener, Timestamp};

use crate::audit_gathering::Gathering;
use crate::dialect::Dialect;
use crate::engine::Engine;
use crate::error::StoreError;
use crate::open::{OpenError, StoreOptions};
use crate::revocation::Announcer;
use crate::row::Row;
use crate::statement::{Runs, Sql};
use crate::tx::Tx;

/// The database. Reads run here, each by itself; writes that belong together run in a [`Tx`].
#[derive(Clone)]
pub struct Store {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) engine: Engine,
    pub(crate) clock: Clock,
    pub(crate) random: Random,
    pub(crate) announcer: Announcer,
    pub(crate) gathering: Gathering,
    /// Tells this process's notifications from others'.
    pub(crate) replica: String,
}

static PING: Sql = Sql::select("none", "SELECT 1 AS one");

impl Store {
    /// Opens the database, making and migrating it as needed.
    pub async fn open(options: StoreOptions) -> Result<Self, OpenError> {
        let engine = Engine::open(&options).await?;
        let StoreOptions { clock, random, .. } = options;
        let replica = random.hex::<8>();
        let (announcer, gathering) = (Announcer::default(), Gathering::default());
        Ok(Self { inner: Arc::new(Inner { engine, clock, random, announcer, gathering, replica }) })
    }

    /// Whether the database answers.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.one(&PING, vec![]).await.map(|_| ())
    }

    /// Begins a transaction. On SQLite no other write runs until it ends, so nothing slow belongs into one.
    pub async fn begin(&self) -> Result<Tx, StoreError> {
        let lease = self.inner.engine.begin().await?;
        Ok(Tx::new(self.clone(), lease))
    }

    /// Registers a listener for revocations: told of those made through this store right after their commit, and
    /// of others' by the feed. Held weakly, so that a listener may itself hold the store.
    pub fn subscribe<L: RevocationListener>(&self, listener: &Arc<L>) {
        self.inner.announcer.subscribe(listener);
    }

    /// Calls this notifier after each commit that appends to the revocation log. Only the first call has an effect.
    pub fn set_replica_notifier(&self, notifier: Arc<dyn ReplicaNotifier>) {
        self.inner.announcer.set_notifier(notifier);
    }

    /// The database's time.
    pub async fn now(&self) -> Result<Timestamp, StoreError> {
        let text = format!("SELECT {} AS db_now", self.dialect().now("$1"));
        let row = self.one(&PING.with_text(text), vec![self.now_value()]).await?;
        row.ok_or_else(|| StoreError::corrupt("a SELECT without FROM gave no row"))?.time("db_now")
    }

    /// The clock by which rows are dated.
    pub fn clock(&self) -> &Clock {
        &self.inner.clock
    }

    /// `sqlite` or `postgresql`.
    pub fn engine(&self) -> &'static str {
        self.dialect().name()
    }

    /// Waits for running statements and closes every connection. Later calls answer `Unavailable`.
    pub async fn close(&self) {
        self.inner.engine.close().await;
    }
}

impl Runs for Store {
    fn dialect(&self) -> Dialect {
        self.inner.engine.runner.dialect
    }

    fn now_value(&self) -> Value {
        self.dialect().now_value(&self.inner.clock)
    }

    async fn all(&self, sql: &Sql, values: Vec<Value>) -> Result<Vec<Row>, StoreError> {
        let engine = &self.inner.engine;
        let pool = if sql.reads() { &engine.reader } else { &engine.writer };
        let work = async { Ok(pool.acquire().await?.connection.all(sql.text.clone(), values).await?) };
        engine.runner.measure(sql.operation, sql.table, work).await
    }

    async fn execute(&self, sql: &Sql, values: Vec<Value>) -> Result<u64, StoreError> {
        let engine = &self.inner.engine;
        let work = async { Ok(engine.writer.acquire().await?.connection.execute(sql.text.clone(), values).await?) };
        engine.runner.measure(sql.operation, sql.table, work).await
    }
}
