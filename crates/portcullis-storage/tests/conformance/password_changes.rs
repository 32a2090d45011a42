//! Replacing password hashes.

use portcullis_model::SecretString;
use portcullis_storage::{Credentials, Store};

use crate::builders::PASSWORD_HASH;
use crate::test_database::{TestDatabase, commit};

fn hash(text: &str) -> SecretString {
    SecretString::new(text)
}

async fn stored(store: &Store, user: portcullis_model::UserId) -> Credentials {
    store.credentials_by_id(user).await.expect("reads").expect("exists")
}

async fn a_rehash_replaces_only_the_checked_hash(db: TestDatabase) {
    let store = db.store().await;
    let ada = db.user("ada").insert(&store).await.id;
    let (old, new) = (hash(PASSWORD_HASH), hash("$argon2id$stronger"));
    assert!(commit(&store, async |tx| tx.replace_password_hash(ada, &old, &new).await).await);
    assert!(!commit(&store, async |tx| tx.replace_password_hash(ada, &old, &old).await).await);
    assert_eq!(stored(&store, ada).await.password_hash.expect("has a password").expose(), "$argon2id$stronger");
}

async fn a_changed_password_raises_the_epoch_only(db: TestDatabase) {
    let store = db.store().await;
    let ada = db.user("ada").insert(&store).await.id;
    let (old, new) = (hash(PASSWORD_HASH), hash("$argon2id$changed"));
    assert!(commit(&store, async |tx| tx.set_password_hash(ada, Some(&old), &new, db.now()).await).await);
    let stored = stored(&store, ada).await;
    assert_eq!(stored.password_hash.expect("has a password").expose(), "$argon2id$changed");
    assert_eq!((stored.epoch, stored.token_epoch), (2, 1), "a running sign-in must fail, sessions must go on");
}

async fn a_password_is_not_changed_with_another_old_hash(db: TestDatabase) {
    let store = db.store().await;
    let ada = db.user("ada").insert(&store).await.id;
    let (wrong, new) = (hash("$argon2id$wrong"), hash("$argon2id$changed"));
    for old in [Some(&wrong), None] {
        assert!(!commit(&store, async |tx| tx.set_password_hash(ada, old, &new, db.now()).await).await);
    }
    assert_eq!(stored(&store, ada).await.password_hash.expect("has a password").expose(), PASSWORD_HASH);
}

async fn sr_22_a_password_reset_ends_every_session(db: TestDatabase) {
    let store = db.store().await;
    let ada = db.user("ada").insert(&store).await.id;
    let session = db.session(ada).insert(&store).await;
    assert!(commit(&store, async |tx| tx.reset_password_hash(ada, &hash("$argon2id$reset"), db.now()).await).await);
    let stored = stored(&store, ada).await;
    assert_eq!(stored.password_hash.expect("has a password").expose(), "$argon2id$reset");
    assert_eq!((stored.epoch, stored.token_epoch), (2, 2));
    let record = store.session_record(session.id).await.expect("reads").expect("exists");
    assert_eq!(record.end_reason.as_deref(), Some("password_reset"));
}

async fn a_password_reset_verifies_the_address(db: TestDatabase) {
    let store = db.store().await;
    let ada = db.user("ada").insert(&store).await.id;
    let now = db.now();
    commit(&store, async |tx| tx.reset_password_hash(ada, &hash("$argon2id$reset"), now).await).await;
    assert_eq!(stored(&store, ada).await.user.email_verified_at, Some(now));
}

async fn the_password_of_an_inactive_user_is_not_reset(db: TestDatabase) {
    let store = db.store().await;
    let ada = db.user("ada").inactive().insert(&store).await.id;
    for user in [ada, db.unknown_user()] {
        let new = hash("$argon2id$reset");
        assert!(!commit(&store, async |tx| tx.reset_password_hash(user, &new, db.now()).await).await);
    }
    assert_eq!(stored(&store, ada).await.password_hash.expect("has a password").expose(), PASSWORD_HASH);
}

portcullis_testkit::on_both_engines!(
    a_rehash_replaces_only_the_checked_hash,
    a_changed_password_raises_the_epoch_only,
    a_password_is_not_changed_with_another_old_hash,
    sr_22_a_password_reset_ends_every_session,
    a_password_reset_verifies_the_address,
    the_password_of_an_inactive_user_is_not_reset,
);
