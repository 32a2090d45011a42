use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use portcullis_storage::{DatabaseUrl, Prunable, Store};
use portcullis_testkit::{PrivatePostgres, Wire};
use tokio_util::sync::CancellationToken;

use crate::bed::{Bed, days, end};

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
    let now = store.now().await.expect("reads");
    assert_eq!(store.prune(Prunable::Revocations, now - days(1), 10).await.expect("deletes"), 1);
    assert_eq!(store.prune(Prunable::Sessions, now - days(7), 10).await.expect("deletes"), 1);
    assert!(store.session_record(old.id).await.expect("reads").is_none());
    assert!(store.session_record(fresh.id).await.expect("reads").is_some());
    let mut raw = bed.raw().await;
    assert_eq!(raw.number("SELECT count(*) FROM revocations").await, 0);
}

crate::on_both_engines!(old_rows_are_pruned_and_young_ones_stay,);

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
