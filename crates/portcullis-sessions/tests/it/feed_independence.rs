//! Nothing that requests or jobs do to the database delays the feed.

use std::sync::Arc;

use portcullis_storage::{Prunable, Store, StoreOptions};
use portcullis_testkit::Stopwatch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::feed::ChannelListener;
use crate::test_database::{TestDatabase, end, seconds};

/// Every connection that requests may use is taken by a transaction of this replica, which holds locks on rows.
async fn sr_22_an_exhausted_pool_does_not_delay_the_feed(database: TestDatabase) {
    let here = database.replica_with(StoreOptions { pool_max: 1, ..database.options() }).await;
    let there = database.replica().await;
    let ada = database.user(&there.store, "ada").await;
    let session = database.session(&there.store, ada.id).await;
    end(&there.store, session).await;

    let mut heard = ChannelListener::on(&here.store);
    let mut holding = here.store.begin().await.expect("begins");
    holding.delete_user(ada.id).await.expect("runs");
    // SQLite reads on connections of another pool: a statement that is not polled again keeps the only one.
    let mut reading = Box::pin(here.store.ping());
    assert!(futures_util::poll!(&mut reading).is_pending());

    let stop = CancellationToken::new();
    let following = tokio::spawn(Arc::clone(&here.feed).follow(stop.clone()));
    assert_eq!(heard.next().await.session_id, Some(session));
    stop.cancel();
    following.await.expect("ends when cancelled");
}

/// Another process holds the row that a statement of this replica needs.
async fn sr_22_a_locked_row_does_not_delay_the_feed(database: TestDatabase) {
    let (here, there) = (database.replica().await, database.replica().await);
    let ada = database.user(&there.store, "ada").await;
    let (kept, ended) = (database.session(&there.store, ada.id).await, database.session(&there.store, ada.id).await);
    end(&there.store, ended).await;

    let mut raw = database.raw().await;
    let id = raw.id(kept.0);
    let begin = if here.store.engine() == "sqlite" { "BEGIN IMMEDIATE" } else { "BEGIN" };
    raw.run(begin).await;
    raw.run(&format!("UPDATE sessions SET user_agent = 'locked' WHERE id = {id}")).await;
    let store = here.store.clone();
    let ending = tokio::spawn(async move { end(&store, kept).await });
    wait_for_a_lock(&database, &here.store).await;

    let mut heard = ChannelListener::on(&here.store);
    let stop = CancellationToken::new();
    let following = tokio::spawn(Arc::clone(&here.feed).follow(stop.clone()));
    assert_eq!(heard.next().await.session_id, Some(ended));
    assert!(!ending.is_finished(), "the lock was not held all the time");
    raw.run("COMMIT").await;
    ending.await.expect("ends after the lock");
    stop.cancel();
    following.await.expect("ends when cancelled");
}

/// A large prune stands still in the middle. On PostgreSQL a trigger makes it wait, because a prune waits for no row.
async fn sr_64_a_large_prune_does_not_delay_the_feed(database: TestDatabase) {
    let (here, there) = (database.replica().await, database.replica().await);
    let ada = database.user(&there.store, "ada").await;
    let ended = database.session(&there.store, ada.id).await;
    end(&there.store, ended).await;
    let mut raw = database.raw().await;
    let (user, old) = (raw.id(ada.id.0), raw.instant(database.clock.now() - seconds(864_000)));
    let numbers = "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 20000)";
    raw.run(&format!(
        "{numbers} INSERT INTO revocations (at, user_id, session_id, epoch, ends) \
         SELECT {old}, {user}, NULL, n, FALSE FROM numbers"
    ))
    .await;
    here.feed.read().await.expect("reads");
    if here.store.engine() == "sqlite" {
        raw.run("BEGIN IMMEDIATE").await;
    } else {
        raw.run(
            "CREATE FUNCTION wait_in_the_middle() RETURNS trigger LANGUAGE plpgsql AS \
             $$ BEGIN PERFORM pg_advisory_xact_lock(64); RETURN OLD; END $$; \
             CREATE TRIGGER wait_in_the_middle BEFORE DELETE ON revocations \
             FOR EACH ROW WHEN (OLD.epoch = 10000) EXECUTE FUNCTION wait_in_the_middle()",
        )
        .await;
        raw.run("BEGIN; SELECT pg_advisory_xact_lock(64)").await;
    }
    let (store, before) = (here.store.clone(), database.clock.now() - seconds(86_400));
    let pruning = tokio::spawn(async move { store.prune(Prunable::Revocations, before, 50_000).await });
    wait_for_a_lock(&database, &here.store).await;

    let next = database.session(&there.store, ada.id);
    let session = if here.store.engine() == "sqlite" { ended } else { next.await };
    let mut heard = ChannelListener::on(&here.store);
    let stop = CancellationToken::new();
    let following = tokio::spawn(Arc::clone(&here.feed).follow(stop.clone()));
    if session == ended {
        // Nobody can write to SQLite meanwhile, so that what is heard is the next reading.
        let stopwatch = Stopwatch::start();
        while here.cache.feed_age().is_none_or(|age| age > stopwatch.elapsed()) {
            tokio::task::yield_now().await;
        }
    } else {
        end(&there.store, session).await;
        assert_eq!(heard.next().await.session_id, Some(session));
    }
    assert!(!pruning.is_finished(), "the prune was not held all the time");
    raw.run("COMMIT").await;
    assert_eq!(pruning.await.expect("no panic").expect("prunes after the lock"), 20_000);
    stop.cancel();
    following.await.expect("ends when cancelled");
}

/// The sign-ins that wait in a storm: far more than end in the time between two readings.
const STORM: usize = 4_000;

/// Thousands of sign-ins wait for a connection of this replica.
async fn sr_64_a_storm_of_sign_ins_does_not_delay_the_feed(database: TestDatabase) {
    let database = Arc::new(database);
    let here = database.replica_with(StoreOptions { pool_max: 2, ..database.options() }).await;
    let there = database.replica().await;
    let ada = database.user(&there.store, "ada").await;
    let session = database.session(&there.store, ada.id).await;
    let mut heard = ChannelListener::on(&here.store);
    let stop = CancellationToken::new();
    let following = tokio::spawn(Arc::clone(&here.feed).follow(stop.clone()));
    let mut storm = JoinSet::new();
    for _ in 0..STORM {
        let (database, store) = (Arc::clone(&database), here.store.clone());
        storm.spawn(async move { database.session(&store, ada.id).await });
    }
    end(&there.store, session).await;
    assert_eq!(heard.next().await.session_id, Some(session));
    while storm.try_join_next().is_some() {}
    assert!(storm.len() > STORM / 2, "the feed waited like a sign-in: {} of {STORM} are left", storm.len());
    storm.abort_all();
    while storm.join_next().await.is_some() {}
    stop.cancel();
    following.await.expect("ends when cancelled");
}

/// Waits until a statement waits for a lock. SQLite does not tell; there a writer cannot end while another one is at work.
async fn wait_for_a_lock(database: &TestDatabase, store: &Store) {
    if store.engine() == "sqlite" {
        return;
    }
    let mut raw = database.raw().await;
    let waiting =
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    while raw.number(waiting).await == 0 {}
}

portcullis_testkit::on_both_engines!(
    sr_22_an_exhausted_pool_does_not_delay_the_feed,
    sr_22_a_locked_row_does_not_delay_the_feed,
    sr_64_a_large_prune_does_not_delay_the_feed,
    sr_64_a_storm_of_sign_ins_does_not_delay_the_feed,
);
