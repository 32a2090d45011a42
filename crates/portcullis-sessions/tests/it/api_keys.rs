use portcullis_model::api_key::ApiKey;
use portcullis_model::{ApiKeyScopes, Permission, SecretString, SessionId, SessionSource, UserId};
use portcullis_storage::{NewApiKey, Store};

use crate::test_database::{RecordingListener, TestDatabase, days};

/// Stores an API key of this user.
pub(crate) async fn api_key(
    database: &TestDatabase,
    store: &Store,
    owner: UserId,
    scopes: Option<&[&str]>,
) -> NewApiKey {
    let key = ApiKey {
        id: SessionId::new(&database.clock, &database.random),
        name: "deploy".to_owned(),
        prefix: "pk_abcdefgh".to_owned(),
        scopes: scopes.map(|names| names.iter().map(|name| Permission::parse(name).expect("valid")).collect()),
        expires_at: None,
        last_used_at: None,
        created_at: database.clock.now(),
    };
    stored(store, NewApiKey { key, user_id: owner, hash: database.random.bytes() }).await
}

pub(crate) async fn stored(store: &Store, new: NewApiKey) -> NewApiKey {
    let mut tx = store.begin().await.expect("begins");
    tx.insert_api_key(&new).await.expect("is new");
    tx.commit().await.expect("commits");
    new
}

/// Gives a user these permissions.
async fn grant(database: &TestDatabase, store: &Store, user: UserId, names: &[&str]) {
    let names = names.iter().map(|name| Permission::parse(name).expect("valid")).collect();
    let mut tx = store.begin().await.expect("begins");
    assert!(tx.set_permissions(user, &names, database.clock.now()).await.expect("runs"));
    tx.commit().await.expect("commits");
}

async fn a_key_without_scopes_has_its_owners_permissions(database: TestDatabase) {
    let here = database.replica().await;
    let ada = database.user(&here.store, "ada").await;
    grant(&database, &here.store, ada.id, &["USER_VIEW", "PROJECT_VIEW"]).await;
    let new = api_key(&database, &here.store, ada.id, None).await;
    assert!(here.cache.cached_key(&new.hash).is_none(), "not read yet");
    let state = here.cache.load_key(new.hash).await.expect("reads").expect("is valid");
    assert_eq!((state.id, state.user_id, state.api_key.clone()), (new.key.id, ada.id, Some(ApiKeyScopes::All)));
    assert_eq!(state.role_in_force(), Some(ada.role));
    assert_eq!(state.permissions.len(), 2);
    assert!(here.cache.cached_key(&new.hash).is_some());
}

async fn a_scoped_key_has_no_permission_its_owner_lacks(database: TestDatabase) {
    let here = database.replica().await;
    let ada = database.user(&here.store, "ada").await;
    grant(&database, &here.store, ada.id, &["USER_VIEW", "PROJECT_VIEW"]).await;
    let new = api_key(&database, &here.store, ada.id, Some(&["USER_VIEW", "USER_DELETE"])).await;
    let state = here.cache.load_key(new.hash).await.expect("reads").expect("is valid");
    let held: Vec<&str> = state.permissions.iter().map(Permission::as_str).collect();
    assert_eq!(held, ["USER_VIEW"]);
    assert_eq!((state.role_in_force(), state.is_signed_in()), (None, false));
}

async fn an_unknown_key_is_not_found(database: TestDatabase) {
    let here = database.replica().await;
    assert!(here.cache.load_key(database.random.bytes()).await.expect("reads").is_none());
}

async fn keys_are_listed_newest_first(database: TestDatabase) {
    let here = database.replica().await;
    let ada = database.user(&here.store, "ada").await;
    let first = api_key(&database, &here.store, ada.id, None).await;
    let second = api_key(&database, &here.store, ada.id, Some(&["USER_VIEW"])).await;
    let listed = here.store.api_keys(ada.id).await.expect("reads");
    assert_eq!(listed.iter().map(|key| key.id).collect::<Vec<_>>(), [second.key.id, first.key.id]);
    assert_eq!((&listed[0].scopes, &listed[1].scopes), (&second.key.scopes, &None));
}

async fn a_revoked_key_is_refused_on_every_replica(database: TestDatabase) {
    let (here, there) = (database.replica().await, database.replica().await);
    let ada = database.user(&here.store, "ada").await;
    let new = api_key(&database, &here.store, ada.id, None).await;
    for cache in [&here.cache, &there.cache] {
        assert!(cache.load_key(new.hash).await.expect("reads").is_some());
    }
    let heard = RecordingListener::on(&here.store);
    let mut tx = here.store.begin().await.expect("begins");
    assert!(tx.revoke_api_key(ada.id, new.key.id, database.clock.now()).await.expect("runs"));
    assert!(!tx.revoke_api_key(ada.id, new.key.id, database.clock.now()).await.expect("runs"), "revoked twice");
    tx.commit().await.expect("commits");
    assert!(heard.recorded().iter().any(|entry| entry.session_id == Some(new.key.id) && entry.ends), "its streams end");
    assert!(here.cache.cached_key(&new.hash).is_none());
    there.feed.read().await.expect("reads");
    assert!(there.cache.cached_key(&new.hash).is_none());
    for cache in [&here.cache, &there.cache] {
        assert!(cache.load_key(new.hash).await.expect("reads").is_none());
    }
    assert!(here.store.api_keys(ada.id).await.expect("reads").is_empty());
}

async fn another_users_key_cannot_be_revoked(database: TestDatabase) {
    let here = database.replica().await;
    let (ada, ben) = (database.user(&here.store, "ada").await, database.user(&here.store, "ben").await);
    let new = api_key(&database, &here.store, ada.id, None).await;
    let mut tx = here.store.begin().await.expect("begins");
    assert!(!tx.revoke_api_key(ben.id, new.key.id, database.clock.now()).await.expect("runs"));
    tx.commit().await.expect("commits");
    assert!(here.cache.load_key(new.hash).await.expect("reads").is_some());
}

async fn a_key_ends_with_its_time(database: TestDatabase) {
    let here = database.replica().await;
    let ada = database.user(&here.store, "ada").await;
    let mut new = api_key(&database, &here.store, ada.id, None).await;
    new.key.id = SessionId::new(&database.clock, &database.random);
    new.key.expires_at = Some(database.clock.now() + days(1));
    new.hash = database.random.bytes();
    let new = stored(&here.store, new).await;
    assert!(here.cache.load_key(new.hash).await.expect("reads").is_some());
    database.clock.advance(days(1));
    here.feed.read().await.expect("reads");
    assert!(here.cache.cached_key(&new.hash).is_none());
    assert!(here.cache.load_key(new.hash).await.expect("reads").is_none());
}

async fn a_key_ends_when_its_owner_is_disabled(database: TestDatabase) {
    let here = database.replica().await;
    let ada = database.user(&here.store, "ada").await;
    let new = api_key(&database, &here.store, ada.id, None).await;
    assert!(here.cache.load_key(new.hash).await.expect("reads").is_some());
    let mut tx = here.store.begin().await.expect("begins");
    tx.set_active(ada.id, false, database.clock.now()).await.expect("runs");
    tx.commit().await.expect("commits");
    assert!(here.cache.cached_key(&new.hash).is_none());
    assert!(here.cache.load_key(new.hash).await.expect("reads").is_none());
}

async fn sr_51_a_reset_ends_cached_keys_on_every_replica(database: TestDatabase) {
    let (here, there) = (database.replica().await, database.replica().await);
    let ada = database.user(&here.store, "ada").await;
    let new = api_key(&database, &here.store, ada.id, None).await;
    for cache in [&here.cache, &there.cache] {
        assert!(cache.load_key(new.hash).await.expect("reads").is_some());
    }
    let mut tx = here.store.begin().await.expect("begins");
    let hash = SecretString::new("$argon2id$reset");
    assert!(tx.reset_password_hash(ada.id, &hash, database.clock.now()).await.expect("runs"));
    tx.commit().await.expect("commits");
    there.feed.read().await.expect("reads");
    for cache in [&here.cache, &there.cache] {
        assert!(cache.cached_key(&new.hash).is_none());
        assert!(cache.load_key(new.hash).await.expect("reads").is_none());
    }
}

async fn the_last_use_of_a_key_is_written(database: TestDatabase) {
    let here = database.replica().await;
    let ada = database.user(&here.store, "ada").await;
    let new = api_key(&database, &here.store, ada.id, None).await;
    let state = here.cache.load_key(new.hash).await.expect("reads").expect("is valid");
    let now = database.clock.unix_seconds();
    state.touch(now);
    here.cache.flush_every_last_seen().await.expect("writes");
    let used = here.store.api_keys(ada.id).await.expect("reads")[0].last_used_at.expect("was used");
    assert_eq!(used.timestamp(), now);
}

portcullis_testkit::on_both_engines!(
    a_key_without_scopes_has_its_owners_permissions,
    a_scoped_key_has_no_permission_its_owner_lacks,
    an_unknown_key_is_not_found,
    keys_are_listed_newest_first,
    a_revoked_key_is_refused_on_every_replica,
    another_users_key_cannot_be_revoked,
    a_key_ends_with_its_time,
    a_key_ends_when_its_owner_is_disabled,
    sr_51_a_reset_ends_cached_keys_on_every_replica,
    the_last_use_of_a_key_is_written,
);
