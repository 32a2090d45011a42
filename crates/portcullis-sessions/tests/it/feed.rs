use std::sync::Arc;

use portcullis_model::{Revocation, RevocationListener, SessionSource};
use portcullis_testkit::Stopwatch;
use tokio_util::sync::CancellationToken;

use crate::test_database::{RecordingListener, TestDatabase, end, seconds};

async fn every_replica_learns_of_a_revocation_exactly_once(database: TestDatabase) {
    let (here, there) = (database.replica().await, database.replica().await);
    let (heard_here, heard_there) = (RecordingListener::on(&here.store), RecordingListener::on(&there.store));
    let ada = database.user(&here.store, "ada").await;
    let session = database.session(&here.store, ada.id).await;
    end(&here.store, session).await;
    assert_eq!(heard_here.recorded().len(), 1, "not announced when the commit returned");
    assert!(heard_there.recorded().is_empty());
    for _ in 0..3 {
        here.feed.read().await.expect("reads");
        there.feed.read().await.expect("reads");
    }
    let expected = Revocation { user_id: ada.id, session_id: Some(session), epoch: 2, ends: true };
    assert_eq!(heard_here.recorded(), std::slice::from_ref(&expected));
    assert_eq!(heard_there.recorded(), [expected]);
}

async fn a_new_feed_skips_what_happened_before_it(database: TestDatabase) {
    let here = database.replica().await;
    let ada = database.user(&here.store, "ada").await;
    let session = database.session(&here.store, ada.id).await;
    end(&here.store, session).await;
    database.clock.advance(seconds(60));
    let late = TestDatabase::unread_replica(database.options(), Default::default()).await;
    let heard = RecordingListener::on(&late.store);
    late.feed.read().await.expect("reads");
    assert!(heard.recorded().is_empty());
}

async fn a_clock_that_is_set_back_hides_no_entry(database: TestDatabase) {
    let (here, there) = (database.replica().await, database.replica().await);
    let heard = RecordingListener::on(&there.store);
    let ada = database.user(&here.store, "ada").await;
    let session = database.session(&here.store, ada.id).await;
    end(&here.store, session).await;
    // As if the entry had been written an hour ago, by a clock that was put forward since.
    let mut raw = database.raw().await;
    let earlier = raw.instant(database.clock.now() - seconds(3_600));
    raw.run(&format!("UPDATE revocations SET at = {earlier}")).await;
    there.feed.read().await.expect("reads");
    assert_eq!(heard.recorded().len(), 1);
}

async fn sr_22_a_feed_hears_other_replicas_within_a_second(database: TestDatabase) {
    let (here, there) = (database.replica().await, database.replica().await);
    let mut heard = ChannelListener::on(&there.store);
    let stop = CancellationToken::new();
    let following = tokio::spawn(Arc::clone(&there.feed).follow(stop.clone()));
    let ada = database.user(&here.store, "ada").await;
    let session = database.session(&here.store, ada.id).await;
    end(&here.store, session).await;
    let stopwatch = Stopwatch::start();
    assert_eq!(heard.next().await.session_id, Some(session));
    stopwatch.assert_within(0.0..1.0);
    stop.cancel();
    following.await.expect("ends when cancelled");
}

async fn a_listener_that_panics_keeps_no_other_from_hearing(database: TestDatabase) {
    struct Panicking;
    impl RevocationListener for Panicking {
        fn revoked(&self, _revocation: &Revocation) {
            panic!("a defect in a listener");
        }
    }
    let (here, there) = (database.replica().await, database.replica().await);
    let panicking = Arc::new(Panicking);
    there.store.subscribe(&panicking);
    let mut heard = ChannelListener::on(&there.store);
    let stop = CancellationToken::new();
    let following = tokio::spawn(Arc::clone(&there.feed).follow(stop.clone()));
    let ada = database.user(&here.store, "ada").await;
    for _ in 0..2 {
        let session = database.session(&here.store, ada.id).await;
        end(&here.store, session).await;
        assert_eq!(heard.next().await.session_id, Some(session));
    }
    stop.cancel();
    following.await.expect("ends when cancelled");
}

async fn sr_64_a_log_of_several_pages_is_read_at_once(database: TestDatabase) {
    let (here, there) = (database.replica().await, database.replica().await);
    let heard = RecordingListener::on(&there.store);
    let ada = database.user(&here.store, "ada").await;
    let mut raw = database.raw().await;
    let (user, now) = (raw.id(ada.id.0), raw.instant(database.clock.now()));
    let numbers = "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 5000)";
    raw.run(&format!(
        "{numbers} INSERT INTO revocations (at, user_id, session_id, epoch, ends) \
         SELECT {now}, {user}, NULL, n, TRUE FROM numbers"
    ))
    .await;
    there.feed.read().await.expect("reads");
    let epochs: Vec<i64> = heard.recorded().iter().map(|entry| entry.epoch).collect();
    assert_eq!(epochs, (1..=5_000).collect::<Vec<_>>());
}

async fn sr_64_after_a_gap_that_pruning_may_fill_no_copy_is_kept(database: TestDatabase) {
    let here = database.replica().await;
    let ada = database.user(&here.store, "ada").await;
    let session = database.session(&here.store, ada.id).await;
    assert!(here.cache.load(session, 1).await.expect("reads").is_some());
    database.clock.advance(seconds(3_000));
    here.feed.read().await.expect("reads");
    assert!(here.cache.cached(session).is_some());
    database.clock.advance(seconds(4_000));
    here.feed.read().await.expect("reads");
    assert!(here.cache.cached(session).is_none());
    assert!(here.cache.load(session, 1).await.expect("reads").is_some());
    assert!(here.cache.cached(session).is_some());
}

portcullis_testkit::on_both_engines!(
    sr_64_a_log_of_several_pages_is_read_at_once,
    sr_64_after_a_gap_that_pruning_may_fill_no_copy_is_kept,
    every_replica_learns_of_a_revocation_exactly_once,
    a_new_feed_skips_what_happened_before_it,
    a_clock_that_is_set_back_hides_no_entry,
    sr_22_a_feed_hears_other_replicas_within_a_second,
    a_listener_that_panics_keeps_no_other_from_hearing,
);

/// Only PostgreSQL has several writers at once, so only there an entry can become visible after a later one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entry_that_commits_after_a_later_one_is_heard() {
    let database = TestDatabase::postgres();
    let (here, other) = (database.replica().await, database.replica().await);
    let heard = RecordingListener::on(&here.store);
    let ada = database.user(&here.store, "ada").await;
    let (late, early) = (database.session(&here.store, ada.id).await, database.session(&here.store, ada.id).await);

    let mut raw = database.raw().await;
    raw.run("BEGIN").await;
    let (user, session) = (raw.id(ada.id.0), raw.id(late.0));
    raw.run(&format!(
        "INSERT INTO revocations (at, user_id, session_id, epoch, ends) \
         VALUES (clock_timestamp(), {user}, {session}, 2, TRUE)"
    ))
    .await;

    end(&other.store, early).await;
    here.feed.read().await.expect("reads");
    assert_eq!(heard.recorded().iter().map(|entry| entry.session_id).collect::<Vec<_>>(), [Some(early)]);
    raw.run("COMMIT").await;
    here.feed.read().await.expect("reads");
    here.feed.read().await.expect("reads");
    let recorded: Vec<_> = heard.recorded().iter().map(|entry| entry.session_id).collect();
    assert_eq!(recorded, [Some(early), Some(late)]);
}

/// Sends revocations to the test as they are announced.
pub(crate) struct ChannelListener {
    receiver: tokio::sync::mpsc::UnboundedReceiver<Revocation>,
    _sender: Arc<Sender>,
}

struct Sender(tokio::sync::mpsc::UnboundedSender<Revocation>);

impl RevocationListener for Sender {
    fn revoked(&self, revocation: &Revocation) {
        let _ = self.0.send(revocation.clone());
    }
}

impl ChannelListener {
    pub(crate) fn on(store: &portcullis_storage::Store) -> Self {
        let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
        let sender = Arc::new(Sender(sender));
        store.subscribe(&sender);
        Self { receiver, _sender: sender }
    }

    /// Waits for the next revocation.
    pub(crate) async fn next(&mut self) -> Revocation {
        let next = tokio::time::timeout(seconds(60), self.receiver.recv()).await;
        next.expect("a revocation is heard").expect("the listener lives")
    }
}
