//! Opening a database again, concurrently, and with a schema that is too new.

use portcullis_storage::{OpenError, Store};
use tokio::task::JoinSet;

use crate::documented_schema::migration_files;
use crate::test_database::TestDatabase;

async fn a_reopened_database_holds_what_was_stored(db: TestDatabase) {
    let store = db.store().await;
    let ada = db.user("ada").insert(&store).await;
    store.close().await;
    assert_eq!(db.store().await.user_by_id(ada.id).await.expect("reads"), Some(ada));
}

async fn replicas_that_open_an_empty_database_migrate_it_once(db: TestDatabase) {
    let mut races = JoinSet::new();
    for _ in 0..6 {
        let (options, _) = db.options();
        races.spawn(async move { Store::open(options).await.map(|_| ()) });
    }
    for outcome in races.join_all().await {
        outcome.expect("opens");
    }
}

async fn a_newer_schema_is_refused_with_its_number(db: TestDatabase) {
    db.store().await.close().await;
    let newer = "INSERT INTO schema_migrations (version, name, applied_at) \
                 SELECT 999, 'newer', applied_at FROM schema_migrations WHERE version = 1";
    db.raw().await.run(newer).await;
    let error = db.open_error().await;
    let OpenError::NewerSchema { found, known, .. } = &error else { panic!("{error:?}") };
    assert_eq!((*found, usize::try_from(*known)), (999, Ok(migration_files().len())));
    assert!(error.to_string().contains("999") && error.hint().is_some());
}

async fn a_store_answers_until_it_is_closed(db: TestDatabase) {
    let store = db.store().await;
    store.ping().await.expect("answers");
    store.close().await;
    assert!(store.ping().await.is_err());
}

portcullis_testkit::on_both_engines!(
    a_reopened_database_holds_what_was_stored,
    replicas_that_open_an_empty_database_migrate_it_once,
    a_newer_schema_is_refused_with_its_number,
    a_store_answers_until_it_is_closed,
);
