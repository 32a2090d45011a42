//! Ending sessions, and the revocations that tell of it.

use portcullis_storage::EndReason;
use tokio::task::JoinSet;

use crate::test_database::{RecordingListener, TestDatabase, commit, end};

async fn one_of_many_concurrent_logouts_ends_the_session(db: TestDatabase) {
    let store = db.store().await;
    let ada = db.user("ada").insert(&store).await;
    let session = db.session(ada.id).insert(&store).await;
    let listener = RecordingListener::on(&store);
    let mut races = JoinSet::new();
    for _ in 0..8 {
        let (store, now) = (store.clone(), db.now());
        races.spawn(async move { end(&store, session.id, now).await });
    }
    assert_eq!(races.join_all().await.into_iter().filter(|ended| *ended).count(), 1);
    let record = store.session_record(session.id).await.expect("reads").expect("exists");
    assert_eq!((record.epoch, record.end_reason.as_deref()), (2, Some("logout")));
    assert!(record.ended_at.is_some() && !record.is_live(db.now()));
    let announced: Vec<_> =
        listener.revocations().iter().map(|entry| (entry.user_id, entry.session_id, entry.epoch, entry.ends)).collect();
    assert_eq!(announced, [(ada.id, Some(session.id), 2, true)]);
}

async fn a_user_cannot_end_another_users_session(db: TestDatabase) {
    let store = db.store().await;
    let (ada, eve) = (db.user("ada").insert(&store).await, db.user("eve").insert(&store).await);
    let session = db.session(ada.id).insert(&store).await.id;
    for (user, ends) in [(eve.id, false), (ada.id, true)] {
        let reason = EndReason::EndedByUser;
        let ended = commit(&store, async |tx| tx.end_session_of(user, session, reason, db.now()).await).await;
        assert_eq!(ended, ends);
    }
}

async fn all_sessions_but_one_end(db: TestDatabase) {
    let store = db.store().await;
    let ada = db.user("ada").insert(&store).await.id;
    let kept = db.session(ada).insert(&store).await.id;
    let mut ending = Vec::new();
    for _ in 0..3 {
        ending.push(db.session(ada).insert(&store).await.id);
    }
    let listener = RecordingListener::on(&store);
    let reason = EndReason::PasswordChanged;
    let ended = commit(&store, async |tx| tx.end_sessions_of(ada, Some(kept), reason, db.now()).await).await;
    assert_eq!(ended, 3);
    let mut announced: Vec<_> = listener.revocations().iter().filter_map(|entry| entry.session_id).collect();
    announced.sort();
    ending.sort();
    assert_eq!(announced, ending);
    let live = store.list_sessions(ada, db.now()).await.expect("reads");
    assert_eq!(live.iter().map(|record| record.id).collect::<Vec<_>>(), [kept]);
}

async fn a_logout_everywhere_ends_only_the_users_sessions(db: TestDatabase) {
    let store = db.store().await;
    let (ada, eve) = (db.user("ada").insert(&store).await.id, db.user("eve").insert(&store).await.id);
    for user in [ada, ada, eve] {
        db.session(user).insert(&store).await;
    }
    let reason = EndReason::LogoutAll;
    assert_eq!(commit(&store, async |tx| tx.end_sessions_of(ada, None, reason, db.now()).await).await, 2);
    assert!(store.list_sessions(ada, db.now()).await.expect("reads").is_empty());
    assert_eq!(store.list_sessions(eve, db.now()).await.expect("reads").len(), 1);
}

async fn more_revocations_than_one_insert_holds_are_written(db: TestDatabase) {
    let store = db.store().await;
    let ada = db.user("ada").insert(&store).await.id;
    let kept = db.session(ada).insert(&store).await.id;
    commit(&store, async |tx| {
        for _ in 0..450 {
            tx.insert_session(&db.session(ada).build()).await?;
        }
        Ok(())
    })
    .await;
    let listener = RecordingListener::on(&store);
    let reason = EndReason::PasswordChanged;
    assert_eq!(commit(&store, async |tx| tx.end_sessions_of(ada, Some(kept), reason, db.now()).await).await, 450);
    // One for each session, and one that makes the copies of the user's sessions stale.
    assert_eq!(listener.revocations().len(), 451);
    assert_eq!(db.raw().await.number("SELECT count(*) FROM revocations").await, 451);
}

portcullis_testkit::on_both_engines!(
    one_of_many_concurrent_logouts_ends_the_session,
    a_user_cannot_end_another_users_session,
    all_sessions_but_one_end,
    a_logout_everywhere_ends_only_the_users_sessions,
    more_revocations_than_one_insert_holds_are_written,
);
