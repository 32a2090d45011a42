use portcullis_storage::Claim;
use tokio::task::JoinSet;

use crate::bed::{Bed, seconds};

async fn of_many_who_claim_one_request_one_does_it(bed: Bed) {
    let store = bed.store().await;
    let (id, request) = (bed.hash(), bed.hash());
    let mut races = JoinSet::new();
    for _ in 0..8 {
        let (store, now) = (store.clone(), bed.clock.now());
        races.spawn(async move { store.claim_request(&id, &request, now).await.expect("runs") });
    }
    let claims = races.join_all().await;
    assert_eq!(claims.iter().filter(|claim| matches!(claim, Claim::Mine(_))).count(), 1);
    let theirs = Claim::Theirs { request, answer: None };
    assert_eq!(claims.iter().filter(|claim| **claim == theirs).count(), 7);
}

async fn an_answer_is_kept_a_day_and_a_claim_a_minute(bed: Bed) {
    let store = bed.store().await;
    let (id, request, other) = (bed.hash(), bed.hash(), bed.hash());
    let claim = async |request| store.claim_request(&id, request, bed.clock.now()).await.expect("runs");
    let Claim::Mine(first) = claim(&request).await else { panic!("nobody has done it") };
    bed.clock.advance(seconds(59));
    assert_eq!(claim(&other).await, Claim::Theirs { request, answer: None });
    bed.clock.advance(seconds(2));
    let Claim::Mine(second) = claim(&request).await else { panic!("its process may have died") };
    // The one who was taken for dead comes back: it changes nothing.
    store.complete_request(&id, first, "late").await.expect("runs");
    store.release_request(&id, first).await.expect("runs");
    store.complete_request(&id, second, "{\"status\":201}").await.expect("runs");
    store.release_request(&id, second).await.expect("runs");
    assert_eq!(claim(&other).await, Claim::Theirs { request, answer: Some("{\"status\":201}".to_owned()) });
    store.prune(bed.clock.now()).await.expect("runs");
    assert!(matches!(claim(&request).await, Claim::Theirs { .. }), "it was forgotten too early");
    bed.clock.advance(seconds(86_401));
    assert!(matches!(claim(&other).await, Claim::Mine(_)), "a day later it is another request");
}

async fn a_request_that_came_to_nothing_may_be_done_again(bed: Bed) {
    let store = bed.store().await;
    let (id, request) = (bed.hash(), bed.hash());
    let Claim::Mine(at) = store.claim_request(&id, &request, bed.clock.now()).await.expect("runs") else {
        panic!("nobody has done it")
    };
    store.release_request(&id, at).await.expect("runs");
    assert!(matches!(store.claim_request(&id, &request, bed.clock.now()).await, Ok(Claim::Mine(_))));
}

crate::on_both_engines!(
    of_many_who_claim_one_request_one_does_it,
    an_answer_is_kept_a_day_and_a_claim_a_minute,
    a_request_that_came_to_nothing_may_be_done_again,
);
