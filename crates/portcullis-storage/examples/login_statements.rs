//! How long a login's statements take on two databases, in turns: `login_statements URL URL LOGINS USERS USERS`.
//! The users in them have the addresses `p1@example.com` and so on. `bench/storage.py` fills them.

use std::time::{Duration, Instant};

use portcullis_model::{Amr, Clock, Email, Random, SessionId, Transport};
use portcullis_storage::{
    AttemptLimits, AttemptSubjects, AuditEvent, DatabaseUrl, NewSession, Outcome, Store, StoreOptions,
};
use portcullis_telemetry::{Metrics, MetricsOptions};

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [first, second, logins, users @ ..] = &arguments[..] else { panic!("URL URL LOGINS USERS USERS") };
    let logins: usize = logins.parse().expect("a number");
    let mut sides = Vec::new();
    for (url, users) in [first, second].into_iter().zip(users) {
        let users: u64 = users.parse().expect("a number");
        sides.push((open(url).await, users, Vec::with_capacity(logins)));
    }
    let random = Random::system();
    for round in 0..logins + logins / 10 {
        for (store, users, took) in &mut sides {
            let number = u64::from_le_bytes(random.bytes::<8>()) % *users + 1;
            // Every fiftieth user is inactive, and does not sign in.
            let number = if number.is_multiple_of(50) { number - 1 } else { number };
            let one = login(store, number, &random).await;
            // The first tenth only warms caches.
            if round >= logins / 10 {
                took.push(one);
            }
        }
    }
    let mut medians = Vec::new();
    for (_, users, took) in &mut sides {
        took.sort();
        let at = |share: usize| took[(took.len() - 1) * share / 100].as_secs_f64() * 1e3;
        medians.push(at(50));
        out(&format!("{users} users: median {:.3} ms, p95 {:.3} ms of {}\n", at(50), at(95), took.len()));
    }
    out(&format!("ratio of medians: {:.2}\n", medians[1] / medians[0]));
}

async fn open(url: &str) -> Store {
    let url = DatabaseUrl::parse(url).expect("an address");
    let metrics = Metrics::new(&MetricsOptions::default(), "bench");
    let defaults = StoreOptions::new(url, Clock::system(), Random::system(), metrics);
    let options = StoreOptions { pool_max: 2, statement_timeout: Duration::from_secs(600), ..defaults };
    Store::open(options).await.expect("opens")
}

/// What `identity/login.rs` asks of the database.
async fn login(store: &Store, number: u64, random: &Random) -> Duration {
    let email = Email::parse(&format!("p{number}@example.com")).expect("valid");
    let now = store.clock().now();
    let begun = Instant::now();
    let subjects = AttemptSubjects { account: random.bytes(), client: random.bytes(), pair: random.bytes() };
    let view = store.sign_in_view(&email, &subjects, Some([192, 0, 2, 1].into())).await.expect("reads");
    let limits = AttemptLimits {
        now: view.now,
        is_known_client: view.is_known_client,
        unconfirmed: 100,
        account_free: 10,
        pair_free: 5,
        waits: (0..11).map(|n| Duration::from_secs(1 << n)).collect(),
        reset_after: Duration::from_secs(900),
        drain: Duration::from_secs(30),
        client_burst: 50,
    };
    store.reserve_attempt(&subjects, &limits).await.expect("counts");
    let known = view.credentials.expect("exists");
    let session = NewSession {
        id: SessionId::new(store.clock(), random),
        user_id: known.user.id,
        refresh_hash: random.bytes(),
        created_at: now,
        idle_expires_at: now + Duration::from_secs(7 * 86_400),
        absolute_expires_at: now + Duration::from_secs(30 * 86_400),
        remember: false,
        transport: Transport::Token,
        ip: Some([192, 0, 2, 1].into()),
        user_agent: Some("Mozilla/5.0".to_owned()),
        amr: vec![Amr::Password],
        user_epoch: 1,
    };
    let event = AuditEvent {
        at: now,
        action: "auth.login",
        outcome: Outcome::Success,
        actor_id: Some(known.user.id),
        subject_id: Some(known.user.id),
        session_id: Some(session.id),
        ip: Some([192, 0, 2, 1].into()),
        user_agent: Some("Mozilla/5.0".to_owned()),
        request_id: None,
        details: None,
    };
    let mut tx = store.begin().await.expect("begins");
    assert!(tx.record_login(known.user.id, known.epoch, now).await.expect("updates"));
    tx.insert_session(&session).await.expect("inserts");
    tx.forget_failures(&subjects, now, Duration::from_secs(30)).await.expect("updates");
    tx.append_audit(&event).await.expect("inserts");
    tx.commit().await.expect("commits");
    begun.elapsed()
}

#[expect(clippy::print_stdout, reason = "its output is its purpose")]
fn out(text: &str) {
    print!("{text}");
}
