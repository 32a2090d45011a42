//! Inserting and reading users, and changing their profile.

use portcullis_storage::{ProfileChange, StoreError};
use tokio::task::JoinSet;

use crate::builders::{PASSWORD_HASH, email, first_name};
use crate::test_database::{TestDatabase, commit, error_of, roll_back, seconds};

async fn a_user_is_read_as_it_was_inserted(db: TestDatabase) {
    let store = db.store().await;
    let ada = db.user("ada").first_name("Ádá 🦉").avatar("/avatars/ada.png").verified_and_seen_at(db.now());
    let ada = ada.insert(&store).await;
    assert_eq!(store.user_by_id(ada.id).await.expect("reads"), Some(ada));
}

async fn a_transaction_reads_its_own_writes(db: TestDatabase) {
    let store = db.store().await;
    let ada = db.user("ada").build();
    let read = commit(&store, async |tx| {
        tx.insert_user(&ada).await?;
        tx.user_by_id(ada.user.id).await
    });
    assert_eq!(read.await.as_ref(), Some(&ada.user));
}

async fn credentials_hold_the_user_the_hash_and_the_epochs(db: TestDatabase) {
    let store = db.store().await;
    let ada = db.user("ada").insert(&store).await;
    let found = store.credentials_by_email(&ada.email).await.expect("reads").expect("exists");
    assert_eq!(found.password_hash.expect("has a password").expose(), PASSWORD_HASH);
    assert_eq!((found.user, found.epoch, found.token_epoch), (ada, 1, 1));
    assert!(found.extra_permissions.is_empty());
}

async fn credentials_are_found_by_id(db: TestDatabase) {
    let store = db.store().await;
    let ada = db.user("ada").insert(&store).await;
    assert_eq!(store.credentials_by_id(ada.id).await.expect("reads").expect("exists").user, ada);
}

async fn an_unknown_user_is_none(db: TestDatabase) {
    let store = db.store().await;
    let unknown = db.unknown_user();
    assert!(store.user_by_id(unknown).await.expect("reads").is_none());
    assert!(store.credentials_by_id(unknown).await.expect("reads").is_none());
    assert!(store.credentials_by_email(&email("nobody@example.com")).await.expect("reads").is_none());
}

async fn a_transaction_without_commit_leaves_nothing(db: TestDatabase) {
    let store = db.store().await;
    let ada = db.user("ada").build();
    roll_back(&store, async |tx| tx.insert_user(&ada).await).await;
    assert!(store.user_by_id(ada.user.id).await.expect("reads").is_none());
    // The connection serves the next transaction.
    db.user("ada").insert(&store).await;
}

async fn a_taken_address_is_a_conflict(db: TestDatabase) {
    let store = db.store().await;
    db.user("ada").insert(&store).await;
    let other = db.user("grace").email("ada@example.com").build();
    let error = error_of(&store, async |tx| tx.insert_user(&other).await).await;
    assert!(matches!(error, StoreError::Conflict("users_email")), "{error:?}");
}

async fn a_taken_username_is_a_conflict(db: TestDatabase) {
    let store = db.store().await;
    db.user("ada").insert(&store).await;
    let other = db.user("grace").username("ada").build();
    let error = error_of(&store, async |tx| tx.insert_user(&other).await).await;
    assert!(matches!(error, StoreError::Conflict("users_username")), "{error:?}");
}

async fn one_of_many_concurrent_registrations_succeeds(db: TestDatabase) {
    let store = db.store().await;
    let mut races = JoinSet::new();
    for _ in 0..8 {
        let (store, new) = (store.clone(), db.user("ada").build());
        races.spawn(async move {
            let mut tx = store.begin().await?;
            tx.insert_user(&new).await?;
            tx.commit().await
        });
    }
    let outcomes = races.join_all().await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    for error in outcomes.into_iter().filter_map(Result::err) {
        assert!(matches!(error, StoreError::Conflict(_)), "{error:?}");
    }
}

async fn a_login_is_recorded(db: TestDatabase) {
    let store = db.store().await;
    let ada = db.user("ada").insert(&store).await;
    db.clock.advance(seconds(5));
    let now = db.now();
    assert!(commit(&store, async |tx| tx.record_login(ada.id, 1, now).await).await);
    assert_eq!(store.user_by_id(ada.id).await.expect("reads").expect("exists").last_login_at, Some(now));
}

async fn a_login_is_not_recorded_after_a_change(db: TestDatabase) {
    let store = db.store().await;
    let ada = db.user("ada").insert(&store).await;
    commit(&store, async |tx| tx.set_email_verified(ada.id, db.now()).await).await;
    assert!(!commit(&store, async |tx| tx.record_login(ada.id, 1, db.now()).await).await);
}

async fn a_login_of_an_inactive_user_is_not_recorded(db: TestDatabase) {
    let store = db.store().await;
    let ada = db.user("ada").inactive().insert(&store).await;
    assert!(!commit(&store, async |tx| tx.record_login(ada.id, 1, db.now()).await).await);
}

async fn a_profile_change_leaves_other_fields_alone(db: TestDatabase) {
    let store = db.store().await;
    let ada = db.user("ada").insert(&store).await;
    db.clock.advance(seconds(60));
    let now = db.now();
    let change = ProfileChange { avatar: Some(Some("/a.png".to_owned())), ..ProfileChange::default() };
    let changed = commit(&store, async |tx| tx.update_profile(ada.id, &change, now).await).await;
    let changed = changed.expect("the user exists");
    assert_eq!(changed.avatar.as_deref(), Some("/a.png"));
    assert_eq!((&changed.first_name, changed.updated_at), (&ada.first_name, now));
}

async fn a_profile_change_can_remove_the_avatar(db: TestDatabase) {
    let store = db.store().await;
    let ada = db.user("ada").avatar("/a.png").insert(&store).await;
    let change = ProfileChange { first_name: Some(first_name("Augusta")), avatar: Some(None), last_name: None };
    let changed = commit(&store, async |tx| tx.update_profile(ada.id, &change, db.now()).await).await;
    let changed = changed.expect("the user exists");
    assert_eq!((changed.first_name.as_str(), changed.avatar), ("Augusta", None));
}

async fn a_profile_change_of_an_unknown_user_is_none(db: TestDatabase) {
    let store = db.store().await;
    let (unknown, change) = (db.unknown_user(), ProfileChange::default());
    assert!(commit(&store, async |tx| tx.update_profile(unknown, &change, db.now()).await).await.is_none());
}

portcullis_testkit::on_both_engines!(
    a_user_is_read_as_it_was_inserted,
    a_transaction_reads_its_own_writes,
    credentials_hold_the_user_the_hash_and_the_epochs,
    credentials_are_found_by_id,
    an_unknown_user_is_none,
    a_transaction_without_commit_leaves_nothing,
    a_taken_address_is_a_conflict,
    a_taken_username_is_a_conflict,
    one_of_many_concurrent_registrations_succeeds,
    a_login_is_recorded,
    a_login_is_not_recorded_after_a_change,
    a_login_of_an_inactive_user_is_not_recorded,
    a_profile_change_leaves_other_fields_alone,
    a_profile_change_can_remove_the_avatar,
    a_profile_change_of_an_unknown_user_is_none,
);
