use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use portcullis_model::{Revocation, RevocationListener};
use portcullis_storage::{DatabaseUrl, Store};
use portcullis_testkit::{PrivatePostgres, Wire};
use tokio_util::sync::CancellationToken;

use crate::bed::{Bed, Ear, days, end};

async fn another_replica_hears_of_a_revocation_exactly_once(bed: Bed) {
    let (here, there) = (bed.store().await, bed.store().await);
    let (near, far) = (bed.table(&here).await, bed.table(&there).await);
    let (ear_here, ear_there) = (Ear::on(&here), Ear::on(&there));
    let ada = bed.someone(&here, "ada").await;
    let session = bed.signed_in(&here, ada.id).await;
    end(&here, session.id, bed.clock.now()).await;
    assert_eq!(ear_here.heard().len(), 1, "not told when the commit returned");
    assert!(ear_there.heard().is_empty());
    for _ in 0..3 {
        near.read_feed().await.expect("reads");
        far.read_feed().await.expect("reads");
    }
    let expected = Revocation { user_id: ada.id, session_id: Some(session.id), epoch: 2, ends: true };
    assert_eq!(ear_here.heard(), std::slice::from_ref(&expected));
    assert_eq!(ear_there.heard(), [expected]);
}

async fn what_happened_before_a_table_was_made_is_not_told(bed: Bed) {
    let store = bed.store().await;
    let ada = bed.someone(&store, "ada").await;
    let session = bed.signed_in(&store, ada.id).await;
    end(&store, session.id, bed.clock.now()).await;
    bed.clock.advance(Duration::from_secs(60));
    let late = bed.store().await;
    let ear = Ear::on(&late);
    bed.table(&late).await;
    assert!(ear.heard().is_empty());
}

async fn a_clock_that_is_set_back_hides_nothing(bed: Bed) {
    let (here, there) = (bed.store().await, bed.store().await);
    let far = bed.table(&there).await;
    let ear = Ear::on(&there);
    let ada = bed.someone(&here, "ada").await;
    let session = bed.signed_in(&here, ada.id).await;
    end(&here, session.id, bed.clock.now()).await;
    // As if it had been written an hour before by a clock that was then put forward.
    let mut raw = bed.raw().await;
    let earlier = raw.at(bed.clock.now() - Duration::from_secs(3600));
    raw.run(&format!("UPDATE revocations SET at = {earlier}")).await;
    far.read_feed().await.expect("reads");
    assert_eq!(ear.heard().len(), 1);
}

async fn sr_22_a_running_feed_tells_other_replicas_within_a_second(bed: Bed) {
    struct Told(tokio::sync::mpsc::UnboundedSender<Revocation>);
    impl RevocationListener for Told {
        fn revoked(&self, revocation: &Revocation) {
            let _ = self.0.send(revocation.clone());
        }
    }
    let (here, there) = (bed.store().await, bed.store().await);
    let far = bed.table(&there).await;
    let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
    let told = Arc::new(Told(sender));
    there.subscribe(&told);
    let stop = CancellationToken::new();
    let following = tokio::spawn(Arc::clone(&far).follow(stop.clone()));
    let ada = bed.someone(&here, "ada").await;
    let session = bed.signed_in(&here, ada.id).await;
    end(&here, session.id, bed.clock.now()).await;
    let heard = tokio::time::timeout(Duration::from_secs(1), receiver.recv()).await.expect("within a second");
    assert_eq!(heard.expect("the listener lives").session_id, Some(session.id));
    stop.cancel();
    following.await.expect("ends when told to");
}

async fn old_rows_are_pruned_and_young_ones_stay(bed: Bed) {
    let store = bed.store().await;
    let ada = bed.someone(&store, "ada").await;
    let (old, live) = (bed.signed_in(&store, ada.id).await, bed.session(ada.id));
    end(&store, old.id, bed.clock.now()).await;
    bed.clock.advance(days(38));
    let mut tx = store.begin().await.expect("begins");
    let now = bed.clock.now();
    let fresh = portcullis_storage::NewSession { created_at: now, absolute_expires_at: now + days(30), ..live };
    tx.insert_session(&fresh).await.expect("is new");
    tx.commit().await.expect("commits");
    store.prune(store.now().await.expect("reads")).await.expect("deletes");
    assert!(store.session_record(old.id).await.expect("reads").is_none());
    assert!(store.session_record(fresh.id).await.expect("reads").is_some());
    let mut raw = bed.raw().await;
    assert_eq!(raw.number("SELECT count(*) FROM revocations").await, 0);
}

crate::on_both_engines!(
    another_replica_hears_of_a_revocation_exactly_once,
    what_happened_before_a_table_was_made_is_not_told,
    a_clock_that_is_set_back_hides_nothing,
    sr_22_a_running_feed_tells_other_replicas_within_a_second,
    old_rows_are_pruned_and_young_ones_stay,
);

/// Counts how often it is rung.
#[derive(Clone, Default)]
struct Rung(Arc<AtomicUsize>);

impl Rung {
    fn times(&self) -> usize {
        self.0.load(Ordering::Acquire)
    }

    async fn reaches(&self, times: usize) {
        let enough = async {
            while self.times() < times {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), enough).await.expect("is rung");
    }

    /// Has this store ring it.
    fn on(&self, store: &Store, stop: &CancellationToken) -> tokio::task::JoinHandle<()> {
        let count = Arc::clone(&self.0);
        let rung = move || {
            count.fetch_add(1, Ordering::AcqRel);
        };
        tokio::spawn(store.clone().listen(rung, stop.clone()))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgresql_tells_other_replicas_at_the_commit_and_not_the_one_that_committed() {
    let bed = Bed::postgres();
    let (here, there) = (bed.store().await, bed.store().await);
    let (near, far, stop) = (Rung::default(), Rung::default(), CancellationToken::new());
    let listening = [near.on(&here, &stop), far.on(&there, &stop)];
    // Each is rung once when it has connected.
    near.reaches(1).await;
    far.reaches(1).await;
    let ada = bed.someone(&here, "ada").await;
    let session = bed.signed_in(&here, ada.id).await;
    end(&here, session.id, bed.clock.now()).await;
    far.reaches(2).await;
    // What the other way round brings comes after what this way would have brought.
    let session = bed.signed_in(&there, ada.id).await;
    end(&there, session.id, bed.clock.now()).await;
    near.reaches(2).await;
    assert_eq!((near.times(), far.times()), (2, 2), "a replica was rung by itself");
    stop.cancel();
    for ended in listening {
        ended.await.expect("ends when told to");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_whose_packets_are_dropped_notices_and_listens_again() {
    let server = PrivatePostgres::shared();
    let direct = server.database();
    let wire = Wire::to((Ipv4Addr::LOCALHOST, server.port()).into());
    let through = direct.replace(&format!(":{}/", server.port()), &format!(":{}/", wire.port()));
    let bed = Bed::at(DatabaseUrl::parse(&direct).expect("an address"));
    let here = bed.store().await;
    let there = Bed::at(DatabaseUrl::parse(&through).expect("an address")).store().await;
    let (far, stop) = (Rung::default(), CancellationToken::new());
    let listening = far.on(&there, &stop);
    far.reaches(1).await;
    wire.freeze_open();
    // Nothing says that the connection is dead but the sign of life that does not come. It is rung once more when it
    // has connected again.
    far.reaches(2).await;
    let ada = bed.someone(&here, "ada").await;
    let session = bed.signed_in(&here, ada.id).await;
    end(&here, session.id, bed.clock.now()).await;
    far.reaches(3).await;
    stop.cancel();
    listening.await.expect("ends when told to");
}

/// Only PostgreSQL has several writers at once, so only there an entry can become visible after a later one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entry_whose_commit_comes_after_a_later_one_is_heard() {
    let bed = Bed::postgres();
    let store = bed.store().await;
    let table = bed.table(&store).await;
    let ear = Ear::on(&store);
    let ada = bed.someone(&store, "ada").await;
    let (late, early) = (bed.signed_in(&store, ada.id).await, bed.signed_in(&store, ada.id).await);

    let mut raw = bed.raw().await;
    raw.run("BEGIN").await;
    let (user, session) = (raw.id(ada.id.0), raw.id(late.id.0));
    raw.run(&format!(
        "INSERT INTO revocations (at, user_id, session_id, epoch, ends) \
         VALUES (clock_timestamp(), {user}, {session}, 2, TRUE)"
    ))
    .await;

    let other = bed.store().await;
    end(&other, early.id, bed.clock.now()).await;
    table.read_feed().await.expect("reads");
    assert_eq!(ear.heard().iter().map(|entry| entry.session_id).collect::<Vec<_>>(), [Some(early.id)]);
    raw.run("COMMIT").await;
    table.read_feed().await.expect("reads");
    table.read_feed().await.expect("reads");
    let heard: Vec<_> = ear.heard().iter().map(|entry| entry.session_id).collect();
    assert_eq!(heard, [Some(early.id), Some(late.id)]);
}
