//! One transaction. Dropping it without a commit rolls it back.

use sea_orm::{DatabaseTransaction, Value};

use crate::dialect::{Dialect, Lock};
use crate::error::StoreError;
use crate::migrate;
use crate::revocation::{self, Pending};
use crate::row::Row;
use crate::statement::{Runs, Sql};
use crate::store::Store;

/// Writes that belong together.
///
/// Revocations are gathered and written last, by [`commit`](Self::commit):
/// between an entry's time and the moment others can see it there is then no
/// waiting for locks, which keeps the feed's overlap short.
pub struct Tx {
    pub(crate) store: Store,
    transaction: DatabaseTransaction,
    pub(crate) pending: Vec<Pending>,
}

impl Tx {
    pub(crate) fn new(store: Store, transaction: DatabaseTransaction) -> Self {
        Self { store, transaction, pending: Vec::new() }
    }

    /// Makes everything durable, then tells the listeners of the revocations in it before returning.
    /// After an error nothing may be assumed; if the commit did happen, the feed tells the listeners.
    pub async fn commit(self) -> Result<(), StoreError> {
        let written = revocation::append(&self, &self.pending).await?;
        let Self { store, transaction, pending } = self;
        store.inner.engine.runner.measure("COMMIT", "transaction", transaction.commit()).await?;
        store.inner.announcer.committed(&written, pending);
        Ok(())
    }

    /// Waits for a lock that lasts until this transaction ends.
    pub(crate) async fn lock(&self, lock: Lock) -> Result<(), StoreError> {
        migrate::lock(&self.store.inner.engine, &self.transaction, lock).await
    }
}

impl Runs for Tx {
    fn dialect(&self) -> Dialect {
        self.store.dialect()
    }

    fn now_value(&self) -> Value {
        self.store.now_value()
    }

    async fn all(&self, sql: &Sql, values: Vec<Value>) -> Result<Vec<Row>, StoreError> {
        self.store.inner.engine.runner.all(&self.transaction, sql, values).await
    }

    async fn execute(&self, sql: &Sql, values: Vec<Value>) -> Result<u64, StoreError> {
        self.store.inner.engine.runner.execute(&self.transaction, sql, values).await
    }
}
