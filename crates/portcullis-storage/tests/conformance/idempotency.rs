//! Idempotency keys: a request that its client repeats is done once.

use portcullis_storage::{IdempotencyKey, Prunable, RecordedOutcome, Store};
use tokio::task::JoinSet;

use crate::test_database::{TestDatabase, roll_back, seconds};

fn key(db: &TestDatabase) -> IdempotencyKey {
    IdempotencyKey { id: db.random_hash(), request: db.random_hash() }
}

/// Records an outcome in a transaction of its own, as a use case does. Returns what was done earlier instead, if
/// anything was.
async fn record(db: &TestDatabase, store: &Store, key: IdempotencyKey, outcome: &str) -> Option<RecordedOutcome> {
    let mut tx = store.begin().await.expect("begins");
    let earlier = tx.record_outcome(&key, db.now(), outcome).await.expect("runs");
    if earlier.is_none() {
        tx.commit().await.expect("commits");
    }
    earlier
}

async fn earlier(db: &TestDatabase, store: &Store, key: &IdempotencyKey) -> Option<RecordedOutcome> {
    store.recorded_outcome(key, db.now()).await.expect("reads")
}

fn done(outcome: &str) -> Option<RecordedOutcome> {
    Some(RecordedOutcome::SameRequest(outcome.to_owned()))
}

async fn one_of_many_concurrent_requests_is_done(db: TestDatabase) {
    let store = db.store().await;
    let (key, now) = (key(&db), db.now());
    let mut races = JoinSet::new();
    for number in 0..8 {
        let store = store.clone();
        races.spawn(async move {
            let mut tx = store.begin().await.expect("begins");
            let earlier = tx.record_outcome(&key, now, &number.to_string()).await.expect("runs");
            if earlier.is_none() {
                tx.commit().await.expect("commits");
            }
            (number, earlier)
        });
    }
    let outcomes = races.join_all().await;
    let winners: Vec<_> = outcomes.iter().filter(|(_, earlier)| earlier.is_none()).collect();
    assert_eq!(winners.len(), 1, "{outcomes:?}");
    let known = done(&winners[0].0.to_string());
    assert_eq!(outcomes.iter().filter(|(_, earlier)| *earlier == known).count(), 7, "{outcomes:?}");
}

async fn a_rolled_back_request_was_not_done(db: TestDatabase) {
    let store = db.store().await;
    let key = key(&db);
    roll_back(&store, async |tx| tx.record_outcome(&key, db.now(), "lost").await).await;
    assert_eq!(earlier(&db, &store, &key).await, None);
    assert_eq!(record(&db, &store, key, "kept").await, None);
    assert_eq!(earlier(&db, &store, &key).await, done("kept"));
}

async fn a_key_of_another_request_is_told_apart(db: TestDatabase) {
    let store = db.store().await;
    let key = key(&db);
    record(&db, &store, key, "first").await;
    let other = IdempotencyKey { request: db.random_hash(), ..key };
    assert_eq!(record(&db, &store, other, "other").await, Some(RecordedOutcome::OtherRequest));
    assert_eq!(earlier(&db, &store, &other).await, Some(RecordedOutcome::OtherRequest));
}

async fn an_outcome_is_kept_for_a_day(db: TestDatabase) {
    let store = db.store().await;
    let key = key(&db);
    record(&db, &store, key, "first").await;
    db.clock.advance(seconds(86_399));
    store.prune(Prunable::IdempotencyKeys, db.now(), 10).await.expect("deletes");
    assert_eq!(earlier(&db, &store, &key).await, done("first"));
    assert_eq!(record(&db, &store, key, "second").await, done("first"));
}

async fn a_key_can_be_reused_after_a_day(db: TestDatabase) {
    let store = db.store().await;
    let key = key(&db);
    record(&db, &store, key, "first").await;
    db.clock.advance(seconds(86_401));
    assert_eq!(earlier(&db, &store, &key).await, None);
    let other = IdempotencyKey { request: db.random_hash(), ..key };
    assert_eq!(record(&db, &store, other, "other").await, None);
    assert_eq!(earlier(&db, &store, &key).await, Some(RecordedOutcome::OtherRequest));
}

portcullis_testkit::on_both_engines!(
    one_of_many_concurrent_requests_is_done,
    a_rolled_back_request_was_not_done,
    a_key_of_another_request_is_told_apart,
    an_outcome_is_kept_for_a_day,
    a_key_can_be_reused_after_a_day,
);
