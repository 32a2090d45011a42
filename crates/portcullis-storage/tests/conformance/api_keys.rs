use portcullis_model::api_key::ApiKey;
use portcullis_model::{ApiKeyScopes, Permission, SessionId, SessionSource, UserId};
use portcullis_storage::{NewApiKey, Store};

use crate::bed::{Bed, Ear, days};

fn key(bed: &Bed, owner: UserId, scopes: Option<&[&str]>) -> NewApiKey {
    let key = ApiKey {
        id: SessionId::new(&bed.clock, &bed.random),
        name: "deploy".to_owned(),
        prefix: "pk_abcdefgh".to_owned(),
        scopes: scopes.map(|names| names.iter().map(|name| Permission::parse(name).expect("valid")).collect()),
        expires_at: None,
        last_used_at: None,
        created_at: bed.clock.now(),
    };
    NewApiKey { key, user_id: owner, hash: bed.hash() }
}

async fn stored(store: &Store, new: NewApiKey) -> NewApiKey {
    let mut tx = store.begin().await.expect("begins");
    tx.insert_api_key(&new).await.expect("is new");
    tx.commit().await.expect("commits");
    new
}

async fn a_key_is_found_by_its_hash_and_may_what_its_scopes_and_its_owner_may(bed: Bed) {
    let store = bed.store().await;
    let table = bed.table(&store).await;
    let ada = bed.someone(&store, "ada").await;
    let whole = stored(&store, key(&bed, ada.id, None)).await;
    let scoped = stored(&store, key(&bed, ada.id, Some(&["USER_VIEW", "USER_DELETE"]))).await;

    assert!(table.cached_key(&whole.hash).is_none(), "not read yet");
    let state = table.load_key(whole.hash).await.expect("answers").expect("is good");
    assert_eq!((state.id, state.user_id, state.api_key.clone()), (whole.key.id, ada.id, Some(ApiKeyScopes::All)));
    assert_eq!(state.role_in_force(), Some(ada.role));
    assert_eq!(state.permissions.len(), 2, "all that a DEVELOPER may");
    assert!(table.cached_key(&whole.hash).is_some());

    let state = table.load_key(scoped.hash).await.expect("answers").expect("is good");
    let held: Vec<&str> = state.permissions.iter().map(Permission::as_str).collect();
    assert_eq!(held, ["USER_VIEW"], "what the owner does not hold, the key does not");
    assert_eq!((state.role_in_force(), state.is_signed_in()), (None, false));

    assert!(table.load_key(bed.hash()).await.expect("answers").is_none());
    let listed = store.api_keys(ada.id).await.expect("reads");
    assert_eq!(listed.iter().map(|key| key.id).collect::<Vec<_>>(), [scoped.key.id, whole.key.id], "newest first");
    assert_eq!((&listed[0].scopes, &listed[1].scopes), (&scoped.key.scopes, &None));
}

async fn a_revoked_key_is_gone_here_at_once_and_elsewhere_by_the_feed(bed: Bed) {
    let (here, there) = (bed.store().await, bed.store().await);
    let (ours, theirs) = (bed.table(&here).await, bed.table(&there).await);
    let (ada, ben) = (bed.someone(&here, "ada").await, bed.someone(&here, "ben").await);
    let new = stored(&here, key(&bed, ada.id, None)).await;
    for table in [&ours, &theirs] {
        assert!(table.load_key(new.hash).await.expect("answers").is_some());
    }
    let ear = Ear::on(&here);
    let mut tx = here.begin().await.expect("begins");
    assert!(!tx.revoke_api_key(ben.id, new.key.id, bed.clock.now()).await.expect("runs"), "somebody else's");
    assert!(tx.revoke_api_key(ada.id, new.key.id, bed.clock.now()).await.expect("runs"));
    assert!(!tx.revoke_api_key(ada.id, new.key.id, bed.clock.now()).await.expect("runs"), "once");
    tx.commit().await.expect("commits");
    assert!(ear.heard().iter().any(|entry| entry.session_id == Some(new.key.id) && entry.ends), "its streams end");
    assert!(ours.cached_key(&new.hash).is_none());
    theirs.read_feed().await.expect("reads");
    assert!(theirs.cached_key(&new.hash).is_none());
    for table in [&ours, &theirs] {
        assert!(table.load_key(new.hash).await.expect("answers").is_none());
    }
    assert!(here.api_keys(ada.id).await.expect("reads").is_empty());
}

async fn a_key_ends_with_its_time_and_with_its_owner(bed: Bed) {
    let store = bed.store().await;
    let table = bed.table(&store).await;
    let ada = bed.someone(&store, "ada").await;
    let expires_at = Some(bed.clock.now() + days(1));
    let mut short = key(&bed, ada.id, None);
    short.key.expires_at = expires_at;
    let short = stored(&store, short).await;
    let long = stored(&store, key(&bed, ada.id, None)).await;
    assert!(table.load_key(short.hash).await.expect("answers").is_some());
    bed.clock.advance(days(1));
    table.read_feed().await.expect("reads");
    assert!(table.cached_key(&short.hash).is_none());
    assert!(table.load_key(short.hash).await.expect("answers").is_none());

    assert!(table.load_key(long.hash).await.expect("answers").is_some());
    let mut tx = store.begin().await.expect("begins");
    tx.set_active(ada.id, false, bed.clock.now()).await.expect("runs");
    tx.commit().await.expect("commits");
    assert!(table.cached_key(&long.hash).is_none() && table.load_key(long.hash).await.expect("answers").is_none());
}

async fn when_a_key_was_last_used_is_written_down(bed: Bed) {
    let store = bed.store().await;
    let table = bed.table(&store).await;
    let ada = bed.someone(&store, "ada").await;
    let new = stored(&store, key(&bed, ada.id, None)).await;
    let state = table.load_key(new.hash).await.expect("answers").expect("is good");
    let now = bed.clock.unix_seconds();
    state.touch(now);
    table.flush_last_seen().await.expect("writes");
    let used = store.api_keys(ada.id).await.expect("reads")[0].last_used_at.expect("was used");
    assert_eq!(used.timestamp(), now);
}

crate::on_both_engines!(
    a_key_is_found_by_its_hash_and_may_what_its_scopes_and_its_owner_may,
    a_revoked_key_is_gone_here_at_once_and_elsewhere_by_the_feed,
    a_key_ends_with_its_time_and_with_its_owner,
    when_a_key_was_last_used_is_written_down,
);
