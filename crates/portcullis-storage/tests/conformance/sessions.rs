//! Inserting and reading sessions, and what the gate reads of them.

use std::sync::Arc;

use portcullis_model::{Permission, Role, RolePermissions, SessionId, SessionState};
use portcullis_storage::{Store, StoreError};

use crate::test_database::{TestDatabase, commit, days, end, error_of, seconds};

async fn a_session_is_read_as_it_was_inserted(db: TestDatabase) {
    let store = db.store().await;
    let ada = db.user("ada").insert(&store).await;
    let new = db.session(ada.id).insert(&store).await;
    let record = store.session_record(new.id).await.expect("reads").expect("exists");
    assert_eq!((record.id, record.user_id, record.epoch), (new.id, ada.id, 1));
    assert_eq!((record.created_at, record.last_seen_at), (new.created_at, new.created_at));
    assert_eq!(record.authenticated_at, new.created_at);
    assert_eq!((record.idle_expires_at, record.absolute_expires_at), (new.idle_expires_at, new.absolute_expires_at));
    assert_eq!(record.expires_at(), new.idle_expires_at);
    assert_eq!((record.remember, record.transport, &record.amr), (true, new.transport, &new.amr));
    assert_eq!((record.ip.as_deref(), record.user_agent), (Some("2001:db8::1"), new.user_agent));
    assert_eq!((record.ended_at, record.end_reason), (None, None));
}

async fn a_user_agent_is_bounded_and_cleaned(db: TestDatabase) {
    let store = db.store().await;
    let ada = db.user("ada").insert(&store).await;
    let sent = format!("a\0b\r\n{}", "é".repeat(1000));
    let new = db.session(ada.id).user_agent(&sent).insert(&store).await;
    let stored = store.session_record(new.id).await.expect("reads").expect("exists").user_agent.expect("has one");
    assert!(stored.starts_with("abé") && stored.chars().count() == 512, "{stored:?}");
}

async fn a_session_of_an_unknown_user_is_a_conflict(db: TestDatabase) {
    let store = db.store().await;
    let session = db.session(db.unknown_user()).build();
    let error = error_of(&store, async |tx| tx.insert_session(&session).await).await;
    assert!(matches!(error, StoreError::Conflict("foreign_key")), "{error:?}");
}

/// Reads what the gate needs of a session.
async fn state(store: &Store, id: SessionId) -> Option<SessionState> {
    store.session_copy(id).await.expect("reads").map(|copy| copy.into_state(&RolePermissions::default()))
}

async fn the_gate_reads_user_session_and_epochs(db: TestDatabase) {
    let store = db.store().await;
    let ada = db.user("ada").insert(&store).await;
    let new = db.session(ada.id).insert(&store).await;
    let state = state(&store, new.id).await.expect("is live");
    assert_eq!((state.id, state.user_id, state.role), (new.id, ada.id, Role::Developer));
    assert_eq!((&state.email, state.email_verified), (&ada.email, false));
    assert_eq!(*state.amr, *new.amr);
    assert_eq!(state.expires_at, new.idle_expires_at.timestamp());
    assert_eq!((state.session_epoch, state.user_epoch, state.token_epoch), (1, 1, 1));
}

async fn users_of_one_role_share_its_permissions(db: TestDatabase) {
    let store = db.store().await;
    let ada = db.user("ada").insert(&store).await;
    let new = db.session(ada.id).insert(&store).await;
    let roles = RolePermissions::default();
    let state = store.session_copy(new.id).await.expect("reads").expect("is live").into_state(&roles);
    assert!(Arc::ptr_eq(&state.permissions, roles.of(Role::Developer)), "the set was copied");
}

async fn extra_permissions_are_added_to_the_roles(db: TestDatabase) {
    let store = db.store().await;
    let ada = db.user("ada").role(Role::Manager).insert(&store).await;
    let new = db.session(ada.id).insert(&store).await;
    let permission = |name| Permission::parse(name).expect("a valid permission");
    let extra = ["PROJECT_VIEW", "GATEWAY_VIEW"].map(permission).into_iter().collect();
    commit(&store, async |tx| tx.set_permissions(ada.id, &extra, db.now()).await).await;
    let state = state(&store, new.id).await.expect("is live");
    for name in ["PROJECT_VIEW", "GATEWAY_VIEW", "USER_VIEW", "SYSTEM_VIEW_LOGS"] {
        assert!(state.permissions.contains(&permission(name)), "{name} is missing");
    }
    let of_role = RolePermissions::default().of(Role::Manager).len();
    assert_eq!(state.permissions.len(), of_role + 1, "GATEWAY_VIEW is a manager's already");
}

async fn the_gate_does_not_read_an_ended_session(db: TestDatabase) {
    let store = db.store().await;
    let ada = db.user("ada").insert(&store).await;
    let (ended, live) = (db.session(ada.id).insert(&store).await, db.session(ada.id).insert(&store).await);
    assert!(end(&store, ended.id, db.now()).await);
    assert!(state(&store, ended.id).await.is_none());
    assert!(state(&store, live.id).await.is_some());
}

async fn the_gate_does_not_read_an_unknown_session(db: TestDatabase) {
    let store = db.store().await;
    assert!(state(&store, db.unknown_session()).await.is_none());
}

async fn the_gate_does_not_read_an_inactive_users_session(db: TestDatabase) {
    let store = db.store().await;
    let ada = db.user("ada").inactive().insert(&store).await;
    let session = db.session(ada.id).insert(&store).await;
    assert!(state(&store, session.id).await.is_none());
}

async fn a_list_holds_live_sessions_latest_use_first(db: TestDatabase) {
    let store = db.store().await;
    let ada = db.user("ada").insert(&store).await;
    db.session(ada.id).idle_for(seconds(1)).insert(&store).await;
    db.clock.advance(seconds(2));
    let used = db.session(ada.id).insert(&store).await.id;
    let unused = db.session(ada.id).insert(&store).await.id;
    db.clock.advance(seconds(60));
    let now = db.now();
    store.touch_sessions(&[(used, now)]).await.expect("updates");
    let listed = store.list_sessions(ada.id, now).await.expect("reads");
    assert_eq!(listed.iter().map(|record| record.id).collect::<Vec<_>>(), [used, unused]);
    assert_eq!(listed[0].last_seen_at, now);
}

async fn a_list_leaves_out_expired_sessions(db: TestDatabase) {
    let store = db.store().await;
    let ada = db.user("ada").insert(&store).await;
    db.session(ada.id).insert(&store).await;
    assert!(store.list_sessions(ada.id, db.now() + days(8)).await.expect("reads").is_empty());
}

async fn the_time_of_last_use_never_goes_back(db: TestDatabase) {
    let store = db.store().await;
    let ada = db.user("ada").insert(&store).await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(db.session(ada.id).insert(&store).await.id);
    }
    let (now, later) = (db.now(), db.now() + seconds(30));
    let all: Vec<_> = ids.iter().map(|id| (*id, later)).collect();
    store.touch_sessions(&all).await.expect("updates");
    store.touch_sessions(&[(ids[0], now)]).await.expect("updates");
    store.touch_sessions(&[]).await.expect("has nothing to do");
    let listed = store.list_sessions(ada.id, now).await.expect("reads");
    assert_eq!(listed.len(), 3);
    assert!(listed.iter().all(|record| record.last_seen_at == later));
}

portcullis_testkit::on_both_engines!(
    a_session_is_read_as_it_was_inserted,
    a_user_agent_is_bounded_and_cleaned,
    a_session_of_an_unknown_user_is_a_conflict,
    the_gate_reads_user_session_and_epochs,
    users_of_one_role_share_its_permissions,
    extra_permissions_are_added_to_the_roles,
    the_gate_does_not_read_an_ended_session,
    the_gate_does_not_read_an_unknown_session,
    the_gate_does_not_read_an_inactive_users_session,
    a_list_holds_live_sessions_latest_use_first,
    a_list_leaves_out_expired_sessions,
    the_time_of_last_use_never_goes_back,
);
