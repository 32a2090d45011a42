//! Changes of a user's role and activity, which sessions notice at once.

use portcullis_model::{Role, SecretString, UserId};
use portcullis_storage::{Credentials, Store};
use tokio::task::JoinSet;

use crate::test_database::{RecordingListener, TestDatabase, commit};

async fn stored(store: &Store, user: UserId) -> Credentials {
    store.credentials_by_id(user).await.expect("reads").expect("exists")
}

async fn sr_35_a_changed_role_raises_the_epoch(db: TestDatabase) {
    let store = db.store().await;
    let ada = db.user("ada").insert(&store).await.id;
    assert!(commit(&store, async |tx| tx.set_role(ada, Role::Manager, db.now()).await).await);
    let stored = stored(&store, ada).await;
    assert_eq!((stored.user.role, stored.epoch, stored.token_epoch), (Role::Manager, 2, 1));
}

async fn a_changed_role_ends_no_session(db: TestDatabase) {
    let store = db.store().await;
    let ada = db.user("ada").insert(&store).await.id;
    let session = db.session(ada).insert(&store).await;
    commit(&store, async |tx| tx.set_role(ada, Role::Manager, db.now()).await).await;
    assert!(store.session_record(session.id).await.expect("reads").expect("exists").is_live(db.now()));
}

async fn sr_35_changes_are_announced_after_the_commit(db: TestDatabase) {
    let store = db.store().await;
    let ada = db.user("ada").insert(&store).await.id;
    let listener = RecordingListener::on(&store);
    let mut tx = store.begin().await.expect("begins");
    assert!(tx.set_email_verified(ada, db.now()).await.expect("runs"));
    assert!(tx.set_role(ada, Role::Manager, db.now()).await.expect("runs"));
    assert!(listener.revocations().is_empty(), "announced before the commit");
    tx.commit().await.expect("commits");
    let announced: Vec<_> =
        listener.revocations().iter().map(|entry| (entry.session_id, entry.epoch, entry.ends)).collect();
    assert_eq!(announced, [(None, 2, false), (None, 3, false)]);
}

async fn a_verified_address_is_stored(db: TestDatabase) {
    let store = db.store().await;
    let ada = db.user("ada").insert(&store).await.id;
    let now = db.now();
    assert!(commit(&store, async |tx| tx.set_email_verified(ada, now).await).await);
    assert_eq!(stored(&store, ada).await.user.email_verified_at, Some(now));
}

async fn sr_22_deactivation_ends_sessions_and_tokens(db: TestDatabase) {
    let store = db.store().await;
    let ada = db.user("ada").insert(&store).await.id;
    let session = db.session(ada).insert(&store).await;
    let listener = RecordingListener::on(&store);
    assert!(commit(&store, async |tx| tx.set_active(ada, false, db.now()).await).await);
    let stored = stored(&store, ada).await;
    assert_eq!((stored.user.is_active, stored.epoch, stored.token_epoch), (false, 2, 2));
    let record = store.session_record(session.id).await.expect("reads").expect("exists");
    assert_eq!(record.end_reason.as_deref(), Some("account_disabled"));
    let announced = listener.revocations();
    assert!(announced.iter().any(|entry| entry.session_id.is_none() && entry.epoch == 2 && entry.ends));
}

async fn reactivation_does_not_revive_tokens(db: TestDatabase) {
    let store = db.store().await;
    let ada = db.user("ada").insert(&store).await.id;
    commit(&store, async |tx| tx.set_active(ada, false, db.now()).await).await;
    assert!(commit(&store, async |tx| tx.set_active(ada, true, db.now()).await).await);
    let stored = stored(&store, ada).await;
    assert_eq!((stored.user.is_active, stored.epoch, stored.token_epoch), (true, 3, 2));
}

async fn recovery_makes_an_active_administrator(db: TestDatabase) {
    let store = db.store().await;
    let ada = db.user("ada").inactive().insert(&store).await.id;
    let hash = SecretString::new("$argon2id$recovered");
    assert!(commit(&store, async |tx| tx.recover_admin(ada, &hash, db.now()).await).await);
    let stored = stored(&store, ada).await;
    assert_eq!((stored.user.role, stored.user.is_active, stored.token_epoch), (Role::Admin, true, 2));
    assert_eq!(stored.password_hash.expect("has a password").expose(), "$argon2id$recovered");
    assert_eq!(store.count_active_admins().await.expect("reads"), 1);
}

async fn recovery_ends_every_session(db: TestDatabase) {
    let store = db.store().await;
    let ada = db.user("ada").insert(&store).await.id;
    let session = db.session(ada).insert(&store).await;
    let hash = SecretString::new("$argon2id$recovered");
    commit(&store, async |tx| tx.recover_admin(ada, &hash, db.now()).await).await;
    let record = store.session_record(session.id).await.expect("reads").expect("exists");
    assert_eq!(record.end_reason.as_deref(), Some("account_recovered"));
}

async fn an_unknown_user_is_not_recovered(db: TestDatabase) {
    let store = db.store().await;
    let (unknown, hash) = (db.unknown_user(), SecretString::new("$argon2id$recovered"));
    assert!(!commit(&store, async |tx| tx.recover_admin(unknown, &hash, db.now()).await).await);
}

async fn sr_45_only_one_becomes_the_first_administrator(db: TestDatabase) {
    let store = db.store().await;
    let mut races = JoinSet::new();
    for n in 0..8 {
        let (store, new) = (store.clone(), db.user(&format!("admin{n}")).role(Role::Admin).build());
        races.spawn(async move {
            let mut tx = store.begin().await.expect("begins");
            if tx.count_active_admins().await.expect("counts") > 0 {
                return false;
            }
            tx.insert_user(&new).await.expect("is new");
            tx.commit().await.expect("commits");
            true
        });
    }
    assert_eq!(races.join_all().await.into_iter().filter(|first| *first).count(), 1);
    assert_eq!(store.count_active_admins().await.expect("reads"), 1);
}

portcullis_testkit::on_both_engines!(
    sr_35_a_changed_role_raises_the_epoch,
    a_changed_role_ends_no_session,
    sr_35_changes_are_announced_after_the_commit,
    a_verified_address_is_stored,
    sr_22_deactivation_ends_sessions_and_tokens,
    reactivation_does_not_revive_tokens,
    recovery_makes_an_active_administrator,
    recovery_ends_every_session,
    an_unknown_user_is_not_recovered,
    sr_45_only_one_becomes_the_first_administrator,
);
