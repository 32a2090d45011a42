//! Sessions that are being read: many requests for one session that is not known here yet wait for one reading.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use portcullis_model::{SessionId, SessionState, SessionsUnavailable};
use tokio::sync::OnceCell;

/// What a reading found.
pub(crate) type Outcome = Result<Option<Arc<SessionState>>, SessionsUnavailable>;

/// A session, and the user epoch that it must have at least.
type Key = (SessionId, i64);

/// Readings under way.
#[derive(Default)]
pub(crate) struct Loading(Mutex<HashMap<Key, Arc<OnceCell<Outcome>>>>);

impl Loading {
    /// The outcome of `read`, or of the same reading that is under way. What was found is as young as the end of the
    /// reading, so that who came while it ran is not given anything older than what they would have read themselves.
    pub(crate) async fn once(&self, key: Key, read: impl Future<Output = Outcome>) -> Outcome {
        let cell = Arc::clone(self.cells().entry(key).or_default());
        let waiting = Waiting { loading: self, key, cell };
        // Should the one who reads go away, the next who waits reads.
        waiting.cell.get_or_init(|| read).await.clone()
    }

    fn cells(&self) -> MutexGuard<'_, HashMap<Key, Arc<OnceCell<Outcome>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One who waits. The first to have the outcome, or the last to go without it, ends the reading.
struct Waiting<'a> {
    loading: &'a Loading,
    key: Key,
    cell: Arc<OnceCell<Outcome>>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut cells = self.loading.cells();
        let is_listed = cells.get(&self.key).is_some_and(|cell| Arc::ptr_eq(cell, &self.cell));
        // The list's own and this one's.
        let is_last = Arc::strong_count(&self.cell) == 2;
        if is_listed && (self.cell.initialized() || is_last) {
            cells.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use portcullis_model::{Clock, Random};

    use super::*;

    #[tokio::test]
    async fn a_reading_that_is_given_up_is_taken_over_and_nothing_is_left_behind() {
        let loading = Loading::default();
        let key = (SessionId::new(&Clock::system(), &Random::system()), 1);
        let given_up = loading.once(key, std::future::pending());
        assert!(tokio::time::timeout(std::time::Duration::from_millis(1), given_up).await.is_err());
        assert!(loading.cells().is_empty());
        assert!(matches!(loading.once(key, async { Ok(None) }).await, Ok(None)));
        assert!(loading.cells().is_empty());
    }
}
