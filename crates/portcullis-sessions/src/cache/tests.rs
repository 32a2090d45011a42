use std::sync::atomic::{AtomicI64, Ordering};

use portcullis_model::{Clock, Random};
use portcullis_storage::{DatabaseUrl, StoreOptions};
use portcullis_telemetry::MetricsOptions;
use portcullis_testkit::{PrivateDatabase, session};

use super::look_up::Inserted;
use super::*;
use crate::RevocationFeed;

async fn cache(database: &PrivateDatabase) -> Arc<SessionCache> {
    let url = DatabaseUrl::parse(database.url()).expect("the test kit gives an address");
    let metrics = Metrics::new(&MetricsOptions::default(), "test");
    let options = StoreOptions::new(url, Clock::system(), Random::system(), metrics);
    let store = Store::open(options).await.expect("a new file opens");
    let cache = SessionCache::new(&store, RolePermissions::default(), SessionCacheOptions::default());
    RevocationFeed::new(&store, &cache).read().await.expect("the log is readable");
    cache
}

fn state(cache: &SessionCache) -> SessionState {
    session().copy().into_state(&cache.roles())
}

/// The same session, read again.
fn again(state: &SessionState) -> SessionState {
    SessionState {
        permissions: Arc::clone(&state.permissions),
        email: state.email.clone(),
        amr: Arc::clone(&state.amr),
        api_key: state.api_key.clone(),
        last_seen: AtomicI64::new(state.last_seen.load(Ordering::Relaxed)),
        ..*state
    }
}

#[tokio::test]
async fn a_copy_read_before_the_end_is_not_cached_after_it() {
    let database = PrivateDatabase::sqlite();
    let cache = cache(&database).await;
    let read = state(&cache);
    let ended = Revocation { user_id: read.user_id, session_id: Some(read.id), epoch: 2, ends: true };
    cache.revoked(&ended);
    let id = read.id;
    assert!(matches!(cache.insert(read, &cache.begin_reading()), Inserted::Stale));
    assert!(cache.cached(id).is_none());
}

#[tokio::test]
async fn sr_35_a_copy_read_before_a_user_change_is_not_cached() {
    let database = PrivateDatabase::sqlite();
    let cache = cache(&database).await;
    let read = state(&cache);
    let id = read.id;
    let changed = Revocation { user_id: read.user_id, session_id: None, epoch: 2, ends: false };
    cache.revoked(&changed);
    assert!(matches!(cache.insert(again(&read), &cache.begin_reading()), Inserted::Stale));
    let newer = SessionState { user_epoch: 2, ..again(&read) };
    assert!(matches!(cache.insert(newer, &cache.begin_reading()), Inserted::Fresh(_)));
    assert!(cache.cached(id).is_some());
}

#[tokio::test]
async fn sr_35_a_user_change_makes_all_their_copies_stale() {
    let database = PrivateDatabase::sqlite();
    let cache = cache(&database).await;
    let (first, other) = (state(&cache), state(&cache));
    let second = SessionState { id: state(&cache).id, ..again(&first) };
    let (user_id, first_id, second_id, other_id) = (first.user_id, first.id, second.id, other.id);
    for copy in [first, second, other] {
        assert!(matches!(cache.insert(copy, &cache.begin_reading()), Inserted::Fresh(_)));
    }
    cache.revoked(&Revocation { user_id, session_id: None, epoch: 2, ends: false });
    assert!(cache.cached(first_id).is_none() && cache.cached(second_id).is_none());
    assert!(cache.cached(other_id).is_some(), "another user's session was dropped");
}

#[tokio::test]
async fn a_copy_with_old_roles_is_not_cached() {
    let database = PrivateDatabase::sqlite();
    let cache = cache(&database).await;
    let before = cache.begin_reading();
    let read = state(&cache);
    cache.set_roles(RolePermissions::default());
    assert!(matches!(cache.insert(read, &before), Inserted::Stale));
}

#[tokio::test]
async fn a_cache_whose_feed_was_never_read_holds_nothing() {
    let database = PrivateDatabase::sqlite();
    let fed = cache(&database).await;
    let unfed = SessionCache::new(&fed.store, RolePermissions::default(), SessionCacheOptions::default());
    let read = state(&unfed);
    let id = read.id;
    assert!(matches!(unfed.insert(read, &unfed.begin_reading()), Inserted::Fresh(_)));
    assert!(unfed.cached(id).is_none());
    RevocationFeed::new(&unfed.store, &unfed).read().await.expect("the log is readable");
    assert!(unfed.cached(id).is_none());
}

#[tokio::test]
async fn an_expired_copy_is_not_used() {
    let database = PrivateDatabase::sqlite();
    let cache = cache(&database).await;
    let read = SessionState { expires_at: Clock::system().unix_seconds(), ..state(&cache) };
    let id = read.id;
    cache.insert(read, &cache.begin_reading());
    assert!(cache.cached(id).is_none());
}

#[tokio::test]
async fn old_copies_are_dropped_and_young_ones_stay() {
    let database = PrivateDatabase::sqlite();
    let cache = cache(&database).await;
    let read = state(&cache);
    let id = read.id;
    cache.insert(read, &cache.begin_reading());
    cache.drop_copies_older_than(Duration::from_secs(600));
    assert!(cache.cached(id).is_some());
    cache.drop_copies_older_than(Duration::ZERO);
    assert!(cache.cached(id).is_none());
}
