//! A database for one test, the clock that the test sets, and the rows that it needs.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use portcullis_model::{Clock, Random, Revocation, RevocationListener, SessionId, Timestamp, UserId};
use portcullis_storage::{
    AuditEvent, DatabaseUrl, EndReason, MigrateMode, OpenError, Outcome, Store, StoreError, StoreOptions, Tx,
};
use portcullis_telemetry::{Metrics, MetricsOptions};
use portcullis_testkit::PrivatePostgres;
use tempfile::TempDir;

use crate::builders::{SessionBuilder, UserBuilder};
use crate::raw::Raw;

pub(crate) struct TestDatabase {
    pub(crate) clock: Clock,
    pub(crate) random: Random,
    pub(crate) url: DatabaseUrl,
    _keeps_alive: KeepsAlive,
}

/// What lives as long as the test.
enum KeepsAlive {
    Folder { _folder: TempDir },
    Server { _server: PrivatePostgres },
    Nothing,
}

impl TestDatabase {
    /// Returns a new SQLite database in a folder of its own.
    pub(crate) fn sqlite() -> Self {
        let folder = tempfile::tempdir().expect("a folder can be created");
        let url = DatabaseUrl::sqlite(folder.path().join("portcullis.db"));
        Self::new(url, KeepsAlive::Folder { _folder: folder })
    }

    /// Returns a new database on a private PostgreSQL server.
    pub(crate) fn postgres() -> Self {
        let server = PrivatePostgres::shared();
        let url = DatabaseUrl::parse(&server.database()).expect("the server gives an address");
        Self::new(url, KeepsAlive::Server { _server: server })
    }

    /// Returns a database that the test itself keeps alive.
    pub(crate) fn at(url: DatabaseUrl) -> Self {
        Self::new(url, KeepsAlive::Nothing)
    }

    fn new(url: DatabaseUrl, keeps_alive: KeepsAlive) -> Self {
        Self { clock: Clock::adjustable(), random: Random::system(), url, _keeps_alive: keeps_alive }
    }

    pub(crate) fn options(&self) -> (StoreOptions, Metrics) {
        let metrics = Metrics::new(&MetricsOptions::default(), "test");
        let options = StoreOptions {
            url: self.url.clone(),
            pool_min: 0,
            pool_max: 4,
            acquire_timeout: Duration::from_secs(10),
            statement_timeout: Duration::from_secs(10),
            migrate: MigrateMode::Auto,
            migrate_wait: Duration::from_secs(60),
            app_version: "test".to_owned(),
            notify: true,
            clock: self.clock.clone(),
            random: self.random.clone(),
            metrics: metrics.clone(),
        };
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
    pub(crate) async fn raw(&self) -> Raw {
        Raw::open(&self.url).await
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
