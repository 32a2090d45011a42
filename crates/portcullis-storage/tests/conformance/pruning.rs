//! Old rows are deleted in batches, young ones stay.

use portcullis_storage::Prunable;

use crate::builders::email;
use crate::sign_in_attempts::{limits, subjects};
use crate::test_database::{TestDatabase, days, end, seconds};

async fn only_expired_sessions_are_pruned(db: TestDatabase) {
    let store = db.store().await;
    let ada = db.user("ada").insert(&store).await.id;
    let old = db.session(ada).insert(&store).await.id;
    db.clock.advance(days(38));
    let young = db.session(ada).insert(&store).await.id;
    assert_eq!(store.prune(Prunable::Sessions, db.now() - days(7), 10).await.expect("deletes"), 1);
    assert!(store.session_record(old).await.expect("reads").is_none());
    assert!(store.session_record(young).await.expect("reads").is_some());
}

async fn old_revocations_are_pruned(db: TestDatabase) {
    let store = db.store().await;
    let ada = db.user("ada").insert(&store).await.id;
    let session = db.session(ada).insert(&store).await.id;
    end(&store, session, db.now()).await;
    let now = store.now().await.expect("reads");
    assert_eq!(store.prune(Prunable::Revocations, now - days(1), 10).await.expect("deletes"), 0);
    assert_eq!(store.prune(Prunable::Revocations, now + seconds(60), 10).await.expect("deletes"), 1);
}

async fn at_most_a_batch_is_pruned_at_once(db: TestDatabase) {
    let store = db.store().await;
    let ada = db.user("ada").insert(&store).await.id;
    for _ in 0..5 {
        db.session(ada).insert(&store).await;
    }
    for deleted in [3, 2, 0] {
        assert_eq!(store.prune(Prunable::Sessions, db.now() + days(31), 3).await.expect("deletes"), deleted);
    }
}

async fn old_failures_are_pruned(db: TestDatabase) {
    let store = db.store().await;
    let subjects = subjects(&db);
    store.reserve_attempt(&subjects, &limits(db.now())).await.expect("counts");
    let ada = email("ada@example.com");
    let failures = async || store.sign_in_view(&ada, &subjects, None).await.expect("reads").account.count;
    store.prune(Prunable::SignInAttempts, db.now() - days(30), 10).await.expect("deletes");
    assert_eq!(failures().await, 1);
    db.clock.advance(days(31));
    store.prune(Prunable::SignInAttempts, db.now() - days(30), 10).await.expect("deletes");
    assert_eq!(failures().await, 0);
}

portcullis_testkit::on_both_engines!(
    only_expired_sessions_are_pruned,
    old_revocations_are_pruned,
    at_most_a_batch_is_pruned_at_once,
    old_failures_are_pruned,
);
