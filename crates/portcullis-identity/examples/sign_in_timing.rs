//! Times refused sign-ins of each class in turns, for `bench/identity.py`: a line of JSON with nanoseconds by class.
//! One class is held up by two milliseconds on purpose, to show that such a difference is seen.
#![expect(clippy::print_stdout, reason = "its output is what it is for")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use portcullis_identity::{
    Actor, Caller, DenyList, HashingOptions, Identity, IdentityOptions, IdentityParts, Invitation, LoginInput,
    NewAccount, RegistrationMode, RegistrationOptions, SessionLifetimes, SigningAlgorithm, UserProfileInput,
};
use portcullis_model::policy::Environment;
use portcullis_model::session::Transport;
use portcullis_model::{Clock, Random, Role, RolePermissions, SecretString};
use portcullis_sessions::{SessionCache, SessionCacheOptions};
use portcullis_storage::{DatabaseUrl, Store, StoreOptions};
use portcullis_telemetry::{Metrics, MetricsOptions};

const PASSWORD: &str = "correct horse battery staple";
const CLASSES: [&str; 6] = ["wrong", "unknown", "inactive", "passwordless", "locked", "planted"];
const PLANTED: Duration = Duration::from_millis(2);
const DAY: Duration = Duration::from_secs(86_400);

#[tokio::main]
async fn main() {
    let rounds: usize = std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(1000);
    let folder = tempfile::tempdir().expect("a folder");
    let clock = Clock::adjustable();
    let identity = open(folder.path(), &clock).await;
    create_users(&identity).await;
    let stranger = |n: usize| Caller {
        ip: Some(std::net::Ipv4Addr::from(0xc633_6400 + u32::try_from(n % 250).expect("small")).into()),
        user_agent: None,
        request_id: None,
    };
    let login = async |name: &str, password: &str, caller: &Caller| {
        let input = LoginInput {
            email: format!("{name}@example.com"),
            password: SecretString::new(password),
            remember_me: false,
            transport: Transport::Token,
        };
        identity.sign_in.login(input, caller).await.is_ok()
    };
    for n in 0..120 {
        login("locked", "not the password", &stranger(n)).await;
        clock.advance(DAY);
    }
    let random = Random::system();
    let mut times: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    for round in 0..rounds {
        // Its owner signs in now and then, so that only `locked` has too many failures in a row.
        if round % 40 == 0 {
            assert!(login("wrong", PASSWORD, &stranger(7)).await);
        }
        let mut turns = CLASSES;
        for last in (1..turns.len()).rev() {
            turns.swap(last, usize::from(random.bytes::<1>()[0]) % (last + 1));
        }
        for class in turns {
            // Past every wait.
            clock.advance(Duration::from_secs(1200));
            let (name, caller) = (if class == "planted" { "wrong" } else { class }, stranger(round));
            let password = if class == "wrong" || class == "planted" { "not the password" } else { PASSWORD };
            let begun = Instant::now();
            let signed_in = login(name, password, &caller).await;
            if class == "planted" {
                let until = begun.elapsed() + PLANTED;
                while begun.elapsed() < until {
                    std::hint::spin_loop();
                }
            }
            let took = u64::try_from(begun.elapsed().as_nanos()).expect("short");
            assert!(!signed_in, "{class}");
            times.entry(class).or_default().push(took);
        }
    }
    println!("{}", serde_json::to_string(&times).expect("JSON"));
}

async fn create_users(identity: &Identity) {
    for name in ["wrong", "inactive", "locked"] {
        let account = NewAccount {
            email: format!("{name}@example.com"),
            email_verified: true,
            username: name.to_owned(),
            first_name: "Ada".to_owned(),
            last_name: "Lovelace".to_owned(),
            role: Role::Developer,
            password: SecretString::new(PASSWORD),
        };
        let user = identity.administration.create(account, &Caller::shell()).await.expect("made");
        if name == "inactive" {
            let off = UserProfileInput { is_active: Some(false), ..UserProfileInput::default() };
            identity.administration.edit(&Actor::Shell, user.id, off, &Caller::shell()).await.expect("disabled");
        }
    }
    let invitation = Invitation {
        email: "passwordless@example.com".to_owned(),
        username: "passwordless".to_owned(),
        first_name: "Ada".to_owned(),
        last_name: "Lovelace".to_owned(),
        role: Role::Developer,
    };
    identity.administration.invite(&invitation, &Actor::Shell, &Caller::shell(), None).await.expect("invited");
}

async fn open(folder: &std::path::Path, clock: &Clock) -> Identity {
    let (random, metrics) = (Random::system(), Metrics::new(&MetricsOptions::default(), "bench"));
    let url = DatabaseUrl::sqlite(folder.join("bench.db"));
    let options = StoreOptions::new(url, clock.clone(), random.clone(), metrics.clone());
    let store = Store::open(options).await.expect("a new database");
    let sessions = SessionCache::new(&store, RolePermissions::default(), SessionCacheOptions::default());
    let parts = IdentityParts { store, sessions: Arc::clone(&sessions), clock: clock.clone(), random, metrics };
    let options = IdentityOptions {
        environment: Environment::Development,
        issuer: "bench".to_owned(),
        audience: "bench".to_owned(),
        lifetimes: SessionLifetimes {
            access: DAY,
            refresh_idle: DAY,
            absolute: DAY,
            absolute_remember: DAY,
            max_per_user: 100,
        },
        grace: Duration::from_secs(10),
        clock_leeway: Duration::from_secs(60),
        min_password: 8,
        denied_passwords: DenyList::default(),
        throttle: true,
        registration: RegistrationOptions {
            mode: RegistrationMode::Closed,
            require_verified_email: false,
            reveal_existing: true,
        },
        demo: None,
        signing_algorithm: SigningAlgorithm::EdDsa,
        jwt_secret: None,
        encryption_keys: SecretString::new("an encryption key of more than 32 bytes").into(),
        hashing: HashingOptions { threads: 1, queue: 64 },
        public_url: "http://localhost:8000".to_owned(),
    };
    Identity::start(parts, options).await.expect("it starts")
}
