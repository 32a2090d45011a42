//! One transaction. Dropping it without a commit rolls it back.

use tokio::sync::Mutex;

use crate::dialect::{Dialect, Lock};
use crate::error::StoreError;
use crate::pool::Lease;
use crate::revocation::{self, Pending};
use crate::row::Row;
use crate::statement::{Runs, Sql};
use crate::store::Store;
use crate::value::Value;

/// Writes that belong together.
///
/// Revocations are gathered and written last, by [`commit`](Self::commit):
/// between an entry's time and the moment others can see it there is then no
/// waiting for locks, which keeps the feed's overlap short.
pub struct Tx {
    pub(crate) store: Store,
    /// Gone once the transaction has ended. A lock, because statements take a transaction by shared reference.
    lease: Mutex<Option<Lease>>,
    pub(crate) pending: Vec<Pending>,
}

impl Tx {
    pub(crate) fn new(store: Store, lease: Lease) -> Self {
        Self { store, lease: Mutex::new(Some(lease)), pending: Vec::new() }
    }

    /// Makes everything durable, then tells the listeners of the revocations in it before returning.
    /// After an error nothing may be assumed; if the commit did happen, the feed tells the listeners.
    pub async fn commit(mut self) -> Result<(), StoreError> {
        let written = revocation::append(&self, &self.pending).await?;
        let engine = &self.store.inner.engine;
        if let Some(mut lease) = self.lease.get_mut().take() {
            engine.runner.script(&mut lease.connection, "COMMIT", "transaction", "COMMIT").await?;
            lease.connection.in_transaction = false;
        }
        let pending = std::mem::take(&mut self.pending);
        self.store.inner.announcer.committed(&written, pending);
        Ok(())
    }

    /// Waits for a lock that lasts until this transaction ends. SQLite's writer is alone already.
    pub(crate) async fn lock(&self, lock: Lock) -> Result<(), StoreError> {
        if let Some(text) = self.dialect().lock() {
            self.all(&Sql::select("locks", text), vec![lock.number().into()]).await?;
        }
        Ok(())
    }
}

impl Drop for Tx {
    fn drop(&mut self) {
        let Some(mut lease) = self.lease.get_mut().take() else { return };
        let runner = self.store.inner.engine.runner.clone();
        // Without a runtime, or if this fails, the pool sees that the transaction is open and closes the connection.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                let undone = runner.script(&mut lease.connection, "ROLLBACK", "transaction", "ROLLBACK").await;
                lease.connection.in_transaction = undone.is_err();
            });
        }
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
        let mut lease = self.lease.lock().await;
        let lease = lease.as_mut().ok_or_else(ended)?;
        self.store.inner.engine.runner.all(&mut lease.connection, sql, values).await
    }

    async fn execute(&self, sql: &Sql, values: Vec<Value>) -> Result<u64, StoreError> {
        let mut lease = self.lease.lock().await;
        let lease = lease.as_mut().ok_or_else(ended)?;
        self.store.inner.engine.runner.execute(&mut lease.connection, sql, values).await
    }
}

fn ended() -> StoreError {
    StoreError::corrupt("a statement came after its transaction's end")
}
