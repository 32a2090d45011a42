//! Tests of the pool: the hashes it computes, the jobs it refuses, and those it skips.

use futures_util::FutureExt;
use futures_util::future::join_all;
use portcullis_model::ClientNetwork;
use portcullis_telemetry::MetricsOptions;

use super::*;

fn metrics() -> Metrics {
    Metrics::new(&MetricsOptions::default(), "test")
}

fn hasher() -> PasswordHasher {
    PasswordHasher::start(HashingOptions { threads: 1, queue: 64 }, Random::system(), metrics()).expect("a thread")
}

/// A pool whose jobs wait until [`serve_all`].
fn stopped(queue: usize) -> PasswordHasher {
    PasswordHasher::without_threads(queue, Random::system(), metrics())
}

/// Does the work of the threads until no job waits.
fn serve_all(hasher: &PasswordHasher) {
    let mut memory = Memory::default();
    while hasher.waiting() > 0 {
        hasher.shared.next().expect("a job waits").serve(&mut memory, &hasher.shared.done);
    }
}

fn presented(text: &str) -> PresentedPassword {
    PresentedPassword::new(text)
}

fn secret(text: &str) -> SecretString {
    SecretString::new(text)
}

fn client(last: u8) -> HashingParty {
    HashingParty { client: Some(ClientNetwork::V4([192, 0, 2, last])), user: None }
}

/// Polls work once, so that its job is queued.
macro_rules! queued {
    ($work:expr) => {{
        let mut work = Box::pin($work);
        assert!((&mut work).now_or_never().is_none(), "it waits");
        work
    }};
}

#[tokio::test]
async fn sr_06_a_hash_states_its_cost_and_matches_one_password() {
    let hasher = hasher();
    let stored = hasher.hash(client(1), secret("correct horse")).await.expect("the queue has room");
    assert!(stored.expose().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{}", stored.expose());
    let compare = async |password| {
        hasher.compare(client(1), &presented(password), Some(stored.clone())).await.expect("the queue has room")
    };
    assert_eq!(compare("correct horse").await, Comparison { matches: true, outdated: false });
    assert!(!compare("wrong").await.matches);
    assert_ne!(
        hasher.hash(client(1), secret("correct horse")).await.expect("the queue has room").expose(),
        stored.expose(),
        "two hashes share a salt"
    );
}

#[tokio::test]
async fn comparing_without_a_stored_hash_costs_one_hash() {
    let hasher = hasher();
    for stored in [None, Some(secret("not a hash"))] {
        assert!(!hasher.compare(client(1), &presented("x"), stored).await.expect("the queue has room").matches);
    }
    assert_eq!(hasher.hashes(), 2);
}

#[tokio::test]
async fn sr_57_one_client_cannot_fill_the_queue() {
    let hasher = stopped(4);
    let flood = queued!(join_all((0..20).map(|_| hasher.hash(client(1), secret("x")))));
    assert_eq!(hasher.waiting(), 3, "one place is left to others");
    assert_eq!(hasher.admit(client(1)), Err(NotHashed::ShareUsedUp));
    let other = queued!(hasher.hash(client(2), secret("y")));
    serve_all(&hasher);
    assert!(other.await.is_ok());
    let refused = flood.await.iter().filter(|outcome| matches!(outcome, Err(NotHashed::ShareUsedUp))).count();
    assert_eq!(refused, 17);
}

#[tokio::test]
async fn sr_57_a_full_queue_refuses_the_busiest_client() {
    let hasher = stopped(2);
    let first = queued!(hasher.hash(client(1), secret("x")));
    let second = queued!(hasher.hash(client(2), secret("x")));
    assert_eq!(hasher.hash(client(3), secret("x")).await.err(), Some(NotHashed::Busy), "each has one place");
    serve_all(&hasher);
    assert!(first.await.is_ok() && second.await.is_ok());
}

#[tokio::test]
async fn sr_57_abandoned_jobs_cost_no_hash_and_no_place() {
    let hasher = stopped(2);
    let abandoned = queued!(hasher.hash(client(2), secret("x")));
    assert_eq!(hasher.admit(client(2)), Err(NotHashed::ShareUsedUp));
    drop(abandoned);
    assert_eq!(hasher.admit(client(2)), Ok(()));
    let (present, password) = (Arc::new(()), presented("x"));
    let gone = queued!(hasher.compare_while(client(3), &password, None, Some(Arc::downgrade(&present))));
    let also_gone = queued!(hasher.hash(client(4), secret("x")));
    drop((present, also_gone));
    serve_all(&hasher);
    assert_eq!(gone.await, Err(NotHashed::ClientGone));
    assert_eq!(hasher.hashes(), 0);
}

#[tokio::test]
async fn a_panic_in_a_hash_leaves_its_thread_at_work() {
    let hasher = hasher();
    let job = hasher.job(secret("correct horse"), Work::Panic, None);
    hasher.submit(client(1), job).expect("the queue has room");
    let hash = hasher.hash(client(2), secret("correct horse")).await.expect("the only thread goes on");
    assert!(hash.expose().starts_with("$argon2id$"));
}
