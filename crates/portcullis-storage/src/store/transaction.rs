//! A transaction: its statements, its locks, and the revocations that its commit writes.

use portcullis_model::{Revocation, SessionId, UserId};
use portcullis_telemetry::RequestScope;
use tokio::sync::Mutex;

use super::{Access, SharedState, Store, Tx};
use crate::engine::advisory_lock::AdvisoryLock;
use crate::engine::dialect::Dialect;
use crate::engine::error::StoreError;
use crate::engine::pool::Lease;
use crate::engine::row::Row;
use crate::engine::statement::{Executor, Sql};
use crate::engine::value::Value;
use crate::revocation_log;

/// Access inside one transaction.
pub struct InTransaction {
    store: Store,
    /// `None` once the transaction has ended. A mutex, because statements borrow the transaction only shared.
    lease: Mutex<Option<Lease>>,
    revocations: Vec<Revocation>,
}

impl InTransaction {
    pub(super) fn new(store: Store, lease: Lease) -> Self {
        Self { store, lease: Mutex::new(Some(lease)), revocations: Vec::new() }
    }
}

impl Tx {
    /// Makes everything durable and tells the listeners of the transaction's revocations before it returns. After an
    /// error the outcome is unknown; if the database did commit, the feed tells the listeners.
    pub async fn commit(mut self) -> Result<(), StoreError> {
        let revocations = std::mem::take(&mut self.access.revocations);
        let shared = self.access.store.access.shared.clone();
        let notified = shared.pools.notifications.as_ref().map(|to| (to.channel.as_str(), shared.replica.as_str()));
        let written = revocation_log::append(&self, &revocations, notified).await?;
        if let Some(mut lease) = self.access.lease.get_mut().take() {
            shared.pools.runner.script(&mut lease.connection, "COMMIT", "transaction", "COMMIT").await?;
            lease.connection.in_transaction = false;
        }
        shared.announcer.committed(&written, revocations);
        Ok(())
    }

    /// Waits for an advisory lock and holds it until this transaction ends. SQLite needs none: only one transaction
    /// writes at a time.
    pub(crate) async fn lock(&self, lock: AdvisoryLock) -> Result<(), StoreError> {
        if let Some(text) = self.dialect().lock() {
            let number = lock.number(self.shared().pools.runner.namespace);
            self.all(&Sql::select("locks", text), vec![number.into()]).await?;
        }
        Ok(())
    }

    /// Adds a revocation that ends one session.
    pub(crate) fn revoke_session(&mut self, user_id: UserId, session_id: SessionId, epoch: i64) {
        self.access.revocations.push(Revocation { user_id, session_id: Some(session_id), epoch, ends: true });
    }

    /// Adds a revocation that makes every cached session of a user stale, and with `ends` ends all of them.
    pub(crate) fn revoke_user(&mut self, user_id: UserId, epoch: i64, ends: bool) {
        self.access.revocations.push(Revocation { user_id, session_id: None, epoch, ends });
    }
}

impl Drop for InTransaction {
    fn drop(&mut self) {
        let Some(mut lease) = self.lease.get_mut().take() else { return };
        let runner = self.store.shared().pools.runner.clone();
        // Without a runtime, or if this fails, the pool finds the transaction open and closes the connection.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(RequestScope::current().wrap(async move {
                let undone = runner.script(&mut lease.connection, "ROLLBACK", "transaction", "ROLLBACK").await;
                lease.connection.in_transaction = undone.is_err();
            }));
        }
    }
}

impl Access for InTransaction {
    fn shared(&self) -> &SharedState {
        self.store.shared()
    }
}

impl Executor for InTransaction {
    fn dialect(&self) -> Dialect {
        self.store.dialect()
    }

    fn now_value(&self) -> Value {
        self.store.now_value()
    }

    async fn all(&self, sql: &Sql, values: Vec<Value>) -> Result<Vec<Row>, StoreError> {
        let mut lease = self.lease.lock().await;
        let lease = lease.as_mut().ok_or_else(ended)?;
        self.shared().pools.runner.all(&mut lease.connection, sql, values).await
    }

    async fn execute(&self, sql: &Sql, values: Vec<Value>) -> Result<u64, StoreError> {
        let mut lease = self.lease.lock().await;
        let lease = lease.as_mut().ok_or_else(ended)?;
        self.shared().pools.runner.execute(&mut lease.connection, sql, values).await
    }
}

fn ended() -> StoreError {
    StoreError::corrupt("a statement was run after its transaction had ended")
}
