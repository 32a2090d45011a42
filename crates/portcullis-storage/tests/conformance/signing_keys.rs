//! Signing keys, which all replicas share.

use portcullis_storage::{SigningKey, StoreError};
use tokio::task::JoinSet;

use crate::builders::signing_key;
use crate::test_database::{TestDatabase, commit, error_of, seconds};

fn kids(keys: &[SigningKey]) -> Vec<&str> {
    keys.iter().map(|key| key.kid.as_str()).collect()
}

async fn one_of_many_replicas_stores_the_first_key(db: TestDatabase) {
    let store = db.store().await;
    let mut races = JoinSet::new();
    for n in 0..8 {
        let (store, key) = (store.clone(), signing_key(&db, &format!("key{n}")));
        races.spawn(async move { commit(&store, async |tx| tx.insert_first_signing_key(&key).await).await });
    }
    assert_eq!(races.join_all().await.into_iter().filter(|first| *first).count(), 1);
    assert_eq!(store.signing_keys().await.expect("reads").len(), 1);
}

async fn a_retired_key_does_not_count_as_the_first(db: TestDatabase) {
    let store = db.store().await;
    let retired = SigningKey { retired_at: Some(db.now()), ..signing_key(&db, "retired") };
    commit(&store, async |tx| tx.insert_signing_key(&retired).await).await;
    let new = signing_key(&db, "new");
    assert!(commit(&store, async |tx| tx.insert_first_signing_key(&new).await).await);
}

async fn keys_are_read_newest_first_as_inserted(db: TestDatabase) {
    let store = db.store().await;
    let old = SigningKey { retired_at: Some(db.now()), ..signing_key(&db, "old") };
    db.clock.advance(seconds(1));
    let new = signing_key(&db, "new");
    for key in [&old, &new] {
        commit(&store, async |tx| tx.insert_signing_key(key).await).await;
    }
    let keys = store.signing_keys().await.expect("reads");
    assert_eq!(kids(&keys), ["new", "old"]);
    assert_eq!((&keys[0].public_key, &keys[0].sealed_private), (&new.public_key, &new.sealed_private));
    assert_eq!((keys[0].created_at, keys[0].algorithm.as_str()), (new.created_at, "EdDSA"));
    assert_eq!(keys[1].retired_at, old.retired_at);
}

async fn a_taken_key_id_is_a_conflict(db: TestDatabase) {
    let store = db.store().await;
    let key = signing_key(&db, "key");
    commit(&store, async |tx| tx.insert_signing_key(&key).await).await;
    let error = error_of(&store, async |tx| tx.insert_signing_key(&key).await).await;
    assert!(matches!(error, StoreError::Conflict("signing_keys_kid")), "{error:?}");
}

async fn a_key_may_sign_later_than_it_was_created(db: TestDatabase) {
    let store = db.store().await;
    let current = signing_key(&db, "current");
    let later = current.signs_from + seconds(60);
    let next = SigningKey { signs_from: later, ..signing_key(&db, "next") };
    for key in [&next, &current] {
        commit(&store, async |tx| tx.insert_signing_key(key).await).await;
    }
    let keys = commit(&store, async |tx| tx.lock_signing_keys().await).await;
    assert_eq!(kids(&keys), ["next", "current"]);
    assert_eq!((keys[0].signs_from, keys[1].signs_from), (later, current.signs_from));
}

async fn a_private_key_is_sealed_again(db: TestDatabase) {
    let store = db.store().await;
    commit(&store, async |tx| tx.insert_signing_key(&signing_key(&db, "key")).await).await;
    assert!(commit(&store, async |tx| tx.reseal_signing_key("key", &[9]).await).await);
    assert!(!commit(&store, async |tx| tx.reseal_signing_key("unknown", &[9]).await).await);
    assert_eq!(store.signing_keys().await.expect("reads")[0].sealed_private, [9]);
}

async fn a_key_is_retired_once(db: TestDatabase) {
    let store = db.store().await;
    commit(&store, async |tx| tx.insert_signing_key(&signing_key(&db, "key")).await).await;
    let now = db.now();
    assert!(commit(&store, async |tx| tx.retire_signing_key("key", now).await).await);
    db.clock.advance(seconds(1));
    assert!(!commit(&store, async |tx| tx.retire_signing_key("key", db.now()).await).await);
    assert_eq!(store.signing_keys().await.expect("reads")[0].retired_at, Some(now));
}

portcullis_testkit::on_both_engines!(
    one_of_many_replicas_stores_the_first_key,
    a_retired_key_does_not_count_as_the_first,
    keys_are_read_newest_first_as_inserted,
    a_taken_key_id_is_a_conflict,
    a_key_may_sign_later_than_it_was_created,
    a_private_key_is_sealed_again,
    a_key_is_retired_once,
);
