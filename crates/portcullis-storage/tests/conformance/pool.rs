//! Connections cost few messages, and a broken one is never reused.

use std::net::Ipv4Addr;
use std::time::Duration;

use portcullis_model::{Clock, Random, UserId};
use portcullis_storage::{Store, StoreError, StoreOptions};
use portcullis_telemetry::Metrics;
use portcullis_testkit::{PrivatePostgres, Relay, Stopwatch};
use tokio::task::JoinSet;

use crate::test_database::{TestDatabase, seconds};

/// A store whose connections to PostgreSQL the test can freeze.
struct StoreBehindRelay {
    relay: Relay,
    store: Store,
    metrics: Metrics,
    _server: PrivatePostgres,
}

async fn store_behind_relay(change: impl FnOnce(&mut StoreOptions)) -> StoreBehindRelay {
    let server = PrivatePostgres::shared();
    let relay = Relay::to((Ipv4Addr::LOCALHOST, server.port()).into());
    let through = server.database().replace(&format!(":{}/", server.port()), &format!(":{}/", relay.port()));
    let db = TestDatabase::at(&through);
    let (mut options, metrics) = db.options();
    change(&mut options);
    let store = Store::open(options).await.expect("the database opens");
    StoreBehindRelay { relay, store, metrics, _server: server }
}

impl StoreBehindRelay {
    async fn look_up(&self) -> Result<(), StoreError> {
        let unknown_user = UserId::new(&Clock::system(), &Random::system());
        self.store.user_by_id(unknown_user).await.map(|_| ())
    }

    /// Opens this many connections at once.
    async fn open_connections(&self, count: usize) {
        let mut transactions = Vec::new();
        for _ in 0..count {
            transactions.push(self.store.begin().await.expect("begins"));
        }
        assert_eq!(self.connections(), count);
    }

    fn connections(&self) -> usize {
        let page = self.metrics.render(false);
        let line = page.lines().find(|line| line.starts_with("database_pool_connections ")).expect("is measured");
        line.rsplit(' ').next().and_then(|number| number.parse::<f64>().ok()).map_or(0, |number| number as usize)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_is_one_message() {
    let replica = store_behind_relay(|_| ()).await;
    replica.look_up().await.expect("reads");
    let before = replica.relay.sent();
    for _ in 0..50 {
        replica.look_up().await.expect("reads");
    }
    assert_eq!(replica.relay.sent() - before, 50);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn begin_and_commit_are_one_message_each() {
    let replica = store_behind_relay(|_| ()).await;
    replica.look_up().await.expect("reads");
    let before = replica.relay.sent();
    replica.store.begin().await.expect("begins").commit().await.expect("commits");
    assert_eq!(replica.relay.sent() - before, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_connections_are_replaced_after_one_ping() {
    let replica = store_behind_relay(|options| options.acquire_timeout = seconds(5)).await;
    replica.open_connections(4).await;
    // A connection is not pinged before it has been idle for a second.
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    replica.relay.freeze_open();
    let stopwatch = Stopwatch::start();
    replica.look_up().await.expect("a new connection serves it");
    // One unanswered ping takes a second, four would take four.
    stopwatch.assert_within(0.0..3.5);
    let mut looking = JoinSet::new();
    for _ in 0..8 {
        let store = replica.store.clone();
        looking.spawn(async move { store.ping().await });
    }
    for outcome in looking.join_all().await {
        outcome.expect("new connections serve them");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_connection_of_a_cancelled_statement_is_not_reused() {
    let replica = store_behind_relay(|options| options.pool_max = 1).await;
    replica.look_up().await.expect("reads");
    replica.relay.freeze_open();
    let cancelled = tokio::time::timeout(Duration::from_millis(200), replica.look_up()).await;
    assert!(cancelled.is_err(), "the relay was not frozen");
    // The next statement takes another connection: the frozen one answers nothing.
    replica.look_up().await.expect("reads");
    replica.relay.thaw();
    // The response to the first statement arrives at a connection that is no longer used.
    assert!(replica.store.instance_value("nothing").await.expect("reads").is_none());
    assert_eq!(replica.connections(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_survives_a_statement_timeout() {
    let db = TestDatabase::postgres();
    let (mut options, _) = db.options();
    options.statement_timeout = seconds(2);
    let store = Store::open(options).await.expect("the database opens");
    let mut raw = db.raw().await;
    raw.run("BEGIN; LOCK TABLE users IN ACCESS EXCLUSIVE MODE").await;
    let unknown_user = db.unknown_user();
    let outcome = store.user_by_id(unknown_user).await;
    assert!(matches!(outcome, Err(StoreError::Unavailable { .. })), "{outcome:?}");
    raw.run("ROLLBACK").await;
    assert!(store.user_by_id(unknown_user).await.expect("reads").is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_locked_sqlite_file_is_unavailable_until_it_is_unlocked() {
    let db = TestDatabase::sqlite();
    let (mut options, _) = db.options();
    options.acquire_timeout = seconds(2);
    let store = Store::open(options).await.expect("the database opens");
    let ada = db.user("ada").insert(&store).await;
    let mut raw = db.raw().await;
    raw.run("BEGIN IMMEDIATE").await;
    let refused = store.begin().await.map(|_| ());
    assert!(matches!(refused, Err(StoreError::Unavailable { .. })), "{refused:?}");
    assert!(store.user_by_id(ada.id).await.expect("a read does not wait for the lock").is_some());
    raw.run("ROLLBACK").await;
    db.user("grace").insert(&store).await;
}
