//! Connections: how few messages they cost, and that a bad one is never used twice.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use portcullis_model::{Clock, Random, UserId};
use portcullis_storage::{DatabaseUrl, Store, StoreError, StoreOptions};
use portcullis_telemetry::Metrics;
use portcullis_testkit::{PrivatePostgres, Wire};
use tokio::task::JoinSet;

use crate::bed::{Bed, seconds};

/// A PostgreSQL database behind a wire.
struct Wired {
    wire: Wire,
    store: Store,
    metrics: Metrics,
    _server: PrivatePostgres,
}

async fn wired(change: impl FnOnce(&mut StoreOptions)) -> Wired {
    let server = PrivatePostgres::shared();
    let wire = Wire::to((Ipv4Addr::LOCALHOST, server.port()).into());
    let through = server.database().replace(&format!(":{}/", server.port()), &format!(":{}/", wire.port()));
    let bed = Bed::at(DatabaseUrl::parse(&through).expect("an address"));
    let (mut options, metrics) = bed.options();
    change(&mut options);
    let store = Store::open(options).await.expect("the database opens");
    Wired { wire, store, metrics, _server: server }
}

impl Wired {
    async fn look_up(&self) -> Result<(), StoreError> {
        let nobody = UserId::new(&Clock::system(), &Random::system());
        self.store.user_by_id(nobody).await.map(|_| ())
    }

    /// Has this many connections open at once.
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
async fn a_select_is_one_message_and_a_transaction_two_more_than_its_statements() {
    let wired = wired(|_| ()).await;
    wired.look_up().await.expect("reads");
    let before = wired.wire.sent();
    for _ in 0..50 {
        wired.look_up().await.expect("reads");
    }
    assert_eq!(wired.wire.sent() - before, 50);
    let before = wired.wire.sent();
    wired.store.begin().await.expect("begins").commit().await.expect("commits");
    assert_eq!(wired.wire.sent() - before, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_whose_packets_are_dropped_are_replaced_at_the_cost_of_one_sign_of_life() {
    let wired = wired(|options| options.acquire_timeout = seconds(5)).await;
    wired.open_connections(4).await;
    // They count as fresh, and are not asked, until they have been idle for a second.
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    wired.wire.freeze_open();
    let begun = Instant::now();
    wired.look_up().await.expect("a new connection serves it");
    // One sign of life that does not come is a second; four would be four.
    assert!(begun.elapsed() < Duration::from_millis(2_500), "each dead connection was asked: {:?}", begun.elapsed());
    let mut looking = JoinSet::new();
    for _ in 0..8 {
        let store = wired.store.clone();
        looking.spawn(async move { store.ping().await });
    }
    for outcome in looking.join_all().await {
        outcome.expect("new connections serve them");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_statement_that_is_given_up_half_way_costs_its_connection_and_nobody_elses_answer() {
    let wired = wired(|options| options.pool_max = 1).await;
    wired.look_up().await.expect("reads");
    wired.wire.freeze_open();
    let given_up = tokio::time::timeout(Duration::from_millis(200), wired.look_up()).await;
    assert!(given_up.is_err(), "it was frozen");
    // The next one takes another connection at once, young as the frozen one is.
    let next = tokio::time::timeout(seconds(2), wired.look_up()).await.expect("does not wait for the frozen one");
    next.expect("reads");
    wired.wire.thaw();
    // The answer to the first statement arrives at a connection that nobody asks any more.
    assert!(wired.store.instance_value("nothing").await.expect("reads").is_none());
    assert_eq!(wired.connections(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_statement_that_runs_too_long_is_ended_by_the_server_and_its_connection_goes_on() {
    let bed = Bed::postgres();
    let (mut options, _) = bed.options();
    options.statement_timeout = Duration::from_millis(200);
    let store = Store::open(options).await.expect("the database opens");
    let mut raw = bed.raw().await;
    raw.run("BEGIN; LOCK TABLE users IN ACCESS EXCLUSIVE MODE").await;
    let nobody = UserId::new(&bed.clock, &bed.random);
    let outcome = store.user_by_id(nobody).await;
    assert!(matches!(outcome, Err(StoreError::Unavailable { .. })), "{outcome:?}");
    raw.run("ROLLBACK").await;
    assert!(store.user_by_id(nobody).await.expect("reads").is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sqlite_file_that_another_process_has_locked_is_unavailable_until_it_is_let_go() {
    let bed = Bed::sqlite();
    let (mut options, _) = bed.options();
    options.acquire_timeout = Duration::from_millis(200);
    let store = Store::open(options).await.expect("the database opens");
    let ada = bed.someone(&store, "ada").await;
    let mut raw = bed.raw().await;
    raw.run("BEGIN IMMEDIATE").await;
    let refused = store.begin().await.map(|_| ());
    assert!(matches!(refused, Err(StoreError::Unavailable { .. })), "{refused:?}");
    assert!(store.user_by_id(ada.id).await.expect("reads beside the writer").is_some());
    raw.run("ROLLBACK").await;
    bed.someone(&store, "grace").await;
}
