//! What operators watch that only the database knows.

use portcullis_storage::{Counted, Store};

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

portcullis_testkit::on_both_engines!(an_empty_database_counts_nothing, a_session_is_live_until_it_ends_or_expires,);
