use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use portcullis_model::{Role, RolePermissions, SessionSource};
use portcullis_storage::{
    DatabaseUrl, ProfileChange, SessionTable, SessionTableOptions, Store, StoreError, StoreOptions,
};
use portcullis_testkit::PrivatePostgres;

use crate::bed::{Bed, days, end, seconds};

async fn a_session_is_read_once_and_then_held(bed: Bed) {
    let (store, metrics) = bed.measured_store().await;
    let table = bed.table(&store).await;
    let ada = bed.someone(&store, "ada").await;
    let session = bed.signed_in(&store, ada.id).await;
    assert!(table.cached(session.id).is_none());
    let loaded = table.load(session.id, 1).await.expect("reads").expect("lives");
    let before = metrics.database_statements();
    for _ in 0..10 {
        let held = table.cached(session.id).expect("held");
        assert!(Arc::ptr_eq(&held, &loaded));
    }
    assert_eq!(metrics.database_statements(), before);
    let page = metrics.render(false);
    assert!(page.contains("cache_hits_total{cache_type=\"memory\"} 10"), "{page}");
    assert!(page.contains("cache_misses_total{cache_type=\"memory\"} 1"), "{page}");
}

async fn sr_22_an_ended_session_is_gone_here_at_once_and_elsewhere_by_the_feed(bed: Bed) {
    let (here, there) = (bed.store().await, bed.store().await);
    let (near, far) = (bed.table(&here).await, bed.table(&there).await);
    let ada = bed.someone(&here, "ada").await;
    let session = bed.signed_in(&here, ada.id).await;
    for table in [&near, &far] {
        assert!(table.load(session.id, 1).await.expect("reads").is_some());
        assert!(table.cached(session.id).is_some());
    }
    end(&here, session.id, bed.clock.now()).await;
    assert!(near.cached(session.id).is_none());
    far.read_feed().await.expect("reads");
    assert!(far.cached(session.id).is_none());
    assert!(far.load(session.id, 1).await.expect("reads").is_none());
}

async fn sr_35_a_new_role_is_in_force_at_once(bed: Bed) {
    let (here, there) = (bed.store().await, bed.store().await);
    let (near, far) = (bed.table(&here).await, bed.table(&there).await);
    let ada = bed.someone(&here, "ada").await;
    let session = bed.signed_in(&here, ada.id).await;
    for table in [&near, &far] {
        assert_eq!(table.load(session.id, 1).await.expect("reads").expect("lives").role, Role::Developer);
    }
    let mut tx = here.begin().await.expect("begins");
    tx.set_role(ada.id, Role::Manager, bed.clock.now()).await.expect("runs");
    tx.commit().await.expect("commits");
    far.read_feed().await.expect("reads");
    for table in [&near, &far] {
        assert!(table.cached(session.id).is_none());
        assert_eq!(table.load(session.id, 1).await.expect("reads").expect("lives").role, Role::Manager);
        assert!(table.cached(session.id).is_some());
    }
}

async fn sr_21_a_session_past_its_limit_is_neither_held_nor_loaded(bed: Bed) {
    let store = bed.store().await;
    let table = bed.table(&store).await;
    let ada = bed.someone(&store, "ada").await;
    let session = bed.signed_in(&store, ada.id).await;
    assert!(table.load(session.id, 1).await.expect("reads").is_some());
    bed.clock.advance(days(7) + seconds(1));
    assert!(table.cached(session.id).is_none());
    assert!(table.load(session.id, 1).await.expect("reads").is_none());
}

async fn uses_are_written_down_in_one_batch(bed: Bed) {
    let (store, metrics) = bed.measured_store().await;
    let table = bed.table(&store).await;
    let ada = bed.someone(&store, "ada").await;
    let mut sessions = Vec::new();
    for _ in 0..5 {
        sessions.push(bed.signed_in(&store, ada.id).await.id);
    }
    bed.clock.advance(seconds(90));
    for id in &sessions {
        table.load(*id, 1).await.expect("reads").expect("lives").touch(bed.clock.unix_seconds());
    }
    let before = metrics.database_statements();
    table.flush_last_seen().await.expect("writes");
    table.flush_last_seen().await.expect("has nothing to write");
    assert_eq!(metrics.database_statements() - before, 1);
    for record in store.list_sessions(ada.id, bed.clock.now()).await.expect("reads") {
        assert!((bed.clock.now() - record.last_seen_at).num_seconds() < 60);
    }
}

async fn a_copy_read_again_keeps_its_last_use(bed: Bed) {
    let store = bed.store().await;
    let table = bed.table(&store).await;
    let ada = bed.someone(&store, "ada").await;
    let session = bed.signed_in(&store, ada.id).await;
    let used = bed.clock.unix_seconds() + 42;
    table.load(session.id, 1).await.expect("reads").expect("lives").touch(used);
    let again = table.load(session.id, 1).await.expect("reads").expect("lives");
    assert_eq!(again.last_seen.load(Ordering::Relaxed), used);
    table.flush_last_seen().await.expect("writes");
    let record = store.session_record(session.id).await.expect("reads").expect("exists");
    assert_eq!(record.last_seen_at.timestamp(), used);
}

async fn copies_are_not_used_once_the_feed_is_older_than_stale_max(bed: Bed) {
    let store = bed.store().await;
    let options = SessionTableOptions { stale_max: Duration::ZERO, ..SessionTableOptions::default() };
    let table = SessionTable::new(&store, RolePermissions::default(), options);
    let ada = bed.someone(&store, "ada").await;
    let session = bed.signed_in(&store, ada.id).await;
    table.read_feed().await.expect("reads");
    assert!(table.load(session.id, 1).await.expect("SQL answers").is_some());
    while table.feed_age().expect("was read") == Duration::ZERO {
        tokio::task::yield_now().await;
    }
    assert!(table.cached(session.id).is_none());
}

async fn an_account_is_read_once_and_again_when_it_has_changed(bed: Bed) {
    let (here, metrics) = bed.measured_store().await;
    let there = bed.store().await;
    let table = bed.table(&here).await;
    let ada = bed.someone(&here, "ada").await;
    let session = bed.signed_in(&here, ada.id).await;
    let state = table.load(session.id, 1).await.expect("reads").expect("lives");
    let read = table.account(&state).await.expect("reads").expect("exists");
    assert_eq!(*read, ada);
    let before = metrics.database_statements();
    assert!(Arc::ptr_eq(&table.account(&state).await.expect("is held").expect("is held"), &read));
    assert_eq!(metrics.database_statements(), before);

    let mut tx = there.begin().await.expect("begins");
    let change = ProfileChange { avatar: Some(Some("/a.png".to_owned())), ..ProfileChange::default() };
    tx.update_profile(ada.id, &change, bed.clock.now()).await.expect("runs");
    tx.commit().await.expect("commits");
    table.read_feed().await.expect("reads");
    let changed = table.account(&state).await.expect("reads").expect("exists");
    assert_eq!(changed.avatar.as_deref(), Some("/a.png"));
}

async fn many_who_ask_for_one_session_at_once_cost_one_statement(bed: Bed) {
    let (store, metrics) = bed.measured_store().await;
    let table = bed.table(&store).await;
    let ada = bed.someone(&store, "ada").await;
    let session = bed.signed_in(&store, ada.id).await;
    let before = metrics.database_statements();
    // As the gate asks.
    let asking = (0..50).map(async |_| match table.cached(session.id) {
        Some(held) => Some(held),
        None => table.load(session.id, 1).await.expect("reads"),
    });
    for found in futures_util::future::join_all(asking).await {
        assert!(found.is_some());
    }
    assert_eq!(metrics.database_statements() - before, 1);
}

crate::on_both_engines!(
    many_who_ask_for_one_session_at_once_cost_one_statement,
    an_account_is_read_once_and_again_when_it_has_changed,
    a_session_is_read_once_and_then_held,
    sr_22_an_ended_session_is_gone_here_at_once_and_elsewhere_by_the_feed,
    sr_35_a_new_role_is_in_force_at_once,
    sr_21_a_session_past_its_limit_is_neither_held_nor_loaded,
    uses_are_written_down_in_one_batch,
    a_copy_read_again_keeps_its_last_use,
    copies_are_not_used_once_the_feed_is_older_than_stale_max,
);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_sql_gone_known_sessions_go_on_unknown_ones_are_refused_and_all_recovers() {
    let server = PrivatePostgres::start();
    let bed = Bed::at(DatabaseUrl::parse(&server.database()).expect("an address"));
    // While the server refuses connections, a statement is refused after this long.
    let options = StoreOptions { acquire_timeout: seconds(1), ..bed.options().0 };
    let store = Store::open(options).await.expect("the database opens");
    let table = bed.table(&store).await;
    let ada = bed.someone(&store, "ada").await;
    let (known, unknown) = (bed.signed_in(&store, ada.id).await, bed.signed_in(&store, ada.id).await);
    assert!(table.load(known.id, 1).await.expect("reads").is_some());

    server.stop();
    assert!(table.read_feed().await.is_err());
    assert!(table.cached(known.id).is_some());
    assert!(table.cached(unknown.id).is_none());
    assert!(table.load(unknown.id, 1).await.is_err());
    assert!(matches!(store.begin().await.map(|_| ()), Err(StoreError::Unavailable { .. })));

    server.start_again();
    while store.ping().await.is_err() {
        tokio::task::yield_now().await;
    }
    table.read_feed().await.expect("reads again");
    assert!(table.load(unknown.id, 1).await.expect("reads again").is_some());
    assert!(table.cached(known.id).is_some());
}
