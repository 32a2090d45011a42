//! A database for one test, the clock that the test sets, and the rows that it needs.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use portcullis_model::{Clock, Random, Revocation, RevocationListener, SessionId, Timestamp, UserId};
use portcullis_storage::{AuditEvent, DatabaseUrl, EndReason, OpenError, Outcome, Store, StoreError, StoreOptions, Tx};
use portcullis_telemetry::{Metrics, MetricsOptions};
use portcullis_testkit::{PrivateDatabase, RawConnection};

use crate::builders::{SessionBuilder, UserBuilder};

pub(crate) struct TestDatabase {
    pub(crate) clock: Clock,
    pub(crate) random: Random,
    pub(crate) url: DatabaseUrl,
    database: PrivateDatabase,
}

impl From<PrivateDatabase> for TestDatabase {
    fn from(database: PrivateDatabase) -> Self {
        let url = DatabaseUrl::parse(database.url()).expect("the test kit gives an address");
        Self { clock: Clock::adjustable(), random: Random::system(), url, database }
    }
}

impl TestDatabase {
    pub(crate) fn sqlite() -> Self {
        PrivateDatabase::sqlite().into()
    }

    pub(crate) fn postgres() -> Self {
        PrivateDatabase::postgres().into()
    }

    /// Returns a database that the test itself starts and stops.
    pub(crate) fn at(url: &str) -> Self {
        PrivateDatabase::at(url).into()
    }

    /// Returns the SQLite file at this path, whether it exists or not.
    pub(crate) fn at_file(path: &std::path::Path) -> Self {
        PrivateDatabase::at_file(path).into()
    }

    pub(crate) fn options(&self) -> (StoreOptions, Metrics) {
        let metrics = Metrics::new(&MetricsOptions::default(), "test");
        let defaults = StoreOptions::new(self.url.clone(), self.clock.clone(), self.random.clone(), metrics.clone());
        let acquire_timeout = Duration::from_secs(10);
        let options = StoreOptions { pool_min: 0, pool_max: 4, acquire_timeout, notify: true, ..defaults };
        (options, metrics)
    }

    /// Opens a store. Each call stands for another replica.
    pub(crate) async fn store(&self) -> Store {
        self.measured_store().await.0
    }

    /// Opens a store together with the metrics in which its statements are counted.
    pub(crate) async fn measured_store(&self) -> (Store, Metrics) {
        let (options, metrics) = self.options();
        (Store::open(options).await.expect("the database opens"), metrics)
    }

    /// Returns the error of a database that does not open.
    pub(crate) async fn open_error(&self) -> OpenError {
        Store::open(self.options().0).await.err().expect("the database must not open")
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Starts a user with the address `<name>@example.com`: an active developer with a password.
    pub(crate) fn user(&self, name: &str) -> UserBuilder {
        UserBuilder::new(self, name)
    }

    /// Starts a session of a user, with an idle limit of seven days and an absolute limit of thirty.
    pub(crate) fn session(&self, user: UserId) -> SessionBuilder {
        SessionBuilder::new(self, user)
    }

    /// Returns an audit event without any optional field.
    pub(crate) fn event(&self, action: &'static str, outcome: Outcome) -> AuditEvent {
        AuditEvent {
            at: self.now(),
            action,
            outcome,
            actor_id: None,
            subject_id: None,
            session_id: None,
            ip: None,
            user_agent: None,
            request_id: None,
            details: None,
        }
    }

    pub(crate) fn unknown_user(&self) -> UserId {
        UserId::new(&self.clock, &self.random)
    }

    pub(crate) fn unknown_session(&self) -> SessionId {
        SessionId::new(&self.clock, &self.random)
    }

    pub(crate) fn random_hash(&self) -> [u8; 32] {
        self.random.bytes()
    }

    /// Opens a connection of the test's own.
    pub(crate) async fn raw(&self) -> RawConnection {
        self.database.connect().await
    }
}

pub(crate) fn days(n: u64) -> Duration {
    Duration::from_secs(n * 86_400)
}

pub(crate) fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// Runs `work` in a transaction and commits it.
pub(crate) async fn commit<T>(store: &Store, work: impl AsyncFnOnce(&mut Tx) -> Result<T, StoreError>) -> T {
    let mut tx = store.begin().await.expect("the transaction begins");
    let result = work(&mut tx).await.expect("the statements run");
    tx.commit().await.expect("the transaction commits");
    result
}

/// Runs `work` in a transaction and rolls it back.
pub(crate) async fn roll_back<T>(store: &Store, work: impl AsyncFnOnce(&mut Tx) -> Result<T, StoreError>) -> T {
    let mut tx = store.begin().await.expect("the transaction begins");
    work(&mut tx).await.expect("the statements run")
}

/// Runs `work` in a transaction and returns its error.
pub(crate) async fn error_of<T>(store: &Store, work: impl AsyncFnOnce(&mut Tx) -> Result<T, StoreError>) -> StoreError {
    let mut tx = store.begin().await.expect("the transaction begins");
    match work(&mut tx).await {
        Err(error) => error,
        Ok(_) => tx.commit().await.expect_err("the statements or the commit fail"),
    }
}

/// Ends a session by logout; `false` if it had ended.
pub(crate) async fn end(store: &Store, id: SessionId, at: Timestamp) -> bool {
    commit(store, async |tx| tx.end_session(id, EndReason::Logout, at).await).await
}

/// A listener that remembers every revocation.
#[derive(Default)]
pub(crate) struct RecordingListener(Mutex<Vec<Revocation>>);

impl RecordingListener {
    /// Subscribes a listener to a store.
    pub(crate) fn on(store: &Store) -> Arc<Self> {
        let listener = Arc::new(Self::default());
        store.subscribe(&listener);
        listener
    }

    pub(crate) fn revocations(&self) -> Vec<Revocation> {
        self.0.lock().expect("not poisoned").clone()
    }
}

impl RevocationListener for RecordingListener {
    fn revoked(&self, revocation: &Revocation) {
        self.0.lock().expect("not poisoned").push(revocation.clone());
    }
}
