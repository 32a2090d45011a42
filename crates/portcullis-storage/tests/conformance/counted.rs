//! What operators watch that only the database knows.

use portcullis_storage::{Counted, Store, StoreOptions};

use crate::test_database::{TestDatabase, days, end};

async fn sessions_live(store: &Store) -> u64 {
    store.counted().await.expect("reads").sessions_live
}

async fn an_empty_database_counts_nothing(db: TestDatabase) {
    let store = db.store().await;
    assert_eq!(store.counted().await.expect("reads"), Counted { sessions_live: 0, mails_waiting: 0 });
}

async fn a_session_is_live_until_it_ends_or_expires(db: TestDatabase) {
    let (store, replica) = (db.store().await, db.store().await);
    let ada = db.user("ada").insert(&store).await;
    let first = db.session(ada.id).insert(&store).await;
    db.session(ada.id).insert(&store).await;
    assert_eq!((sessions_live(&store).await, sessions_live(&replica).await), (2, 2));
    assert!(end(&store, first.id, db.now()).await);
    assert_eq!((sessions_live(&store).await, sessions_live(&replica).await), (1, 1));
    db.clock.advance(days(400));
    assert_eq!(sessions_live(&store).await, 0);
}

/// By how many seconds the clock of a machine seems to be ahead, that is ahead by 90.
async fn clock_difference(db: &TestDatabase) -> f64 {
    let (options, metrics) = db.options();
    let clock = db.clock.on_a_machine_ahead_by(90_000_000);
    Store::open(StoreOptions { clock, ..options }).await.expect("opens");
    let page = metrics.render(false);
    let sample = page.lines().find_map(|line| line.strip_prefix("database_clock_difference_seconds "));
    sample.expect("the gauge is always there").parse().expect("a number")
}

#[tokio::test]
async fn a_clock_that_is_ahead_of_the_database_is_shown() {
    let difference = clock_difference(&TestDatabase::postgres()).await;
    // Measured with an error of half the time that the statement took.
    assert!((88.0..92.0).contains(&difference), "{difference}");
    assert!(clock_difference(&TestDatabase::sqlite()).await.abs() < f64::EPSILON, "the same machine");
}

portcullis_testkit::on_both_engines!(an_empty_database_counts_nothing, a_session_is_live_until_it_ends_or_expires,);
