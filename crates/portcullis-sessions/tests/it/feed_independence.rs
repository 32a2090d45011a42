//! Nothing that requests or jobs do to the database delays the feed.

use std::sync::Arc;

use portcullis_storage::StoreOptions;
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
    assert_eq!(heard.next_within_a_second().await.session_id, Some(session));
    stop.cancel();
    following.await.expect("ends when cancelled");
}

/// Another process holds the row that a statement of housekeeping needs.
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
    let seen = [(kept, database.clock.now() + seconds(60))];
    let mut housekeeping = Box::pin(here.store.touch_sessions(&seen));
    assert!(futures_util::poll!(&mut housekeeping).is_pending(), "the row is not locked");

    let mut heard = ChannelListener::on(&here.store);
    let stop = CancellationToken::new();
    let following = tokio::spawn(Arc::clone(&here.feed).follow(stop.clone()));
    assert_eq!(heard.next_within_a_second().await.session_id, Some(ended));
    assert!(futures_util::poll!(&mut housekeeping).is_pending(), "the lock was not held all the time");
    raw.run("COMMIT").await;
    housekeeping.await.expect("writes after the lock");
    stop.cancel();
    following.await.expect("ends when cancelled");
}

crate::on_both_engines!(sr_22_an_exhausted_pool_does_not_delay_the_feed, sr_22_a_locked_row_does_not_delay_the_feed);
