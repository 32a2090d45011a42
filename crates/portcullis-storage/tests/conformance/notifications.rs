//! PostgreSQL notifies the other replicas of new entries in the revocation log.

use std::net::Ipv4Addr;

use portcullis_model::UserId;
use portcullis_storage::Store;
use portcullis_testkit::{PrivatePostgres, Relay};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::test_database::{TestDatabase, end, seconds};

/// A replica that counts the notifications it receives.
pub(crate) struct Listening {
    count: watch::Receiver<usize>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Listening {
    pub(crate) fn on(store: &Store) -> Self {
        let (sender, count) = watch::channel(0);
        let stop = CancellationToken::new();
        let notified = move || sender.send_modify(|count| *count += 1);
        let task = tokio::spawn(store.clone().listen(notified, stop.clone()));
        Self { count, stop, task }
    }

    /// Waits until this many notifications have arrived since the start. The first stands for the connect.
    pub(crate) async fn reaches(&mut self, count: usize) {
        let reached = self.count.wait_for(|now| *now >= count);
        let outcome = tokio::time::timeout(seconds(20), reached).await;
        outcome.expect("the notification arrives").expect("the listener runs");
    }

    pub(crate) fn count(&self) -> usize {
        *self.count.borrow()
    }

    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.task.await.expect("the listener stops when told to");
    }
}

/// Appends to the revocation log through a replica.
pub(crate) async fn log_out(db: &TestDatabase, replica: &Store, user: UserId) {
    let session = db.session(user).insert(replica).await;
    end(replica, session.id, db.now()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_notifies_the_other_replicas_only() {
    let db = TestDatabase::postgres();
    let (here, there) = (db.store().await, db.store().await);
    let (mut near, mut far) = (Listening::on(&here), Listening::on(&there));
    near.reaches(1).await;
    far.reaches(1).await;
    let ada = db.user("ada").insert(&here).await.id;
    log_out(&db, &here, ada).await;
    far.reaches(2).await;
    // Notifications arrive in order: this one comes after any that the first logout had sent here.
    log_out(&db, &there, ada).await;
    near.reaches(2).await;
    assert_eq!((near.count(), far.count()), (2, 2), "a replica notified itself");
    near.stop().await;
    far.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_reconnects_when_its_packets_are_dropped() {
    let server = PrivatePostgres::shared();
    let direct = server.database();
    let relay = Relay::to((Ipv4Addr::LOCALHOST, server.port()).into());
    let through = direct.replace(&format!(":{}/", server.port()), &format!(":{}/", relay.port()));
    let db = TestDatabase::at(&direct);
    let here = db.store().await;
    let there = TestDatabase::at(&through).store().await;
    let mut far = Listening::on(&there);
    far.reaches(1).await;
    relay.freeze_open();
    // Only the missing answer to its check tells that the connection is dead. Connecting again counts as a
    // notification.
    far.reaches(2).await;
    let ada = db.user("ada").insert(&here).await.id;
    log_out(&db, &here, ada).await;
    far.reaches(3).await;
    far.stop().await;
}
