//! A database of the test's own, replicas on it, a clock that the test sets, and users to put in.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use portcullis_model::{
    Amr, Clock, Email, ProfileName, Random, Revocation, RevocationListener, Role, RolePermissions, SecretString,
    SessionId, Transport, User, UserId, Username,
};
use portcullis_sessions::{RevocationFeed, SessionCache, SessionCacheOptions};
use portcullis_storage::{DatabaseUrl, EndReason, NewSession, NewUser, Store, StoreOptions};
use portcullis_telemetry::{Metrics, MetricsOptions};
use portcullis_testkit::{PrivateDatabase, RawConnection};

pub(crate) struct TestDatabase {
    pub(crate) clock: Clock,
    pub(crate) random: Random,
    database: PrivateDatabase,
}

impl From<PrivateDatabase> for TestDatabase {
    fn from(database: PrivateDatabase) -> Self {
        Self { clock: Clock::adjustable(), random: Random::system(), database }
    }
}

/// A replica: a store with a cache and a feed on it.
pub(crate) struct Replica {
    pub(crate) store: Store,
    pub(crate) metrics: Metrics,
    pub(crate) cache: Arc<SessionCache>,
    pub(crate) feed: Arc<RevocationFeed>,
}

impl TestDatabase {
    pub(crate) fn postgres() -> Self {
        PrivateDatabase::postgres().into()
    }

    /// Returns a database that the test itself starts and stops.
    pub(crate) fn at(url: &str) -> Self {
        PrivateDatabase::at(url).into()
    }

    pub(crate) fn options(&self) -> StoreOptions {
        let url = DatabaseUrl::parse(self.database.url()).expect("the test kit gives an address");
        let metrics = Metrics::new(&MetricsOptions::default(), "test");
        let defaults = StoreOptions::new(url, self.clock.clone(), self.random.clone(), metrics);
        let acquire_timeout = Duration::from_secs(10);
        StoreOptions { pool_min: 0, pool_max: 4, acquire_timeout, notify: true, ..defaults }
    }

    /// One more replica, whose feed has been read once.
    pub(crate) async fn replica(&self) -> Replica {
        self.replica_with(self.options()).await
    }

    pub(crate) async fn replica_with(&self, options: StoreOptions) -> Replica {
        let replica = Self::unread_replica(options, SessionCacheOptions::default()).await;
        replica.feed.read().await.expect("the log is readable");
        replica
    }

    pub(crate) async fn unread_replica(options: StoreOptions, cache: SessionCacheOptions) -> Replica {
        let metrics = options.metrics.clone();
        let store = Store::open(options).await.expect("the database opens");
        let cache = SessionCache::new(&store, RolePermissions::default(), cache);
        let feed = RevocationFeed::new(&store, &cache);
        Replica { store, metrics, cache, feed }
    }

    pub(crate) async fn user(&self, store: &Store, name: &str) -> User {
        let now = self.clock.now();
        let user = User {
            id: UserId::new(&self.clock, &self.random),
            email: Email::parse(&format!("{name}@example.com")).expect("valid"),
            username: Username::parse(name).expect("valid"),
            first_name: ProfileName::parse("First name", "Ada").expect("valid"),
            last_name: ProfileName::parse("Last name", "Lovelace").expect("valid"),
            avatar: None,
            role: Role::Developer,
            is_active: true,
            email_verified_at: None,
            last_login_at: None,
            created_at: now,
            updated_at: now,
        };
        let new = NewUser { user, password_hash: Some(SecretString::new("$argon2id$stand-in")) };
        let mut tx = store.begin().await.expect("begins");
        tx.insert_user(&new).await.expect("is new");
        tx.commit().await.expect("commits");
        new.user
    }

    /// Stores a session of this user.
    pub(crate) async fn session(&self, store: &Store, user_id: UserId) -> SessionId {
        let now = self.clock.now();
        let new = NewSession {
            id: SessionId::new(&self.clock, &self.random),
            user_id,
            refresh_hash: self.random.bytes(),
            created_at: now,
            idle_expires_at: now + days(7),
            absolute_expires_at: now + days(30),
            remember: true,
            transport: Transport::Cookie,
            ip: None,
            user_agent: None,
            amr: vec![Amr::Password],
            user_epoch: 1,
        };
        let mut tx = store.begin().await.expect("begins");
        tx.insert_session(&new).await.expect("is new");
        tx.commit().await.expect("commits");
        new.id
    }

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

/// Ends a session in a transaction of its own.
pub(crate) async fn end(store: &Store, id: SessionId) {
    let mut tx = store.begin().await.expect("begins");
    assert!(tx.end_session(id, EndReason::Logout, store.clock().now()).await.expect("runs"));
    tx.commit().await.expect("commits");
}

/// Records revocations in the order in which a store announces them.
#[derive(Default)]
pub(crate) struct RecordingListener(Mutex<Vec<Revocation>>);

impl RecordingListener {
    pub(crate) fn on(store: &Store) -> Arc<Self> {
        let listener = Arc::new(Self::default());
        store.subscribe(&listener);
        listener
    }

    pub(crate) fn recorded(&self) -> Vec<Revocation> {
        self.0.lock().expect("not poisoned").clone()
    }
}

impl RevocationListener for RecordingListener {
    fn revoked(&self, revocation: &Revocation) {
        self.0.lock().expect("not poisoned").push(revocation.clone());
    }
}
