//! Look-ups of API keys that are not cached.

use std::sync::Arc;
use std::time::Duration;

use portcullis_model::SessionSource;
use tokio::task::JoinSet;

use crate::api_keys::{api_key, stored};
use crate::test_database::TestDatabase;

async fn many_requests_with_one_key_cost_one_statement(database: TestDatabase) {
    let here = database.replica().await;
    let ada = database.user(&here.store, "ada").await;
    let key = api_key(&database, &here.store, ada.id, None).await;
    for (digest, exists) in [(key.hash, true), (database.random.bytes(), false)] {
        let before = here.metrics.database_statements();
        let mut requests = JoinSet::new();
        for _ in 0..60 {
            let cache = Arc::clone(&here.cache);
            requests.spawn(async move { cache.load_key(digest).await.expect("reads").is_some() });
        }
        assert!(requests.join_all().await.iter().all(|found| *found == exists));
        let statements = here.metrics.database_statements() - before;
        assert!((1..=5).contains(&statements), "{statements} statements for 60 requests");
    }
}

async fn an_unknown_key_is_remembered_for_a_second(database: TestDatabase) {
    let here = database.replica().await;
    let ada = database.user(&here.store, "ada").await;
    let mut key = api_key(&database, &here.store, ada.id, None).await;
    key.hash = database.random.bytes();
    key.key.id = portcullis_model::SessionId::new(&database.clock, &database.random);
    let before = here.metrics.database_statements();
    for _ in 0..10 {
        assert!(here.cache.load_key(key.hash).await.expect("reads").is_none());
    }
    let statements = here.metrics.database_statements() - before;
    assert!((1..=2).contains(&statements), "{statements} statements for ten requests");
    let key = stored(&here.store, key).await;
    database.clock.advance(Duration::from_secs(1));
    assert!(here.cache.load_key(key.hash).await.expect("reads").is_some());
}

async fn a_new_key_works_at_once_on_every_replica(database: TestDatabase) {
    let replicas = [database.replica().await, database.replica().await, database.replica().await];
    let ada = database.user(&replicas[0].store, "ada").await;
    for replica in &replicas {
        assert!(replica.cache.load_key(database.random.bytes()).await.expect("reads").is_none());
    }
    let key = api_key(&database, &replicas[0].store, ada.id, None).await;
    for replica in &replicas {
        assert!(replica.cache.load_key(key.hash).await.expect("reads").is_some());
    }
}

portcullis_testkit::on_both_engines!(
    many_requests_with_one_key_cost_one_statement,
    an_unknown_key_is_remembered_for_a_second,
    a_new_key_works_at_once_on_every_replica,
);
