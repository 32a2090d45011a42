//! Counting sign-ins before their passwords are compared, and recognising a user's own client.

use std::time::Duration;

use portcullis_model::{Email, Timestamp, UserId};
use portcullis_storage::{AttemptLimits, AttemptSubjects, Prunable, Reserved, SignInView, Store};
use tokio::task::JoinSet;

use crate::builders::email;
use crate::test_database::{TestDatabase, commit, days, seconds};

const DRAIN: Duration = Duration::from_secs(30);

pub(crate) fn subjects(db: &TestDatabase) -> AttemptSubjects {
    AttemptSubjects { account: db.random_hash(), client: db.random_hash(), pair: db.random_hash() }
}

/// Limits of an unknown client: waits of 1, 2 and 4 s after 10 failures of an account and 5 of a pair.
pub(crate) fn limits(now: Timestamp) -> AttemptLimits {
    AttemptLimits {
        now,
        is_known_client: false,
        unconfirmed: 100,
        account_free: 10,
        pair_free: 5,
        waits: vec![seconds(1), seconds(2), seconds(4)],
        reset_after: seconds(900),
        drain: DRAIN,
        client_burst: 50,
    }
}

async fn reserve(db: &TestDatabase, store: &Store, subjects: &AttemptSubjects) -> Reserved {
    store.reserve_attempt(subjects, &limits(db.now())).await.expect("counts")
}

/// Counts an attempt and notes that it failed.
async fn fail(db: &TestDatabase, store: &Store, subjects: &AttemptSubjects) {
    assert!(matches!(reserve(db, store, subjects).await, Reserved::Admitted { .. }), "it comes too early");
    store.confirm_failure(subjects, db.now()).await.expect("notes");
}

async fn view(store: &Store, email: &Email, subjects: &AttemptSubjects) -> SignInView {
    store.sign_in_view(email, subjects, None).await.expect("reads")
}

/// Returns the attempts of the account and of the pair.
async fn counts(store: &Store, email: &Email, subjects: &AttemptSubjects) -> (u64, u64) {
    let view = view(store, email, subjects).await;
    (view.account.count, view.pair.count)
}

async fn sr_09_attempts_are_counted_before_their_outcome(db: TestDatabase) {
    let store = db.store().await;
    for address in [db.user("ada").insert(&store).await.email, email("nobody@example.com")] {
        let subjects = subjects(&db);
        assert_eq!(counts(&store, &address, &subjects).await, (0, 0));
        for n in 1..=2 {
            assert_eq!(reserve(&db, &store, &subjects).await, Reserved::Admitted { account: n });
        }
        let counted = view(&store, &address, &subjects).await;
        assert_eq!((counted.account.count, counted.pair.count), (2, 2));
        assert_eq!((counted.account.failed_at, counted.pair.failed_at), (None, None), "nothing failed yet");
        store.confirm_failure(&subjects, db.now()).await.expect("notes");
        let failed = view(&store, &address, &subjects).await;
        assert!(failed.account.failed_at.is_some_and(|at| at <= db.now() && db.now() - seconds(5) < at));
        assert!(failed.pair.failed_at.is_some());
    }
}

async fn sr_65_no_burst_outruns_the_bound(db: TestDatabase) {
    // Two replicas.
    let stores = [db.store().await, db.store().await];
    let account = db.random_hash();
    let limits = AttemptLimits { unconfirmed: 12, ..limits(db.now()) };
    let mut burst = JoinSet::new();
    for n in 0..40 {
        // Each from another client.
        let subjects = AttemptSubjects { account, ..subjects(&db) };
        let (store, limits) = (stores[n % 2].clone(), limits.clone());
        burst.spawn(async move { store.reserve_attempt(&subjects, &limits).await.expect("counts") });
    }
    let outcomes = burst.join_all().await;
    let mut admitted: Vec<u64> = Vec::new();
    for outcome in &outcomes {
        if let Reserved::Admitted { account } = outcome {
            admitted.push(*account);
        }
    }
    admitted.sort_unstable();
    assert_eq!(admitted, (1..=12).collect::<Vec<_>>(), "of {} attempts", outcomes.len());
}

async fn sr_65_of_a_burst_after_a_wait_one_is_admitted(db: TestDatabase) {
    let store = db.store().await;
    let subjects = subjects(&db);
    for _ in 0..5 {
        fail(&db, &store, &subjects).await;
    }
    assert_eq!(reserve(&db, &store, &subjects).await, Reserved::TooEarly);
    db.clock.advance(seconds(2));
    let mut burst = JoinSet::new();
    for _ in 0..10 {
        let (store, limits) = (store.clone(), limits(db.now()));
        burst.spawn(async move { store.reserve_attempt(&subjects, &limits).await.expect("counts") });
    }
    let admitted = burst.join_all().await.into_iter().filter(|outcome| *outcome != Reserved::TooEarly).count();
    assert_eq!(admitted, 1);
}

async fn an_attempt_that_is_refused_is_counted_for_nothing(db: TestDatabase) {
    let store = db.store().await;
    let ada = db.user("ada").insert(&store).await;
    let first = subjects(&db);
    for _ in 0..5 {
        fail(&db, &store, &first).await;
    }
    assert_eq!(reserve(&db, &store, &first).await, Reserved::TooEarly, "its pair must wait");
    assert_eq!(counts(&store, &ada.email, &first).await, (5, 5));
    store.release_attempt(&first, DRAIN).await.expect("takes one back");
    assert_eq!(counts(&store, &ada.email, &first).await, (4, 4));
}

async fn sr_09_a_success_ends_the_failures(db: TestDatabase) {
    let store = db.store().await;
    let ada = db.user("ada").insert(&store).await;
    let subjects = subjects(&db);
    fail(&db, &store, &subjects).await;
    fail(&db, &store, &subjects).await;
    let before = view(&store, &ada.email, &subjects).await.client_drains_at;
    commit(&store, async |tx| tx.forget_failures(&subjects, db.now(), DRAIN).await).await;
    let after = view(&store, &ada.email, &subjects).await;
    assert_eq!((after.account.count, after.pair.count, after.account.failed_at), (0, 0, None));
    assert_eq!(before - after.client_drains_at, 30_000, "of the client one failure has drained away");
    assert_eq!(store.prune(Prunable::SignInAttempts, db.now() - days(30), 10).await.expect("deletes"), 2);
}

async fn sr_09_the_count_of_a_pair_starts_again_after_a_pause(db: TestDatabase) {
    let store = db.store().await;
    let ada = db.user("ada").insert(&store).await;
    let subjects = subjects(&db);
    for _ in 0..5 {
        fail(&db, &store, &subjects).await;
    }
    db.clock.advance(seconds(901));
    fail(&db, &store, &subjects).await;
    assert_eq!(counts(&store, &ada.email, &subjects).await, (6, 1), "that of an account only ends with a success");
}

async fn sr_62_failures_of_a_client_drain_away(db: TestDatabase) {
    let store = db.store().await;
    let client = db.random_hash();
    let another_account = || AttemptSubjects { client, ..subjects(&db) };
    // Somebody behind the address fails once a minute, all day.
    for _ in 0..200 {
        fail(&db, &store, &another_account()).await;
        db.clock.advance(seconds(60));
    }
    for _ in 0..50 {
        fail(&db, &store, &another_account()).await;
    }
    assert_eq!(reserve(&db, &store, &another_account()).await, Reserved::TooEarly, "a burst must wait");
    let known = AttemptLimits { is_known_client: true, ..limits(db.now()) };
    let outcome = store.reserve_attempt(&another_account(), &known).await.expect("counts");
    assert!(matches!(outcome, Reserved::Admitted { .. }), "a known user waits for strangers");
    db.clock.advance(seconds(61));
    assert!(
        matches!(reserve(&db, &store, &another_account()).await, Reserved::Admitted { .. }),
        "two have drained away"
    );
}

async fn is_known(store: &Store, email: &Email, subjects: &AttemptSubjects) -> bool {
    view(store, email, subjects).await.is_known_client
}

async fn remember(db: &TestDatabase, store: &Store, user: UserId, client: [u8; 32], known: Duration) {
    commit(store, async |tx| tx.remember_client(user, client, db.now() + known).await).await;
}

async fn sr_09_a_client_stays_known_for_a_while(db: TestDatabase) {
    let store = db.store().await;
    let (ada, ben) = (db.user("ada").insert(&store).await, db.user("ben").insert(&store).await);
    let subjects = subjects(&db);
    assert!(!is_known(&store, &ada.email, &subjects).await);
    remember(&db, &store, ada.id, subjects.client, days(90)).await;
    // A mailed link there makes it known for a shorter time, which takes nothing away.
    remember(&db, &store, ada.id, subjects.client, days(30)).await;
    assert!(is_known(&store, &ada.email, &subjects).await);
    for stranger in [&ben.email, &email("nobody@example.com")] {
        assert!(!is_known(&store, stranger, &subjects).await, "{stranger}");
    }
    assert_eq!(store.prune(Prunable::KnownClients, db.now(), 10).await.expect("deletes"), 0);
    db.clock.advance(days(91));
    assert!(!is_known(&store, &ada.email, &subjects).await);
    assert_eq!(store.prune(Prunable::KnownClients, db.now(), 10).await.expect("deletes"), 1);
}

async fn a_user_has_at_most_a_hundred_known_clients(db: TestDatabase) {
    let store = db.store().await;
    let ada = db.user("ada").insert(&store).await;
    let first = subjects(&db);
    remember(&db, &store, ada.id, first.client, days(1)).await;
    for n in 0..100 {
        remember(&db, &store, ada.id, db.random_hash(), days(2) + seconds(n)).await;
    }
    assert!(is_known(&store, &ada.email, &first).await);
    commit(&store, async |tx| tx.forget_oldest_clients(ada.id).await).await;
    assert!(!is_known(&store, &ada.email, &first).await);
    db.clock.advance(days(3));
    assert_eq!(store.prune(Prunable::KnownClients, db.now(), 1_000).await.expect("deletes"), 100);
}

/// Sessions that a replica of the previous version begins leave no other trace.
async fn a_session_makes_its_client_known(db: TestDatabase) {
    let store = db.store().await;
    let (ada, ben) = (db.user("ada").insert(&store).await, db.user("ben").insert(&store).await);
    let ip = db.session(ada.id).insert(&store).await.ip;
    let elsewhere = Some("192.0.2.9".parse().expect("an address"));
    for (email, ip, known) in [(&ada.email, ip, true), (&ada.email, elsewhere, false), (&ben.email, ip, false)] {
        let view = store.sign_in_view(email, &subjects(&db), ip).await.expect("reads");
        assert_eq!(view.is_known_client, known, "{email} at {ip:?}");
    }
    db.clock.advance(days(91));
    assert!(!store.sign_in_view(&ada.email, &subjects(&db), ip).await.expect("reads").is_known_client);
}

portcullis_testkit::on_both_engines!(
    sr_09_attempts_are_counted_before_their_outcome,
    sr_65_no_burst_outruns_the_bound,
    sr_65_of_a_burst_after_a_wait_one_is_admitted,
    an_attempt_that_is_refused_is_counted_for_nothing,
    sr_09_a_success_ends_the_failures,
    sr_09_the_count_of_a_pair_starts_again_after_a_pause,
    sr_62_failures_of_a_client_drain_away,
    sr_09_a_client_stays_known_for_a_while,
    a_user_has_at_most_a_hundred_known_clients,
    a_session_makes_its_client_known,
);
