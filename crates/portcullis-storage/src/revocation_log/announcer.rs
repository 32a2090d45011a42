//! Tells the listeners in this process of revocations, each entry of the log once.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock, Weak};
use std::time::Instant;

use portcullis_model::{ReplicaNotifier, Revocation, RevocationListener};

/// The most announced entries that are remembered while the feed is not read. An entry that is forgotten early is
/// announced twice, which does no harm.
const REMEMBERED: usize = 1_000_000;

/// The listeners of this process, and which entries they were told of.
#[derive(Default)]
pub(crate) struct Announcer {
    listeners: RwLock<Vec<Weak<dyn RevocationListener>>>,
    /// Numbers of announced entries, and when each was announced.
    announced: Mutex<HashMap<i64, Instant>>,
    notifier: OnceLock<Arc<dyn ReplicaNotifier>>,
}

impl Announcer {
    pub(crate) fn set_notifier(&self, notifier: Arc<dyn ReplicaNotifier>) {
        // The first notifier stays: a second one would reach the same replicas twice.
        let _ = self.notifier.set(notifier);
    }

    pub(crate) fn subscribe<L: RevocationListener>(&self, listener: &Arc<L>) {
        let listener: Arc<dyn RevocationListener> = Arc::<L>::clone(listener);
        let mut listeners = self.listeners.write().unwrap_or_else(PoisonError::into_inner);
        listeners.retain(|known| known.strong_count() > 0);
        listeners.push(Arc::downgrade(&listener));
    }

    /// Announces the entries that a transaction of this process has just committed. Their numbers are remembered only
    /// now: had the commit failed half-way, the feed would still have to announce them.
    pub(crate) fn committed(&self, written: &[i64], entries: Vec<Revocation>) {
        if entries.is_empty() {
            return;
        }
        {
            let now = Instant::now();
            let mut announced = self.announced.lock().unwrap_or_else(PoisonError::into_inner);
            if announced.len() > REMEMBERED {
                announced.clear();
            }
            announced.extend(written.iter().map(|seq| (*seq, now)));
        }
        for entry in entries {
            self.announce(&entry);
        }
        if let Some(notifier) = self.notifier.get().filter(|_| !written.is_empty()) {
            notifier.notify();
        }
    }

    /// Announces the entries that the feed has read, except those announced before.
    pub(crate) fn read(&self, entries: &[(i64, Revocation)]) {
        let now = Instant::now();
        let fresh: Vec<&Revocation> = {
            let mut announced = self.announced.lock().unwrap_or_else(PoisonError::into_inner);
            entries.iter().filter(|(seq, _)| announced.insert(*seq, now).is_none()).map(|(_, entry)| entry).collect()
        };
        for entry in fresh {
            self.announce(entry);
        }
    }

    /// Forgets the entries that were announced before this moment. To be called after a complete reading of the log that
    /// began then: it has returned them, and no later reading does.
    pub(crate) fn forget_before(&self, begun: Instant) {
        self.announced.lock().unwrap_or_else(PoisonError::into_inner).retain(|_, at| *at >= begun);
    }

    /// Forgets all announced entries, because the numbers of another database mean other entries.
    pub(crate) fn forget_all(&self) {
        self.announced.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn announce(&self, entry: &Revocation) {
        let listeners: Vec<Arc<dyn RevocationListener>> = {
            let known = self.listeners.read().unwrap_or_else(PoisonError::into_inner);
            known.iter().filter_map(Weak::upgrade).collect()
        };
        for listener in listeners {
            // A listener that panics must not keep the others from hearing of a revocation.
            if catch_unwind(AssertUnwindSafe(|| listener.revoked(entry))).is_err() {
                tracing::error!("a listener of revocations panicked");
            }
        }
    }
}
