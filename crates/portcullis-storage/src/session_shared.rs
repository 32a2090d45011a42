//! The second level of session copies, shared by replicas: asked before SQL, never believed before SQL.
//!
//! A shared copy may be used only while every revocation that overtakes it is known, either there (as a floor) or
//! here (as a floor of [`Floors`](crate::session_floors::Floors)). So each replica passes on every entry of the log
//! that it hears, whoever wrote it: the writer may have died right after its commit. While that fails, or when a
//! replica hears more at once than it can hold, it does not ask for shared copies until the last one that it may
//! have missed has expired.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use portcullis_model::{Revocation, SessionCopy, SessionId, SharedSessions};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Longer than any shared copy lives (five minutes), and the feed's overlap.
pub(crate) const SHARED_LIFE: Duration = Duration::from_secs(310);
/// Entries that wait to be passed on.
const WAITING: usize = 50_000;
/// Entries passed on at once.
const BATCH: usize = 1_000;

/// Shared copies, and whether they can be believed.
pub(crate) struct SharedLevel {
    sessions: Arc<dyn SharedSessions>,
    heard: mpsc::Sender<Revocation>,
    to_deliver: Mutex<Option<mpsc::Receiver<Revocation>>>,
    made_at: Instant,
    /// Milliseconds from `made_at` until which shared copies are not asked for.
    distrusted_until: AtomicU64,
}

impl SharedLevel {
    pub(crate) fn new(sessions: Arc<dyn SharedSessions>) -> Self {
        let (heard, to_deliver) = mpsc::channel(WAITING);
        let to_deliver = Mutex::new(Some(to_deliver));
        Self { sessions, heard, to_deliver, made_at: Instant::now(), distrusted_until: AtomicU64::new(0) }
    }

    /// A copy of at least this user epoch.
    pub(crate) async fn fetch(&self, id: SessionId, user_epoch: i64) -> Option<SessionCopy> {
        if self.now() < self.distrusted_until.load(Ordering::Acquire) {
            return None;
        }
        self.sessions.fetch(id).await.filter(|copy| copy.user_epoch >= user_epoch)
    }

    /// Offers a copy that was just read from SQL.
    pub(crate) fn offer(&self, copy: SessionCopy) {
        self.sessions.offer(copy);
    }

    /// Takes note of a revocation that this process has heard of.
    pub(crate) fn heard(&self, revocation: &Revocation) {
        if self.heard.try_send(revocation.clone()).is_err() {
            self.distrust();
        }
    }

    /// Asks for no shared copy until all that exist now have expired.
    pub(crate) fn distrust(&self) {
        let life = u64::try_from(SHARED_LIFE.as_millis()).unwrap_or(u64::MAX);
        self.distrusted_until.fetch_max(self.now() + life, Ordering::AcqRel);
    }

    /// Passes on what is heard until cancelled.
    pub(crate) async fn deliver(&self, stop: &CancellationToken) {
        let taken = self.to_deliver.lock().unwrap_or_else(PoisonError::into_inner).take();
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
                self.distrust();
            }
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.made_at.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}
