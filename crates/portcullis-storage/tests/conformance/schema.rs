use portcullis_storage::{OpenError, Store};
use tokio::task::JoinSet;

use crate::bed::Bed;

async fn a_second_opening_finds_everything_as_it_was(bed: Bed) {
    let store = bed.store().await;
    let ada = bed.someone(&store, "ada").await;
    store.close().await;
    let store = bed.store().await;
    assert_eq!(store.user_by_id(ada.id).await.expect("reads"), Some(ada));
}

async fn replicas_that_open_an_empty_database_at_once_migrate_it_once(bed: Bed) {
    let mut races = JoinSet::new();
    for _ in 0..6 {
        let (options, _) = bed.options();
        races.spawn(async move { Store::open(options).await.map(|_| ()) });
    }
    for outcome in races.join_all().await {
        outcome.expect("opens");
    }
}

async fn a_newer_schema_is_refused_by_name(bed: Bed) {
    bed.store().await.close().await;
    let mut raw = bed.raw().await;
    let later = "INSERT INTO schema_migrations (version, name, applied_at) SELECT 999, 'later', applied_at FROM schema_migrations WHERE version = 1";
    raw.run(later).await;
    let refusal = bed.refusal().await;
    assert!(matches!(refusal, OpenError::NewerSchema { found: 999, known: 4, .. }), "{refusal:?}");
    assert!(refusal.to_string().contains("999") && refusal.hint().is_some());
}

async fn the_store_answers_until_it_is_closed(bed: Bed) {
    let store = bed.store().await;
    store.ping().await.expect("answers");
    store.close().await;
    assert!(store.ping().await.is_err());
}

crate::on_both_engines!(
    a_second_opening_finds_everything_as_it_was,
    replicas_that_open_an_empty_database_at_once_migrate_it_once,
    a_newer_schema_is_refused_by_name,
    the_store_answers_until_it_is_closed,
);
