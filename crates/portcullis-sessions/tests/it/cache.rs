use std::sync::Arc;
use std::time::Duration;

use portcullis_model::{Role, SessionSource};
use portcullis_sessions::SessionCacheOptions;
use portcullis_storage::{ProfileChange, StoreError, StoreOptions};
use portcullis_testkit::PrivatePostgres;

use crate::test_database::{TestDatabase, days, end, seconds};

async fn a_cached_session_costs_no_statement(database: TestDatabase) {
    let here = database.replica().await;
    let ada = database.user(&here.store, "ada").await;
    let session = database.session(&here.store, ada.id).await;
    assert!(here.cache.cached(session).is_none());
    let before = here.metrics.database_statements();
    let loaded = here.cache.load(session, 1).await.expect("reads").expect("lives");
    assert_eq!(here.metrics.database_statements() - before, 1);
    for _ in 0..10 {
        let cached = here.cache.cached(session).expect("is cached");
        assert!(Arc::ptr_eq(&cached, &loaded));
    }
    assert_eq!(here.metrics.database_statements() - before, 1);
    let page = here.metrics.render(false);
    assert!(page.contains("cache_hits_total{cache_type=\"memory\"} 10"), "{page}");
    assert!(page.contains("cache_misses_total{cache_type=\"memory\"} 1"), "{page}");
}

async fn sr_22_an_ended_session_is_gone_here_at_once(database: TestDatabase) {
    let here = database.replica().await;
    let ada = database.user(&here.store, "ada").await;
    let session = database.session(&here.store, ada.id).await;
    assert!(here.cache.load(session, 1).await.expect("reads").is_some());
    end(&here.store, session).await;
    assert!(here.cache.cached(session).is_none());
    assert!(here.cache.load(session, 1).await.expect("reads").is_none());
}

async fn sr_22_an_ended_session_is_gone_elsewhere_by_the_feed(database: TestDatabase) {
    let (here, there) = (database.replica().await, database.replica().await);
    let ada = database.user(&here.store, "ada").await;
    let session = database.session(&here.store, ada.id).await;
    assert!(there.cache.load(session, 1).await.expect("reads").is_some());
    end(&here.store, session).await;
    assert!(there.cache.cached(session).is_some(), "the test shows nothing");
    there.feed.read().await.expect("reads");
    assert!(there.cache.cached(session).is_none());
    assert!(there.cache.load(session, 1).await.expect("reads").is_none());
}

async fn sr_35_a_new_role_is_in_force_at_once(database: TestDatabase) {
    let (here, there) = (database.replica().await, database.replica().await);
    let ada = database.user(&here.store, "ada").await;
    let session = database.session(&here.store, ada.id).await;
    for cache in [&here.cache, &there.cache] {
        assert_eq!(cache.load(session, 1).await.expect("reads").expect("lives").role, Role::Developer);
    }
    let mut tx = here.store.begin().await.expect("begins");
    tx.set_role(ada.id, Role::Manager, database.clock.now()).await.expect("runs");
    tx.commit().await.expect("commits");
    there.feed.read().await.expect("reads");
    for cache in [&here.cache, &there.cache] {
        assert!(cache.cached(session).is_none());
        assert_eq!(cache.load(session, 1).await.expect("reads").expect("lives").role, Role::Manager);
        assert!(cache.cached(session).is_some());
    }
}

async fn sr_21_an_expired_session_is_neither_cached_nor_loaded(database: TestDatabase) {
    let here = database.replica().await;
    let ada = database.user(&here.store, "ada").await;
    let session = database.session(&here.store, ada.id).await;
    assert!(here.cache.load(session, 1).await.expect("reads").is_some());
    database.clock.advance(days(7) + seconds(1));
    assert!(here.cache.cached(session).is_none());
    assert!(here.cache.load(session, 1).await.expect("reads").is_none());
}

async fn copies_are_not_used_after_stale_max_without_the_feed(database: TestDatabase) {
    let options = SessionCacheOptions { stale_max: Duration::ZERO, ..SessionCacheOptions::default() };
    let here = TestDatabase::unread_replica(database.options(), options).await;
    let ada = database.user(&here.store, "ada").await;
    let session = database.session(&here.store, ada.id).await;
    here.feed.read().await.expect("reads");
    assert!(here.cache.load(session, 1).await.expect("reads from SQL").is_some());
    while here.cache.feed_age().expect("was read") == Duration::ZERO {
        tokio::task::yield_now().await;
    }
    assert!(here.cache.cached(session).is_none());
}

async fn a_user_is_read_once_and_again_after_a_change(database: TestDatabase) {
    let (here, there) = (database.replica().await, database.replica().await);
    let ada = database.user(&here.store, "ada").await;
    let session = database.session(&here.store, ada.id).await;
    let state = here.cache.load(session, 1).await.expect("reads").expect("lives");
    let read = here.cache.user(&state).await.expect("reads").expect("exists");
    assert_eq!(*read, ada);
    let before = here.metrics.database_statements();
    assert!(Arc::ptr_eq(&here.cache.user(&state).await.expect("is cached").expect("is cached"), &read));
    assert_eq!(here.metrics.database_statements(), before);

    let mut tx = there.store.begin().await.expect("begins");
    let change = ProfileChange { avatar: Some(Some("/a.png".to_owned())), ..ProfileChange::default() };
    tx.update_profile(ada.id, &change, database.clock.now()).await.expect("runs");
    tx.commit().await.expect("commits");
    here.feed.read().await.expect("reads");
    let changed = here.cache.user(&state).await.expect("reads").expect("exists");
    assert_eq!(changed.avatar.as_deref(), Some("/a.png"));
}

async fn many_requests_for_one_session_cost_one_statement(database: TestDatabase) {
    let here = database.replica().await;
    let ada = database.user(&here.store, "ada").await;
    let session = database.session(&here.store, ada.id).await;
    let before = here.metrics.database_statements();
    // The gate asks in this order.
    let requests = (0..50).map(async |_| match here.cache.cached(session) {
        Some(cached) => Some(cached),
        None => here.cache.load(session, 1).await.expect("reads"),
    });
    for found in futures_util::future::join_all(requests).await {
        assert!(found.is_some());
    }
    assert_eq!(here.metrics.database_statements() - before, 1);
}

portcullis_testkit::on_both_engines!(
    a_cached_session_costs_no_statement,
    sr_22_an_ended_session_is_gone_here_at_once,
    sr_22_an_ended_session_is_gone_elsewhere_by_the_feed,
    sr_35_a_new_role_is_in_force_at_once,
    sr_21_an_expired_session_is_neither_cached_nor_loaded,
    copies_are_not_used_after_stale_max_without_the_feed,
    a_user_is_read_once_and_again_after_a_change,
    many_requests_for_one_session_cost_one_statement,
);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_sql_cached_sessions_go_on_and_all_recovers() {
    let server = PrivatePostgres::start();
    let database = TestDatabase::at(&server.database());
    // While the server refuses connections, a statement fails after this long.
    let here = database.replica_with(StoreOptions { acquire_timeout: seconds(2), ..database.options() }).await;
    let ada = database.user(&here.store, "ada").await;
    let known = database.session(&here.store, ada.id).await;
    let unknown = database.session(&here.store, ada.id).await;
    assert!(here.cache.load(known, 1).await.expect("reads").is_some());

    server.stop();
    assert!(here.feed.read().await.is_err());
    assert!(here.cache.cached(known).is_some());
    assert!(here.cache.cached(unknown).is_none());
    assert!(here.cache.load(unknown, 1).await.is_err());
    assert!(matches!(here.store.begin().await.map(|_| ()), Err(StoreError::Unavailable { .. })));

    server.start_again();
    while here.store.ping().await.is_err() {
        tokio::task::yield_now().await;
    }
    here.feed.read().await.expect("reads again");
    assert!(here.cache.load(unknown, 1).await.expect("reads again").is_some());
    assert!(here.cache.cached(known).is_some());
}
