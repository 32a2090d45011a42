//! The number of statements that frequent operations cost. A change of one of these numbers is a decision.

use portcullis_storage::{Outcome, Rotation};

use crate::test_database::{TestDatabase, commit, days, end};

async fn a_login_is_one_read_and_a_transaction_of_three_writes(db: TestDatabase) {
    let (store, metrics) = db.measured_store().await;
    let ada = db.user("ada").insert(&store).await;
    let before = metrics.database_statements();
    let found = store.credentials_by_email(&ada.email).await.expect("reads").expect("exists");
    let recorded = commit(&store, async |tx| {
        tx.insert_session(&db.session(ada.id).build()).await?;
        tx.append_audit(&db.event("auth.login", Outcome::Success)).await?;
        tx.record_login(ada.id, found.epoch, db.now()).await
    });
    assert!(recorded.await);
    // SELECT, BEGIN, INSERT, INSERT, UPDATE, COMMIT.
    assert_eq!(metrics.database_statements() - before, 6);
}

async fn a_refresh_is_one_read_and_a_transaction_of_three_writes(db: TestDatabase) {
    let (store, metrics) = db.measured_store().await;
    let ada = db.user("ada").insert(&store).await;
    let session = db.session(ada.id).insert(&store).await;
    let before = metrics.database_statements();
    let view = store.refresh_view(session.id).await.expect("reads").expect("exists");
    let rotation = Rotation {
        session_id: session.id,
        presented_hash: session.refresh_hash,
        new_hash: db.random_hash(),
        sealed_successor: b"sealed",
        now: view.now,
        idle_expires_at: view.now + days(7),
    };
    let rotated = commit(&store, async |tx| {
        tx.append_audit(&db.event("auth.refresh", Outcome::Success)).await?;
        tx.rotate_refresh(&rotation).await
    });
    assert!(rotated.await);
    // SELECT, BEGIN, INSERT, UPDATE, INSERT, COMMIT.
    assert_eq!(metrics.database_statements() - before, 6);
}

async fn a_logout_is_a_transaction_of_two_writes(db: TestDatabase) {
    let (store, metrics) = db.measured_store().await;
    let ada = db.user("ada").insert(&store).await;
    let session = db.session(ada.id).insert(&store).await;
    let before = metrics.database_statements();
    assert!(end(&store, session.id, db.now()).await);
    // BEGIN, UPDATE, INSERT, COMMIT.
    assert_eq!(metrics.database_statements() - before, 4);
}

async fn the_gate_reads_a_session_with_one_statement(db: TestDatabase) {
    let (store, metrics) = db.measured_store().await;
    let ada = db.user("ada").insert(&store).await;
    let session = db.session(ada.id).insert(&store).await;
    let before = metrics.database_statements();
    store.session_copy(session.id).await.expect("reads").expect("is live");
    assert_eq!(metrics.database_statements() - before, 1);
}

async fn a_reading_of_the_feed_is_one_statement(db: TestDatabase) {
    let (store, metrics) = db.measured_store().await;
    let position = store.feed_end().await.expect("reads");
    let before = metrics.database_statements();
    store.read_revocations(&position).await.expect("reads");
    assert_eq!(metrics.database_statements() - before, 1);
}

async fn statements_are_measured_by_operation_and_table(db: TestDatabase) {
    let (store, metrics) = db.measured_store().await;
    db.user("ada").insert(&store).await;
    let page = metrics.render(false);
    let inserts = "database_query_duration_seconds_count{operation=\"INSERT\",table=\"users\"} 1";
    assert!(page.contains(inserts), "{page}");
    assert!(page.contains("database_pool_connections "), "{page}");
}

async fn errors_are_counted_by_operation_and_type(db: TestDatabase) {
    let (store, metrics) = db.measured_store().await;
    db.user("ada").insert(&store).await;
    let mut tx = store.begin().await.expect("begins");
    tx.insert_user(&db.user("ada").build()).await.expect_err("the address is taken");
    drop(tx);
    let page = metrics.render(false);
    let errors = "database_errors_total{operation=\"INSERT\",error_type=\"conflict\"} 1";
    assert!(page.contains(errors), "{page}");
}

portcullis_testkit::on_both_engines!(
    a_login_is_one_read_and_a_transaction_of_three_writes,
    a_refresh_is_one_read_and_a_transaction_of_three_writes,
    a_logout_is_a_transaction_of_two_writes,
    the_gate_reads_a_session_with_one_statement,
    a_reading_of_the_feed_is_one_statement,
    statements_are_measured_by_operation_and_table,
    errors_are_counted_by_operation_and_type,
);
