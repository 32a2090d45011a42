//! Rotation of refresh tokens and the grace window after it.

use portcullis_storage::{NewSession, Prunable, Rotation, Store};
use tokio::task::JoinSet;

use crate::test_database::{TestDatabase, commit, days, end, seconds};

/// Rotates from one token's hash to another; `false` when the store refuses.
async fn rotate(store: &Store, session: &NewSession, presented_hash: [u8; 32], new_hash: [u8; 32]) -> bool {
    let now = store.refresh_view(session.id).await.expect("reads").expect("exists").now;
    let rotation = Rotation {
        session_id: session.id,
        presented_hash,
        new_hash,
        sealed_successor: &new_hash[..16],
        now,
        idle_expires_at: now + days(7),
    };
    commit(store, async |tx| tx.rotate_refresh(&rotation).await).await
}

async fn a_view_holds_session_user_and_hash(db: TestDatabase) {
    let store = db.store().await;
    let ada = db.user("ada").insert(&store).await;
    let session = db.session(ada.id).insert(&store).await;
    let view = store.refresh_view(session.id).await.expect("reads").expect("exists");
    assert_eq!((view.session.id, view.user, view.refresh_hash), (session.id, ada, session.refresh_hash));
    assert_eq!((view.user_epoch, view.token_epoch), (1, 1));
}

async fn a_view_holds_the_databases_time(db: TestDatabase) {
    let store = db.store().await;
    let ada = db.user("ada").insert(&store).await;
    let session = db.session(ada.id).insert(&store).await;
    db.clock.advance(seconds(3600));
    let view = store.refresh_view(session.id).await.expect("reads").expect("exists");
    let apart = (view.now - db.now()).num_seconds().abs();
    assert!(apart < 30, "the database's time does not follow the test's clock: {apart} s apart");
    assert!((store.now().await.expect("reads") - view.now).num_seconds() < 30);
}

async fn an_unknown_session_has_no_view(db: TestDatabase) {
    let store = db.store().await;
    assert!(store.refresh_view(db.unknown_session()).await.expect("reads").is_none());
}

async fn sr_32_one_of_many_concurrent_rotations_succeeds(db: TestDatabase) {
    let store = db.store().await;
    let ada = db.user("ada").insert(&store).await;
    let session = db.session(ada.id).insert(&store).await;
    let mut races = JoinSet::new();
    for _ in 0..16 {
        let (store, session, successor) = (store.clone(), session.clone(), db.random_hash());
        races
            .spawn(async move { rotate(&store, &session, session.refresh_hash, successor).await.then_some(successor) });
    }
    let winners: Vec<[u8; 32]> = races.join_all().await.into_iter().flatten().collect();
    assert_eq!(winners.len(), 1);
    let view = store.refresh_view(session.id).await.expect("reads").expect("exists");
    assert_eq!(view.refresh_hash, winners[0]);
}

async fn a_rotation_keeps_the_sealed_successor(db: TestDatabase) {
    let store = db.store().await;
    let ada = db.user("ada").insert(&store).await;
    let session = db.session(ada.id).insert(&store).await;
    let successor = db.random_hash();
    assert!(rotate(&store, &session, session.refresh_hash, successor).await);
    let grace = store.grace_window(&session.refresh_hash).await.expect("reads").expect("is kept");
    assert_eq!((grace.session_id, grace.sealed_successor.as_slice()), (session.id, &successor[..16]));
    assert!((grace.now - grace.rotated_at).num_seconds() < 30);
}

async fn a_rotation_extends_the_idle_limit(db: TestDatabase) {
    let store = db.store().await;
    let ada = db.user("ada").insert(&store).await;
    let session = db.session(ada.id).insert(&store).await;
    db.clock.advance(days(1));
    assert!(rotate(&store, &session, session.refresh_hash, db.random_hash()).await);
    let record = store.session_record(session.id).await.expect("reads").expect("exists");
    assert!(record.idle_expires_at >= session.idle_expires_at + days(1));
    assert_eq!(record.idle_expires_at - record.last_seen_at, chrono::TimeDelta::days(7));
}

async fn an_ended_session_is_not_rotated(db: TestDatabase) {
    let store = db.store().await;
    let ada = db.user("ada").insert(&store).await;
    let session = db.session(ada.id).insert(&store).await;
    end(&store, session.id, db.now()).await;
    assert!(!rotate(&store, &session, session.refresh_hash, db.random_hash()).await);
    assert!(store.grace_window(&session.refresh_hash).await.expect("reads").is_none());
}

async fn sr_21_an_idle_session_is_not_rotated(db: TestDatabase) {
    let store = db.store().await;
    let ada = db.user("ada").insert(&store).await;
    let session = db.session(ada.id).insert(&store).await;
    db.clock.advance(days(8));
    assert!(!rotate(&store, &session, session.refresh_hash, db.random_hash()).await);
}

async fn sr_21_a_session_past_its_absolute_limit_is_not_rotated(db: TestDatabase) {
    let store = db.store().await;
    let ada = db.user("ada").insert(&store).await;
    let session = db.session(ada.id).idle_for(days(60)).insert(&store).await;
    db.clock.advance(days(31));
    assert!(!rotate(&store, &session, session.refresh_hash, db.random_hash()).await);
}

async fn old_sealed_successors_are_erased(db: TestDatabase) {
    let store = db.store().await;
    let ada = db.user("ada").insert(&store).await;
    let session = db.session(ada.id).insert(&store).await;
    let successor = db.random_hash();
    assert!(rotate(&store, &session, session.refresh_hash, successor).await);
    db.clock.advance(seconds(60));
    assert!(rotate(&store, &session, successor, db.random_hash()).await);
    let now = store.now().await.expect("reads");
    assert_eq!(store.prune(Prunable::RefreshGrace, now - seconds(30), 10).await.expect("deletes"), 1);
    assert!(store.grace_window(&session.refresh_hash).await.expect("reads").is_none());
    assert!(store.grace_window(&successor).await.expect("reads").is_some());
}

portcullis_testkit::on_both_engines!(
    a_view_holds_session_user_and_hash,
    a_view_holds_the_databases_time,
    an_unknown_session_has_no_view,
    sr_32_one_of_many_concurrent_rotations_succeeds,
    a_rotation_keeps_the_sealed_successor,
    a_rotation_extends_the_idle_limit,
    an_ended_session_is_not_rotated,
    sr_21_an_idle_session_is_not_rotated,
    sr_21_a_session_past_its_absolute_limit_is_not_rotated,
    old_sealed_successors_are_erased,
);
