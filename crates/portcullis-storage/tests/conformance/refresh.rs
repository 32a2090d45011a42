use portcullis_model::SessionId;
use portcullis_storage::{NewSession, Prunable, Rotation, Store};
use tokio::task::JoinSet;

use crate::bed::{Bed, days, end, seconds};

async fn rotate(store: &Store, session: &NewSession, presented: [u8; 32], new: [u8; 32]) -> bool {
    let view = store.refresh_view(session.id).await.expect("reads").expect("exists");
    let mut tx = store.begin().await.expect("begins");
    let rotation = Rotation {
        session_id: session.id,
        presented_hash: presented,
        new_hash: new,
        sealed_successor: &new[..16],
        now: view.now,
        idle_expires_at: view.now + days(7),
    };
    let rotated = tx.rotate_refresh(&rotation).await.expect("runs");
    tx.commit().await.expect("commits");
    rotated
}

async fn the_view_holds_session_owner_hash_and_database_time(bed: Bed) {
    let store = bed.store().await;
    let ada = bed.someone(&store, "ada").await;
    let session = bed.signed_in(&store, ada.id).await;
    bed.clock.advance(seconds(3600));
    let view = store.refresh_view(session.id).await.expect("reads").expect("exists");
    assert_eq!((view.session.id, view.user, view.refresh_hash), (session.id, ada, session.refresh_hash));
    assert_eq!((view.user_epoch, view.token_epoch), (1, 1));
    let apart = (view.now - bed.clock.now()).num_seconds().abs();
    assert!(apart < 30, "the database's time does not move with the clock: {apart} s apart");
    let unknown = SessionId::new(&bed.clock, &bed.random);
    assert!(store.refresh_view(unknown).await.expect("reads").is_none());
    assert!((store.now().await.expect("reads") - view.now).num_seconds() < 30);
}

async fn sr_32_of_many_who_present_one_token_exactly_one_rotates_it(bed: Bed) {
    let store = bed.store().await;
    let ada = bed.someone(&store, "ada").await;
    let session = bed.signed_in(&store, ada.id).await;
    let mut races = JoinSet::new();
    for _ in 0..16 {
        let (store, session, successor) = (store.clone(), session.clone(), bed.hash());
        races
            .spawn(async move { rotate(&store, &session, session.refresh_hash, successor).await.then_some(successor) });
    }
    let winners: Vec<[u8; 32]> = races.join_all().await.into_iter().flatten().collect();
    assert_eq!(winners.len(), 1);
    let view = store.refresh_view(session.id).await.expect("reads").expect("exists");
    assert_eq!(view.refresh_hash, winners[0]);
    let grace = store.refresh_grace(&session.refresh_hash).await.expect("reads").expect("kept");
    assert_eq!((grace.session_id, grace.sealed_successor.as_slice()), (session.id, &winners[0][..16]));
    assert!((grace.now - grace.rotated_at).num_seconds() < 30);
}

async fn a_rotation_extends_the_idle_limit_and_counts_as_use(bed: Bed) {
    let store = bed.store().await;
    let ada = bed.someone(&store, "ada").await;
    let session = bed.signed_in(&store, ada.id).await;
    bed.clock.advance(days(1));
    assert!(rotate(&store, &session, session.refresh_hash, bed.hash()).await);
    let record = store.session_record(session.id).await.expect("reads").expect("exists");
    assert!(record.idle_expires_at >= session.idle_expires_at + days(1));
    assert_eq!(record.idle_expires_at - record.last_seen_at, chrono::TimeDelta::days(7));
}

async fn sr_21_a_session_that_ended_or_expired_is_not_rotated(bed: Bed) {
    let store = bed.store().await;
    let ada = bed.someone(&store, "ada").await;
    let (ended, idle) = (bed.signed_in(&store, ada.id).await, bed.signed_in(&store, ada.id).await);
    let mut over = bed.session(ada.id);
    over.idle_expires_at = bed.clock.now() + days(60);
    let mut tx = store.begin().await.expect("begins");
    tx.insert_session(&over).await.expect("is new");
    tx.commit().await.expect("commits");
    end(&store, ended.id, bed.clock.now()).await;
    assert!(!rotate(&store, &ended, ended.refresh_hash, bed.hash()).await);
    bed.clock.advance(days(8));
    assert!(!rotate(&store, &idle, idle.refresh_hash, bed.hash()).await);
    bed.clock.advance(days(23));
    assert!(!rotate(&store, &over, over.refresh_hash, bed.hash()).await);
    assert!(store.refresh_grace(&ended.refresh_hash).await.expect("reads").is_none());
}

async fn sealed_successors_are_erased_when_their_time_is_over(bed: Bed) {
    let store = bed.store().await;
    let ada = bed.someone(&store, "ada").await;
    let session = bed.signed_in(&store, ada.id).await;
    let successor = bed.hash();
    assert!(rotate(&store, &session, session.refresh_hash, successor).await);
    bed.clock.advance(seconds(60));
    assert!(rotate(&store, &session, successor, bed.hash()).await);
    let now = store.now().await.expect("reads");
    assert_eq!(store.prune(Prunable::RefreshGrace, now - seconds(30), 10).await.expect("deletes"), 1);
    assert!(store.refresh_grace(&session.refresh_hash).await.expect("reads").is_none());
    assert!(store.refresh_grace(&successor).await.expect("reads").is_some());
}

crate::on_both_engines!(
    the_view_holds_session_owner_hash_and_database_time,
    sr_32_of_many_who_present_one_token_exactly_one_rotates_it,
    a_rotation_extends_the_idle_limit_and_counts_as_use,
    sr_21_a_session_that_ended_or_expired_is_not_rotated,
    sealed_successors_are_erased_when_their_time_is_over,
);
