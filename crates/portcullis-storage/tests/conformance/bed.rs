//! What a test lies on: a database of its own, a clock that it sets, and people to put in.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use portcullis_model::{
    Clock, Email, ProfileName, Random, Revocation, RevocationListener, Role, SecretString, SessionId, Timestamp,
    Transport, User, UserId, Username,
};
use portcullis_storage::{DatabaseUrl, MigrateMode, NewSession, NewUser, OpenError, Store, StoreOptions};
use portcullis_telemetry::{Metrics, MetricsOptions};
use portcullis_testkit::PrivatePostgres;
use tempfile::TempDir;

use crate::raw::Raw;

pub(crate) struct Bed {
    pub(crate) clock: Clock,
    pub(crate) random: Random,
    pub(crate) url: DatabaseUrl,
    _home: Home,
}

enum Home {
    Folder { _folder: TempDir },
    Server { _server: PrivatePostgres },
    Elsewhere,
}

impl Bed {
    pub(crate) fn sqlite() -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let url = DatabaseUrl::sqlite(folder.path().join("portcullis.db"));
        Self::on(url, Home::Folder { _folder: folder })
    }

    pub(crate) fn postgres() -> Self {
        let server = PrivatePostgres::shared();
        let url = DatabaseUrl::parse(&server.database()).expect("the server gives an address");
        Self::on(url, Home::Server { _server: server })
    }

    /// On a database that the test looks after itself.
    pub(crate) fn at(url: DatabaseUrl) -> Self {
        Self::on(url, Home::Elsewhere)
    }

    fn on(url: DatabaseUrl, home: Home) -> Self {
        Self { clock: Clock::adjustable(), random: Random::system(), url, _home: home }
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

    /// A store on the database; each call is another replica.
    pub(crate) async fn store(&self) -> Store {
        self.measured_store().await.0
    }

    pub(crate) async fn measured_store(&self) -> (Store, Metrics) {
        let (options, metrics) = self.options();
        (Store::open(options).await.expect("the database opens"), metrics)
    }

    pub(crate) async fn refusal(&self) -> OpenError {
        match Store::open(self.options().0).await {
            Ok(_) => panic!("the database opened"),
            Err(error) => error,
        }
    }

    pub(crate) fn person(&self, name: &str) -> NewUser {
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
        NewUser { user, password_hash: Some(SecretString::new("$argon2id$stand-in")) }
    }

    /// Stores a person.
    pub(crate) async fn someone(&self, store: &Store, name: &str) -> User {
        let new = self.person(name);
        let mut tx = store.begin().await.expect("begins");
        tx.insert_user(&new).await.expect("is new");
        tx.commit().await.expect("commits");
        new.user
    }

    pub(crate) fn session(&self, user_id: UserId) -> NewSession {
        let now = self.clock.now();
        NewSession {
            id: SessionId::new(&self.clock, &self.random),
            user_id,
            refresh_hash: self.random.bytes(),
            created_at: now,
            idle_expires_at: now + days(7),
            absolute_expires_at: now + days(30),
            remember: true,
            transport: Transport::Cookie,
            ip: Some("2001:db8::1".parse().expect("an address")),
            user_agent: Some("Mozilla/5.0".to_owned()),
            amr: vec!["pwd".to_owned(), "otp".to_owned()],
        }
    }

    /// Stores a session of this person.
    pub(crate) async fn signed_in(&self, store: &Store, user_id: UserId) -> NewSession {
        let new = self.session(user_id);
        let mut tx = store.begin().await.expect("begins");
        tx.insert_session(&new).await.expect("is new");
        tx.commit().await.expect("commits");
        new
    }

    pub(crate) fn hash(&self) -> [u8; 32] {
        self.random.bytes()
    }

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

/// Hears revocations.
#[derive(Default)]
pub(crate) struct Ear(Mutex<Vec<Revocation>>);

impl Ear {
    /// An ear on this store.
    pub(crate) fn on(store: &Store) -> Arc<Self> {
        let ear = Arc::new(Self::default());
        store.subscribe(&ear);
        ear
    }

    pub(crate) fn heard(&self) -> Vec<Revocation> {
        self.0.lock().expect("not poisoned").clone()
    }
}

impl RevocationListener for Ear {
    fn revoked(&self, revocation: &Revocation) {
        self.0.lock().expect("not poisoned").push(revocation.clone());
    }
}

/// Ends a session in a transaction of its own.
pub(crate) async fn end(store: &Store, id: SessionId, at: Timestamp) -> bool {
    let mut tx = store.begin().await.expect("begins");
    let ended = tx.end_session(id, portcullis_storage::EndReason::Logout, at).await.expect("runs");
    tx.commit().await.expect("commits");
    ended
}
