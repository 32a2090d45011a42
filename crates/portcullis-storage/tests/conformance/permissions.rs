use portcullis_model::{Permission, PermissionSet, SessionSource};

use crate::bed::Bed;

fn permissions(names: &[&str]) -> PermissionSet {
    names.iter().map(|name| Permission::parse(name).expect("valid")).collect()
}

async fn sr_35_permissions_of_ones_own_are_in_force_at_once(bed: Bed) {
    let (here, there) = (bed.store().await, bed.store().await);
    let (ours, theirs) = (bed.table(&here).await, bed.table(&there).await);
    let ada = bed.someone(&here, "ada").await;
    let session = bed.signed_in(&here, ada.id).await;
    let held = async |name: &str| {
        let permission = Permission::parse(name).expect("valid");
        let mut answers = Vec::new();
        for table in [&ours, &theirs] {
            table.read_feed().await.expect("reads");
            let state = match table.cached(session.id) {
                Some(state) => state,
                None => table.load(session.id, 1).await.expect("answers").expect("is live"),
            };
            answers.push(state.permissions.contains(&permission));
        }
        assert_eq!(answers[0], answers[1], "{name}");
        answers[0]
    };
    assert!(!held("PROJECT_VIEW").await);
    let now = bed.clock.now();
    let mut tx = here.begin().await.expect("begins");
    assert!(tx.set_permissions(ada.id, &permissions(&["PROJECT_VIEW", "USER_EDIT"]), now).await.expect("runs"));
    tx.commit().await.expect("commits");
    assert!(held("PROJECT_VIEW").await && held("USER_EDIT").await && held("USER_VIEW").await);

    let mut tx = here.begin().await.expect("begins");
    assert!(tx.set_permissions(ada.id, &permissions(&["PROJECT_VIEW", "REPORT_VIEW"]), now).await.expect("runs"));
    let nobody = portcullis_model::UserId::new(&bed.clock, &bed.random);
    assert!(!tx.set_permissions(nobody, &permissions(&["PROJECT_VIEW"]), now).await.expect("runs"), "nobody's");
    tx.commit().await.expect("commits");
    assert!(held("PROJECT_VIEW").await && held("REPORT_VIEW").await && !held("USER_EDIT").await);
    let known = here.credentials_by_id(ada.id).await.expect("reads").expect("exists");
    assert_eq!(known.extra_permissions, permissions(&["PROJECT_VIEW", "REPORT_VIEW"]));
}

async fn sr_22_a_deleted_account_takes_its_sessions_and_keys_with_it(bed: Bed) {
    let (here, there) = (bed.store().await, bed.store().await);
    let (ours, theirs) = (bed.table(&here).await, bed.table(&there).await);
    let ada = bed.someone(&here, "ada").await;
    let session = bed.signed_in(&here, ada.id).await;
    for table in [&ours, &theirs] {
        assert!(table.load(session.id, 1).await.expect("answers").is_some());
    }
    let mut tx = here.begin().await.expect("begins");
    assert!(tx.delete_user(ada.id).await.expect("runs"));
    assert!(!tx.delete_user(ada.id).await.expect("runs"), "once");
    tx.commit().await.expect("commits");
    theirs.read_feed().await.expect("reads");
    for table in [&ours, &theirs] {
        assert!(table.cached(session.id).is_none());
        assert!(table.load(session.id, 1).await.expect("answers").is_none());
    }
    assert!(here.user_by_id(ada.id).await.expect("reads").is_none());
    bed.someone(&here, "ada").await;
}

crate::on_both_engines!(
    sr_35_permissions_of_ones_own_are_in_force_at_once,
    sr_22_a_deleted_account_takes_its_sessions_and_keys_with_it,
);
