use std::sync::Arc;

use portcullis_model::{Permission, Role, RolePermissions, SessionId, UserId};
use portcullis_storage::{EndReason, StoreError};
use tokio::task::JoinSet;

use crate::bed::{Bed, Ear, days, end, seconds};

async fn a_session_comes_back_as_it_was_stored(bed: Bed) {
    let store = bed.store().await;
    let ada = bed.someone(&store, "ada").await;
    let new = bed.signed_in(&store, ada.id).await;
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

async fn a_user_agent_is_bounded_and_has_no_control_characters(bed: Bed) {
    let store = bed.store().await;
    let ada = bed.someone(&store, "ada").await;
    let mut new = bed.session(ada.id);
    new.user_agent = Some(format!("a\0b\r\n{}", "é".repeat(1000)));
    let mut tx = store.begin().await.expect("begins");
    tx.insert_session(&new).await.expect("is new");
    tx.commit().await.expect("commits");
    let stored = store.session_record(new.id).await.expect("reads").expect("exists").user_agent.expect("has one");
    assert!(stored.starts_with("abé") && stored.chars().count() == 512);
}

async fn a_session_of_nobody_is_a_conflict(bed: Bed) {
    let store = bed.store().await;
    let nobody = UserId::new(&bed.clock, &bed.random);
    let mut tx = store.begin().await.expect("begins");
    let refused = match tx.insert_session(&bed.session(nobody)).await {
        Err(error) => error,
        Ok(()) => tx.commit().await.expect_err("nobody has sessions"),
    };
    assert!(matches!(refused, StoreError::Conflict("foreign_key")), "{refused:?}");
}

async fn the_state_holds_what_the_gate_needs_and_extra_permissions(bed: Bed) {
    let store = bed.store().await;
    let ada = bed.someone(&store, "ada").await;
    let new = bed.signed_in(&store, ada.id).await;
    let roles = RolePermissions::default();
    let state = store.session_copy(new.id).await.expect("reads").expect("lives").into_state(&roles);
    assert_eq!((state.id, state.user_id, state.role), (new.id, ada.id, Role::Developer));
    assert_eq!((&state.email, state.email_verified, state.demo), (&ada.email, false, false));
    assert_eq!(*state.amr, *new.amr);
    assert_eq!(state.expires_at, new.idle_expires_at.timestamp());
    assert_eq!((state.session_epoch, state.user_epoch, state.token_epoch), (1, 1, 1));
    assert!(Arc::ptr_eq(&state.permissions, roles.of(Role::Developer)), "copied a set that is shared");

    let mut raw = bed.raw().await;
    for permission in ["PROJECT_VIEW", "GATEWAY_VIEW"] {
        let ada = raw.id(ada.id.0);
        raw.run(&format!("INSERT INTO user_permissions (user_id, permission) VALUES ({ada}, '{permission}')")).await;
    }
    let state = store.session_copy(new.id).await.expect("reads").expect("lives").into_state(&roles);
    for name in ["PROJECT_VIEW", "GATEWAY_VIEW", "USER_VIEW", "SYSTEM_VIEW_LOGS"] {
        assert!(state.permissions.contains(&Permission::parse(name).expect("valid")), "{name} is missing");
    }
    assert_eq!(state.permissions.len(), 4);
}

async fn an_ended_or_unknown_session_and_one_of_an_inactive_account_have_no_state(bed: Bed) {
    let store = bed.store().await;
    let ada = bed.someone(&store, "ada").await;
    let (first, second) = (bed.signed_in(&store, ada.id).await, bed.signed_in(&store, ada.id).await);
    assert!(end(&store, first.id, bed.clock.now()).await);
    assert!(store.session_copy(first.id).await.expect("reads").is_none());
    assert!(store.session_copy(second.id).await.expect("reads").is_some());
    let unknown = SessionId::new(&bed.clock, &bed.random);
    assert!(store.session_copy(unknown).await.expect("reads").is_none());
    let mut raw = bed.raw().await;
    raw.run("UPDATE users SET is_active = FALSE").await;
    assert!(store.session_copy(second.id).await.expect("reads").is_none());
}

async fn a_session_ends_once_and_its_epoch_rises(bed: Bed) {
    let store = bed.store().await;
    let ada = bed.someone(&store, "ada").await;
    let new = bed.signed_in(&store, ada.id).await;
    let ear = Ear::on(&store);
    let mut races = JoinSet::new();
    for _ in 0..8 {
        let (store, now) = (store.clone(), bed.clock.now());
        races.spawn(async move { end(&store, new.id, now).await });
    }
    assert_eq!(races.join_all().await.into_iter().filter(|ended| *ended).count(), 1);
    let record = store.session_record(new.id).await.expect("reads").expect("exists");
    assert_eq!((record.epoch, record.end_reason.as_deref()), (2, Some("logout")));
    assert!(record.ended_at.is_some() && !record.is_live(bed.clock.now()));
    let heard = ear.heard();
    assert_eq!(heard.len(), 1);
    assert_eq!((heard[0].user_id, heard[0].session_id, heard[0].epoch, heard[0].ends), (ada.id, Some(new.id), 2, true));
}

async fn nobody_ends_the_session_of_another(bed: Bed) {
    let store = bed.store().await;
    let (ada, eve) = (bed.someone(&store, "ada").await, bed.someone(&store, "eve").await);
    let session = bed.signed_in(&store, ada.id).await;
    let now = bed.clock.now();
    let mut tx = store.begin().await.expect("begins");
    assert!(!tx.end_session_of(eve.id, session.id, EndReason::EndedByUser, now).await.expect("runs"));
    assert!(tx.end_session_of(ada.id, session.id, EndReason::EndedByUser, now).await.expect("runs"));
    tx.commit().await.expect("commits");
}

async fn every_session_but_one_ends(bed: Bed) {
    let store = bed.store().await;
    let (ada, eve) = (bed.someone(&store, "ada").await, bed.someone(&store, "eve").await);
    let stays = bed.signed_in(&store, ada.id).await;
    let mut ending = Vec::new();
    for _ in 0..3 {
        ending.push(bed.signed_in(&store, ada.id).await.id);
    }
    let others = bed.signed_in(&store, eve.id).await;
    let ear = Ear::on(&store);
    let now = bed.clock.now();
    let mut tx = store.begin().await.expect("begins");
    let ended = tx.end_sessions_of(ada.id, Some(stays.id), EndReason::PasswordChanged, now).await.expect("runs");
    tx.commit().await.expect("commits");
    assert_eq!(ended, 3);
    let mut heard: Vec<_> = ear.heard().iter().filter_map(|entry| entry.session_id).collect();
    heard.sort();
    ending.sort();
    assert_eq!(heard, ending);
    let live = async |user| store.list_sessions(user, now).await.expect("reads").len();
    assert_eq!((live(ada.id).await, live(eve.id).await), (1, 1));
    let _ = others;

    let mut tx = store.begin().await.expect("begins");
    assert_eq!(tx.end_sessions_of(ada.id, None, EndReason::LogoutAll, now).await.expect("runs"), 1);
    tx.commit().await.expect("commits");
    assert_eq!(live(ada.id).await, 0);
}

async fn more_sessions_than_one_statement_takes_end_together(bed: Bed) {
    let store = bed.store().await;
    let ada = bed.someone(&store, "ada").await;
    let mut tx = store.begin().await.expect("begins");
    for _ in 0..450 {
        tx.insert_session(&bed.session(ada.id)).await.expect("is new");
    }
    tx.commit().await.expect("commits");
    let ear = Ear::on(&store);
    let mut tx = store.begin().await.expect("begins");
    assert_eq!(tx.end_sessions_of(ada.id, None, EndReason::LogoutAll, bed.clock.now()).await.expect("runs"), 450);
    tx.commit().await.expect("commits");
    assert_eq!(ear.heard().len(), 450);
}

async fn lists_hold_live_sessions_latest_use_first(bed: Bed) {
    let store = bed.store().await;
    let ada = bed.someone(&store, "ada").await;
    let mut expired = bed.session(ada.id);
    expired.idle_expires_at = bed.clock.now() + seconds(1);
    let mut tx = store.begin().await.expect("begins");
    tx.insert_session(&expired).await.expect("is new");
    tx.commit().await.expect("commits");
    bed.clock.advance(seconds(2));
    let first = bed.signed_in(&store, ada.id).await.id;
    let second = bed.signed_in(&store, ada.id).await.id;
    bed.clock.advance(seconds(60));
    let seen = bed.clock.now();
    store.touch_sessions(&[(first, seen)]).await.expect("updates");
    let listed = store.list_sessions(ada.id, seen).await.expect("reads");
    assert_eq!(listed.iter().map(|record| record.id).collect::<Vec<_>>(), [first, second]);
    assert_eq!(listed[0].last_seen_at, seen);
    assert!(store.list_sessions(ada.id, seen + days(8)).await.expect("reads").is_empty());
}

async fn a_last_use_is_never_set_back(bed: Bed) {
    let store = bed.store().await;
    let ada = bed.someone(&store, "ada").await;
    let mut seen = Vec::new();
    for _ in 0..3 {
        seen.push(bed.signed_in(&store, ada.id).await.id);
    }
    let (now, later) = (bed.clock.now(), bed.clock.now() + seconds(30));
    let all: Vec<_> = seen.iter().map(|id| (*id, later)).collect();
    store.touch_sessions(&all).await.expect("updates");
    store.touch_sessions(&[(seen[0], now)]).await.expect("updates");
    store.touch_sessions(&[]).await.expect("nothing to do");
    for record in store.list_sessions(ada.id, now).await.expect("reads") {
        assert_eq!(record.last_seen_at, later);
    }
}

crate::on_both_engines!(
    a_session_comes_back_as_it_was_stored,
    a_user_agent_is_bounded_and_has_no_control_characters,
    a_session_of_nobody_is_a_conflict,
    the_state_holds_what_the_gate_needs_and_extra_permissions,
    an_ended_or_unknown_session_and_one_of_an_inactive_account_have_no_state,
    a_session_ends_once_and_its_epoch_rises,
    nobody_ends_the_session_of_another,
    every_session_but_one_ends,
    more_sessions_than_one_statement_takes_end_together,
    lists_hold_live_sessions_latest_use_first,
    a_last_use_is_never_set_back,
);
