//! An identity with a database of its own.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::BoxFuture;
use portcullis_identity::{
    ApiKeyInput, Caller, DemoOptions, DenyList, HashingOptions, Identity, IdentityError, IdentityOptions,
    IdentityParts, IssuedApiKey, LoginInput, LoginOutcome, RegisterInput, RegisterOutcome, Registered,
    RegistrationMode, RegistrationOptions, SessionLifetimes, SignedIn,
};
use portcullis_model::mail::{MailError, MailSender, OutgoingMail};
use portcullis_model::policy::Environment;
use portcullis_model::session::Transport;
use portcullis_model::{Clock, Email, Random, RolePermissions, SecretString, SessionSource, SessionState};
use portcullis_sessions::{RevocationFeed, SessionCache, SessionCacheOptions};
use portcullis_storage::{AuditFilter, DatabaseUrl, Store, StoreOptions};
use portcullis_telemetry::{Metrics, MetricsOptions};
use tempfile::TempDir;

pub(crate) const PASSWORD: &str = "correct horse battery staple";
pub(crate) const DAY: Duration = Duration::from_secs(86_400);

pub(crate) struct TestIdentity {
    pub(crate) identity: Arc<Identity>,
    pub(crate) store: Store,
    pub(crate) sessions: Arc<SessionCache>,
    pub(crate) clock: Clock,
    pub(crate) metrics: Metrics,
    pub(crate) folder: TempDir,
}

pub(crate) fn options() -> IdentityOptions {
    IdentityOptions {
        environment: Environment::Development,
        issuer: "portcullis".to_owned(),
        audience: "portcullis".to_owned(),
        lifetimes: SessionLifetimes {
            access: DAY,
            refresh_idle: 7 * DAY,
            absolute: 30 * DAY,
            absolute_remember: 90 * DAY,
            max_per_user: 100,
        },
        grace: Duration::from_secs(10),
        clock_leeway: Duration::from_secs(60),
        min_password: 8,
        denied_passwords: DenyList::default(),
        throttle: true,
        registration: RegistrationOptions {
            mode: RegistrationMode::Open,
            require_verified_email: false,
            reveal_existing: true,
        },
        demo: None,
        jwt_secret: None,
        encryption_keys: SecretString::new("an encryption key of more than 32 bytes").into(),
        signing_algorithm: portcullis_identity::SigningAlgorithm::EdDsa,
        hashing: HashingOptions { threads: 1, queue: 64 },
        public_url: "http://localhost:8000".to_owned(),
    }
}

pub(crate) async fn test_identity() -> TestIdentity {
    test_identity_with(options()).await
}

pub(crate) async fn test_identity_with(options: IdentityOptions) -> TestIdentity {
    let folder = tempfile::tempdir().expect("a folder");
    let clock = Clock::adjustable();
    test_identity_in(folder, clock, options).await
}

pub(crate) async fn test_identity_in(folder: TempDir, clock: Clock, options: IdentityOptions) -> TestIdentity {
    let url = match portcullis_testkit::database_of(folder.path()) {
        Some(url) => DatabaseUrl::parse(&url).expect("the test kit gives an address"),
        None => DatabaseUrl::sqlite(folder.path().join("test.db")),
    };
    test_identity_on(url, folder, clock, options).await
}

/// An identity on this database, which other ones may share.
pub(crate) async fn test_identity_on(
    url: DatabaseUrl,
    folder: TempDir,
    clock: Clock,
    options: IdentityOptions,
) -> TestIdentity {
    let metrics = Metrics::new(&MetricsOptions::default(), "test");
    let random = Random::system();
    let defaults = StoreOptions::new(url, clock.clone(), random.clone(), metrics.clone());
    let store_options = StoreOptions { pool_max: 4, acquire_timeout: Duration::from_secs(30), ..defaults };
    let store = Store::open(store_options).await.expect("a new database");
    let demo_account = options.demo.is_some() && options.environment != Environment::Production;
    let session_options = SessionCacheOptions { demo_account, ..SessionCacheOptions::default() };
    let sessions = SessionCache::new(&store, RolePermissions::default(), session_options);
    RevocationFeed::new(&store, &sessions).read().await.expect("the feed");
    let parts = IdentityParts {
        store: store.clone(),
        sessions: Arc::clone(&sessions),
        clock: clock.clone(),
        random,
        metrics: metrics.clone(),
    };
    let identity = Arc::new(Identity::start(parts, options).await.expect("it starts"));
    identity.demo_account.prepare().await.expect("no user has its address");
    TestIdentity { identity, store, sessions, clock, metrics, folder }
}

pub(crate) fn caller() -> Caller {
    Caller {
        ip: Some([192, 0, 2, 1].into()),
        user_agent: Some("a test\r\nforged line".to_owned()),
        request_id: Some("r1".to_owned()),
    }
}

/// Returns a caller at this address.
pub(crate) fn caller_at(ip: &str) -> Caller {
    Caller { ip: Some(ip.parse().expect("an address")), ..caller() }
}

pub(crate) fn registration_form(name: &str) -> RegisterInput {
    RegisterInput {
        email: format!("{name}@example.com"),
        username: name.to_owned(),
        first_name: "Ada".to_owned(),
        last_name: "Lovelace".to_owned(),
        password: SecretString::new(PASSWORD),
        confirm_password: SecretString::new(PASSWORD),
    }
}

impl TestIdentity {
    /// Other services over the same database.
    pub(crate) async fn identity_with(&self, options: IdentityOptions) -> Identity {
        let parts = IdentityParts {
            store: self.store.clone(),
            sessions: Arc::clone(&self.sessions),
            clock: self.clock.clone(),
            random: Random::system(),
            metrics: self.metrics.clone(),
        };
        Identity::start(parts, options).await.expect("it starts")
    }

    /// Everything that the database holds.
    pub(crate) fn stored(&self) -> Vec<u8> {
        portcullis_testkit::dump_of(self.folder.path()).unwrap_or_else(|| {
            let file = |name| std::fs::read(self.folder.path().join(name)).unwrap_or_default();
            [file("test.db"), file("test.db-wal")].concat()
        })
    }

    pub(crate) async fn make_key(&self, session: &SessionState, input: ApiKeyInput) -> IssuedApiKey {
        let done = self.identity.api_keys.create(session, input, &caller(), None).await.expect("made");
        done.fresh().expect("there is no name under which it was made before")
    }

    pub(crate) async fn register(&self, name: &str) -> Registered {
        match self.identity.registration.register(registration_form(name), &caller()).await.expect("registered") {
            RegisterOutcome::Registered(registered) => *registered,
            RegisterOutcome::Received => panic!("these tests reveal existing accounts"),
        }
    }

    pub(crate) async fn login(&self, email: &str, password: &str) -> Result<SignedIn, IdentityError> {
        self.login_for(email, password, false).await
    }

    pub(crate) async fn login_for(
        &self,
        email: &str,
        password: &str,
        remember_me: bool,
    ) -> Result<SignedIn, IdentityError> {
        self.login_by(email, password, remember_me, &caller()).await
    }

    /// Signs in from an address.
    pub(crate) async fn login_at(&self, email: &str, password: &str, ip: &str) -> Result<SignedIn, IdentityError> {
        self.login_by(email, password, false, &caller_at(ip)).await
    }

    async fn login_by(
        &self,
        email: &str,
        password: &str,
        remember_me: bool,
        caller: &Caller,
    ) -> Result<SignedIn, IdentityError> {
        let input = LoginInput {
            email: email.to_owned(),
            password: SecretString::new(password),
            remember_me,
            transport: Transport::Token,
        };
        let LoginOutcome::Complete(sign_in) = self.identity.sign_in.login(input, caller).await?;
        Ok(sign_in)
    }

    /// The session an access token opens now, as the gate would find it.
    pub(crate) async fn session(&self, access: &SecretString) -> Option<Arc<SessionState>> {
        let now = self.clock.unix_seconds();
        let token = self.identity.signing_keys.access_tokens().verify(access.expose(), now).ok()?;
        let session = match self.sessions.cached(token.session_id) {
            Some(session) => session,
            None => self.sessions.load(token.session_id, token.ver).await.expect("storage answers")?,
        };
        session.admits(token.ver, now).then_some(session)
    }

    /// A session of this user, as the gate would find it.
    pub(crate) async fn signed_in(&self, name: &str) -> Arc<SessionState> {
        let sign_in = self.login(&format!("{name}@example.com"), PASSWORD).await.expect("signed in");
        self.session(&sign_in.tokens.access).await.expect("live")
    }

    /// Creates a user with this role, as the command line does.
    pub(crate) async fn make(&self, name: &str, role: portcullis_model::Role) -> portcullis_model::UserId {
        let account = portcullis_identity::NewAccount {
            email: format!("{name}@example.com"),
            email_verified: true,
            username: name.to_owned(),
            first_name: "Ada".to_owned(),
            last_name: "Lovelace".to_owned(),
            role,
            password: SecretString::new(PASSWORD),
        };
        self.identity.administration.create(account, &Caller::shell()).await.expect("made").id
    }

    /// Records that a user's address is confirmed.
    pub(crate) async fn confirm(&self, user: portcullis_model::UserId) {
        let mut tx = self.store.begin().await.expect("tx");
        tx.set_email_verified(user, self.clock.now()).await.expect("set");
        tx.commit().await.expect("committed");
    }

    /// The audit log's actions and outcomes, oldest first.
    pub(crate) async fn audit(&self) -> Vec<(String, String)> {
        let mut records =
            self.store.audit_page(&AuditFilter::default(), 1000, 0).await.expect("storage answers").records;
        records.reverse();
        // Repetitions within a minute are one line.
        let repeated = |record: &portcullis_storage::AuditRecord| usize::try_from(record.times).expect("few");
        records
            .into_iter()
            .flat_map(|record| vec![(record.action.clone(), record.outcome.clone()); repeated(&record)])
            .collect()
    }
}

/// Keeps mails instead of sending them.
#[derive(Default)]
pub(crate) struct Mailbox(pub(crate) Mutex<Vec<OutgoingMail>>);

impl MailSender for Mailbox {
    fn send(&self, mail: OutgoingMail) -> BoxFuture<'_, Result<(), MailError>> {
        self.0.lock().expect("sound").push(mail);
        Box::pin(async { Ok(()) })
    }
}

impl TestIdentity {
    /// Sends what is due; the texts' names, and the token of the last link that has one.
    pub(crate) async fn mails(&self) -> (Vec<String>, Option<String>) {
        let mailbox = Mailbox::default();
        self.identity.mailer.send_due(&mailbox).await.expect("sent");
        let mails = mailbox.0.into_inner().expect("sound");
        let token = mails.iter().rev().find_map(|mail| mail.link.expose().split_once('#')).map(|(_, token)| token);
        (mails.iter().map(|mail| mail.kind.as_str().to_owned()).collect(), token.map(str::to_owned))
    }

    /// The token of a link that is mailed now.
    pub(crate) async fn mailed_token(&self, template: &str) -> String {
        let (templates, token) = self.mails().await;
        assert_eq!(templates, [template]);
        token.expect("in the fragment")
    }
}

pub(crate) fn with_demo(environment: Environment) -> IdentityOptions {
    let demo = DemoOptions {
        email: Email::parse("demo@example.com").expect("valid"),
        password: SecretString::new("a demo password"),
    };
    IdentityOptions { environment, demo: Some(demo), ..options() }
}
