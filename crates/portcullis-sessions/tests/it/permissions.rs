use portcullis_model::{Permission, PermissionSet, SessionId, SessionSource, UserId};

use crate::test_database::{Replica, TestDatabase};

fn permissions(names: &[&str]) -> PermissionSet {
    names.iter().map(|name| Permission::parse(name).expect("valid")).collect()
}

/// Which of these permissions the session has on a replica, after a reading of its feed.
async fn held(replica: &Replica, session: SessionId, names: &[&str]) -> PermissionSet {
    replica.feed.read().await.expect("reads");
    let state = match replica.cache.cached(session) {
        Some(state) => state,
        None => replica.cache.load(session, 1).await.expect("reads").expect("is live"),
    };
    permissions(names).into_iter().filter(|permission| state.permissions.contains(permission)).collect()
}

async fn set(replica: &Replica, user: UserId, names: &[&str]) -> bool {
    let mut tx = replica.store.begin().await.expect("begins");
    let now = replica.store.clock().now();
    let is_set = tx.set_permissions(user, &permissions(names), now).await.expect("runs");
    tx.commit().await.expect("commits");
    is_set
}

async fn sr_35_a_users_permissions_are_in_force_at_once(database: TestDatabase) {
    let (here, there) = (database.replica().await, database.replica().await);
    let ada = database.user(&here.store, "ada").await;
    let session = database.session(&here.store, ada.id).await;
    let asked = ["PROJECT_VIEW", "USER_EDIT", "USER_VIEW", "REPORT_VIEW"];
    let steps: [(&[&str], &[&str]); 3] = [
        (&[], &[]),
        (&["PROJECT_VIEW", "USER_EDIT"], &["PROJECT_VIEW", "USER_EDIT"]),
        (&["PROJECT_VIEW", "REPORT_VIEW"], &["PROJECT_VIEW", "REPORT_VIEW"]),
    ];
    for (given, expected) in steps {
        assert!(set(&here, ada.id, given).await);
        for replica in [&here, &there] {
            assert_eq!(held(replica, session, &asked).await, permissions(expected));
        }
    }
    let known = here.store.credentials_by_id(ada.id).await.expect("reads").expect("exists");
    assert_eq!(known.extra_permissions, permissions(&["PROJECT_VIEW", "REPORT_VIEW"]));
}

async fn permissions_of_an_unknown_user_cannot_be_set(database: TestDatabase) {
    let here = database.replica().await;
    assert!(!set(&here, UserId::new(&database.clock, &database.random), &["PROJECT_VIEW"]).await);
}

async fn sr_22_a_deleted_user_loses_every_session(database: TestDatabase) {
    let (here, there) = (database.replica().await, database.replica().await);
    let ada = database.user(&here.store, "ada").await;
    let session = database.session(&here.store, ada.id).await;
    for replica in [&here, &there] {
        assert!(replica.cache.load(session, 1).await.expect("reads").is_some());
    }
    let mut tx = here.store.begin().await.expect("begins");
    assert!(tx.delete_user(ada.id).await.expect("runs"));
    assert!(!tx.delete_user(ada.id).await.expect("runs"), "deleted twice");
    tx.commit().await.expect("commits");
    there.feed.read().await.expect("reads");
    for replica in [&here, &there] {
        assert!(replica.cache.cached(session).is_none());
        assert!(replica.cache.load(session, 1).await.expect("reads").is_none());
    }
    assert!(here.store.user_by_id(ada.id).await.expect("reads").is_none());
    // The name is free again.
    database.user(&here.store, "ada").await;
}

portcullis_testkit::on_both_engines!(
    sr_35_a_users_permissions_are_in_force_at_once,
    permissions_of_an_unknown_user_cannot_be_set,
    sr_22_a_deleted_user_loses_every_session,
);
