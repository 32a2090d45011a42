//! Counting failed sign-ins, and recognising a user's own client.

use portcullis_model::Email;
use portcullis_storage::{AttemptSubjects, Store};
use tokio::task::JoinSet;

use crate::builders::email;
use crate::test_database::{TestDatabase, commit, days, seconds};

fn subjects(db: &TestDatabase) -> AttemptSubjects {
    AttemptSubjects { account: db.random_hash(), client: db.random_hash(), pair: db.random_hash() }
}

async fn fail(db: &TestDatabase, store: &Store, subjects: &AttemptSubjects) {
    store.count_failure(subjects, db.now(), db.now() - seconds(900)).await.expect("counts");
}

/// Returns the failures of the account, of the client, and of both together.
async fn failures(store: &Store, email: &Email, subjects: &AttemptSubjects) -> (u64, u64, u64) {
    let view = store.sign_in_view(email, subjects, None).await.expect("reads");
    (view.account.count, view.client.count, view.pair.count)
}

async fn sr_09_failures_are_counted(db: TestDatabase) {
    let store = db.store().await;
    let ada = db.user("ada").insert(&store).await;
    let subjects = subjects(&db);
    assert_eq!(failures(&store, &ada.email, &subjects).await, (0, 0, 0));
    fail(&db, &store, &subjects).await;
    fail(&db, &store, &subjects).await;
    let view = store.sign_in_view(&ada.email, &subjects, None).await.expect("reads");
    assert_eq!((view.account.count, view.client.count, view.pair.count), (2, 2, 2));
    assert!(view.account.last_at.is_some_and(|at| at <= db.now() && db.now() - seconds(5) < at));
    assert!(view.credentials.is_some());
}

async fn sr_09_failures_of_unknown_accounts_are_counted(db: TestDatabase) {
    let store = db.store().await;
    let (unknown, subjects) = (email("nobody@example.com"), subjects(&db));
    fail(&db, &store, &subjects).await;
    let view = store.sign_in_view(&unknown, &subjects, None).await.expect("reads");
    assert_eq!((view.account.count, view.client.count, view.pair.count), (1, 1, 1));
    assert!(view.credentials.is_none());
}

async fn sr_09_a_success_clears_account_and_pair(db: TestDatabase) {
    let store = db.store().await;
    let ada = db.user("ada").insert(&store).await;
    let subjects = subjects(&db);
    fail(&db, &store, &subjects).await;
    fail(&db, &store, &subjects).await;
    let forgotten =
        commit(&store, async |tx| Ok([tx.forget_failures(&subjects).await?, tx.forget_failures(&subjects).await?]));
    assert_eq!(forgotten.await, [2, 0]);
    assert_eq!(failures(&store, &ada.email, &subjects).await, (0, 2, 0), "one success does not clear a client");
}

async fn sr_09_only_a_client_starts_again_after_a_pause(db: TestDatabase) {
    let store = db.store().await;
    let ada = db.user("ada").insert(&store).await;
    let subjects = subjects(&db);
    fail(&db, &store, &subjects).await;
    db.clock.advance(seconds(901));
    fail(&db, &store, &subjects).await;
    assert_eq!(failures(&store, &ada.email, &subjects).await, (2, 1, 1));
}

async fn concurrent_failures_are_all_counted(db: TestDatabase) {
    let store = db.store().await;
    let ada = db.user("ada").insert(&store).await;
    let subjects = subjects(&db);
    let mut races = JoinSet::new();
    for _ in 0..20 {
        let (store, now) = (store.clone(), db.now());
        races.spawn(async move { store.count_failure(&subjects, now, now - seconds(900)).await.expect("counts") });
    }
    races.join_all().await;
    assert_eq!(failures(&store, &ada.email, &subjects).await, (20, 20, 20));
}

async fn a_sign_in_makes_a_client_known(db: TestDatabase) {
    let store = db.store().await;
    let (ada, ben) = (db.user("ada").insert(&store).await, db.user("ben").insert(&store).await);
    let ip = db.session(ada.id).insert(&store).await.ip;
    let elsewhere = Some("192.0.2.9".parse().expect("an address"));
    let cases = [
        (&ada.email, ip, true),
        (&ada.email, elsewhere, false),
        (&ben.email, ip, false),
        (&email("nobody@example.com"), ip, false),
    ];
    for (email, ip, known) in cases {
        let view = store.sign_in_view(email, &subjects(&db), ip).await.expect("reads");
        assert_eq!(view.is_known_client, known, "{email} at {ip:?}");
    }
}

async fn a_mailed_link_makes_a_client_known_for_a_while(db: TestDatabase) {
    let store = db.store().await;
    let ada = db.user("ada").insert(&store).await;
    let subjects = subjects(&db);
    let known = async || store.sign_in_view(&ada.email, &subjects, None).await.expect("reads").is_known_client;
    fail(&db, &store, &subjects).await;
    assert!(!known().await);
    commit(&store, async |tx| tx.trust_client(&subjects, db.now(), db.now() + days(30)).await).await;
    assert!(known().await);
    commit(&store, async |tx| tx.forget_failures(&subjects).await).await;
    assert!(known().await, "a success does not revoke the trust");
    db.clock.advance(days(31));
    assert!(!known().await);
}

crate::on_both_engines!(
    sr_09_failures_are_counted,
    sr_09_failures_of_unknown_accounts_are_counted,
    sr_09_a_success_clears_account_and_pair,
    sr_09_only_a_client_starts_again_after_a_pause,
    concurrent_failures_are_all_counted,
    a_sign_in_makes_a_client_known,
    a_mailed_link_makes_a_client_known_for_a_while,
);
