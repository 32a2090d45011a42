//! The second level of session copies, shared by replicas: asked before SQL, never trusted over SQL.
//!
//! A shared copy may be used only while every revocation that overtakes it is known, either in the shared store (as a
//! floor) or here (in [`EpochFloors`](crate::epoch_floors::EpochFloors)). So each replica passes on every entry of the
//! revocation log that it learns of, from any replica: the writer may have died right after its commit. When passing on
//! fails, or when more entries arrive at once than the queue holds, this replica stops asking for shared copies until
//! the last copy that may have missed a revocation has expired.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use portcullis_model::{Revocation, SessionCopy, SessionId, SharedSessions};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Longer than any shared copy lives (five minutes) plus the feed's overlap.
pub(crate) const SHARED_COPY_LIFETIME: Duration = Duration::from_secs(310);
/// The most revocations that wait to be passed on.
const QUEUE_LENGTH: usize = 50_000;
/// The most revocations passed on in one command.
const BATCH: usize = 1_000;

/// Copies shared by replicas, and whether they can be trusted at the moment.
pub(crate) struct SharedCopies {
    sessions: Arc<dyn SharedSessions>,
    queue: mpsc::Sender<Revocation>,
    /// The other end of the queue, until [`deliver`](Self::deliver) takes it.
    queued: Mutex<Option<mpsc::Receiver<Revocation>>>,
    created_at: Instant,
    /// Milliseconds from `created_at` until which shared copies are not asked for.
    distrusted_until: AtomicU64,
}

impl SharedCopies {
    pub(crate) fn new(sessions: Arc<dyn SharedSessions>) -> Self {
        let (queue, queued) = mpsc::channel(QUEUE_LENGTH);
        let queued = Mutex::new(Some(queued));
        Self { sessions, queue, queued, created_at: Instant::now(), distrusted_until: AtomicU64::new(0) }
    }

    /// A shared copy of at least this user epoch.
    pub(crate) async fn fetch(&self, id: SessionId, user_epoch: i64) -> Option<SessionCopy> {
        if self.elapsed_millis() < self.distrusted_until.load(Ordering::Acquire) {
            return None;
        }
        self.sessions.fetch(id).await.filter(|copy| copy.user_epoch >= user_epoch)
    }

    /// Offers a copy that was just read from SQL.
    pub(crate) fn offer(&self, copy: SessionCopy) {
        self.sessions.offer(copy);
    }

    /// Queues a revocation to be passed on.
    pub(crate) fn enqueue(&self, revocation: &Revocation) {
        if self.queue.try_send(revocation.clone()).is_err() {
            self.suspend();
        }
    }

    /// Stops asking for shared copies until all that exist now have expired.
    fn suspend(&self) {
        let lifetime = u64::try_from(SHARED_COPY_LIFETIME.as_millis()).unwrap_or(u64::MAX);
        self.distrusted_until.fetch_max(self.elapsed_millis() + lifetime, Ordering::AcqRel);
    }

    /// Passes queued revocations on until cancelled.
    pub(crate) async fn deliver(&self, stop: &CancellationToken) {
        let taken = self.queued.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut queue) = taken else { return };
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            batch.clear();
            let received = tokio::select! {
                received = queue.recv_many(&mut batch, BATCH) => received,
                () = stop.cancelled() => 0,
            };
            if received == 0 {
                break;
            }
            if self.sessions.revoke(&batch).await.is_err() {
                self.suspend();
            }
        }
    }

    fn elapsed_millis(&self) -> u64 {
        u64::try_from(self.created_at.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}
