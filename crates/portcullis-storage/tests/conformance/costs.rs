//! How many statements the hot operations cost: a statement more is a decision, not an accident.

use portcullis_storage::{AuditEvent, Outcome, Rotation};

use crate::bed::{Bed, days, end};

fn event(bed: &Bed) -> AuditEvent {
    AuditEvent {
        at: bed.clock.now(),
        action: "auth.login",
        outcome: Outcome::Success,
        actor_id: None,
        subject_id: None,
        session_id: None,
        ip: None,
        user_agent: None,
        request_id: None,
        details: None,
    }
}

async fn a_login_is_a_select_and_three_writes_in_one_transaction(bed: Bed) {
    let (store, metrics) = bed.measured_store().await;
    let ada = bed.someone(&store, "ada").await;
    let before = metrics.database_statements();
    let found = store.credentials_by_email(&ada.email).await.expect("reads").expect("exists");
    let mut tx = store.begin().await.expect("begins");
    tx.insert_session(&bed.session(ada.id)).await.expect("is new");
    assert!(tx.record_login(ada.id, found.epoch, bed.clock.now()).await.expect("runs"));
    tx.append_audit(&event(&bed)).await.expect("inserts");
    tx.commit().await.expect("commits");
    // SELECT, BEGIN, INSERT, UPDATE, INSERT, COMMIT.
    assert_eq!(metrics.database_statements() - before, 6);
}

async fn a_refresh_is_a_select_and_three_writes_in_one_transaction(bed: Bed) {
    let (store, metrics) = bed.measured_store().await;
    let ada = bed.someone(&store, "ada").await;
    let session = bed.signed_in(&store, ada.id).await;
    let before = metrics.database_statements();
    let view = store.refresh_view(session.id).await.expect("reads").expect("exists");
    let mut tx = store.begin().await.expect("begins");
    let rotation = Rotation {
        session_id: session.id,
        presented_hash: session.refresh_hash,
        new_hash: bed.hash(),
        sealed_successor: b"sealed",
        now: view.now,
        idle_expires_at: view.now + days(7),
    };
    assert!(tx.rotate_refresh(&rotation).await.expect("runs"));
    tx.append_audit(&event(&bed)).await.expect("inserts");
    tx.commit().await.expect("commits");
    // SELECT, BEGIN, UPDATE, INSERT, INSERT, COMMIT.
    assert_eq!(metrics.database_statements() - before, 6);
}

async fn a_logout_is_an_update_and_an_entry_in_one_transaction(bed: Bed) {
    let (store, metrics) = bed.measured_store().await;
    let ada = bed.someone(&store, "ada").await;
    let session = bed.signed_in(&store, ada.id).await;
    let before = metrics.database_statements();
    assert!(end(&store, session.id, bed.clock.now()).await);
    // BEGIN, UPDATE, INSERT, COMMIT.
    assert_eq!(metrics.database_statements() - before, 4);
}

async fn a_session_look_up_and_a_reading_of_the_feed_are_one_statement_each(bed: Bed) {
    let (store, metrics) = bed.measured_store().await;
    let ada = bed.someone(&store, "ada").await;
    let session = bed.signed_in(&store, ada.id).await;
    let before = metrics.database_statements();
    store.session_copy(session.id).await.expect("reads").expect("lives");
    assert_eq!(metrics.database_statements() - before, 1);
    let end = store.feed_end().await.expect("reads");
    store.read_revocations(end).await.expect("reads");
    assert_eq!(metrics.database_statements() - before, 3);
}

async fn statements_are_measured_by_verb_and_table_and_errors_are_counted(bed: Bed) {
    let (store, metrics) = bed.measured_store().await;
    bed.someone(&store, "ada").await;
    let mut tx = store.begin().await.expect("begins");
    tx.insert_user(&bed.person("ada")).await.expect_err("is taken");
    drop(tx);
    let page = metrics.render(false);
    let inserts = "database_query_duration_seconds_count{operation=\"INSERT\",table=\"users\"} 2";
    assert!(page.contains(inserts), "{page}");
    let errors = "database_errors_total{operation=\"INSERT\",error_type=\"conflict\"} 1";
    assert!(page.contains(errors), "{page}");
    assert!(page.contains("database_pool_connections "), "{page}");
}

crate::on_both_engines!(
    a_login_is_a_select_and_three_writes_in_one_transaction,
    a_refresh_is_a_select_and_three_writes_in_one_transaction,
    a_logout_is_an_update_and_an_entry_in_one_transaction,
    a_session_look_up_and_a_reading_of_the_feed_are_one_statement_each,
    statements_are_measured_by_verb_and_table_and_errors_are_counted,
);
