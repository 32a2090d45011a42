use portcullis_storage::{Earlier, OnceKey, Prunable, Store};
use tokio::task::JoinSet;

use crate::bed::{Bed, seconds};

fn key(bed: &Bed) -> OnceKey {
    OnceKey { id: bed.hash(), request: bed.hash() }
}

/// Does something once, as a use case does.
async fn do_once(bed: &Bed, store: &Store, key: OnceKey, outcome: &str) -> Option<Earlier> {
    let mut tx = store.begin().await.expect("begins");
    let earlier = tx.record_outcome(&key, bed.clock.now(), outcome).await.expect("runs");
    if earlier.is_none() {
        tx.commit().await.expect("commits");
    }
    earlier
}

async fn of_many_at_once_one_does_it_and_the_others_learn_what_came_of_it(bed: Bed) {
    let store = bed.store().await;
    let (key, now) = (key(&bed), bed.clock.now());
    let mut races = JoinSet::new();
    for number in 0..8 {
        let store = store.clone();
        races.spawn(async move {
            let mut tx = store.begin().await.expect("begins");
            let earlier = tx.record_outcome(&key, now, &number.to_string()).await.expect("runs");
            if earlier.is_none() {
                // Long enough for all the others to come and wait.
                tokio::time::sleep(seconds(1) / 5).await;
                tx.commit().await.expect("commits");
            }
            (number, earlier)
        });
    }
    let outcomes = races.join_all().await;
    let winners: Vec<_> = outcomes.iter().filter(|(_, earlier)| earlier.is_none()).collect();
    assert_eq!(winners.len(), 1, "{outcomes:?}");
    let known = Some(Earlier::Done(winners[0].0.to_string()));
    assert_eq!(outcomes.iter().filter(|(_, earlier)| *earlier == known).count(), 7, "{outcomes:?}");
}

async fn what_was_rolled_back_was_not_done(bed: Bed) {
    let store = bed.store().await;
    let key = key(&bed);
    let mut tx = store.begin().await.expect("begins");
    assert_eq!(tx.record_outcome(&key, bed.clock.now(), "lost").await.expect("runs"), None);
    drop(tx);
    assert_eq!(store.done_before(&key, bed.clock.now()).await.expect("runs"), None);
    assert_eq!(do_once(&bed, &store, key, "kept").await, None);
    assert_eq!(store.done_before(&key, bed.clock.now()).await.expect("runs"), Some(Earlier::Done("kept".to_owned())));
}

async fn an_outcome_is_its_requests_and_kept_for_a_day(bed: Bed) {
    let store = bed.store().await;
    let key = key(&bed);
    assert_eq!(do_once(&bed, &store, key, "first").await, None);
    let other = OnceKey { request: bed.hash(), ..key };
    assert_eq!(do_once(&bed, &store, other, "other").await, Some(Earlier::Another));
    assert_eq!(store.done_before(&other, bed.clock.now()).await.expect("runs"), Some(Earlier::Another));
    let first = Some(Earlier::Done("first".to_owned()));
    bed.clock.advance(seconds(86_399));
    store.prune(Prunable::IdempotencyKeys, bed.clock.now(), 10).await.expect("runs");
    assert_eq!(store.done_before(&key, bed.clock.now()).await.expect("runs"), first, "it was forgotten too early");
    assert_eq!(do_once(&bed, &store, key, "second").await, first);
    bed.clock.advance(seconds(2));
    assert_eq!(store.done_before(&key, bed.clock.now()).await.expect("runs"), None);
    assert_eq!(do_once(&bed, &store, other, "other").await, None, "a day later it is another request");
    assert_eq!(store.done_before(&key, bed.clock.now()).await.expect("runs"), Some(Earlier::Another));
}

crate::on_both_engines!(
    of_many_at_once_one_does_it_and_the_others_learn_what_came_of_it,
    what_was_rolled_back_was_not_done,
    an_outcome_is_its_requests_and_kept_for_a_day,
);
