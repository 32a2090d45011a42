//! Many requests for one session or API key that is not cached wait for one look-up instead of starting one each.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use portcullis_model::{SessionState, SessionsUnavailable};
use tokio::sync::OnceCell;

/// The outcome of a look-up.
pub(crate) type LookUp = Result<Option<Arc<SessionState>>, SessionsUnavailable>;

/// Look-ups that are running, by what is looked up.
pub(crate) struct SingleFlight<K: Eq + Hash>(Mutex<HashMap<K, Arc<OnceCell<LookUp>>>>);

impl<K: Eq + Hash> Default for SingleFlight<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Copy + Eq + Hash> SingleFlight<K> {
    /// The outcome of `look_up`, or of the same look-up that is already running. The outcome of a look-up that is
    /// overtaken by a revocation is stale and the look-up is repeated, so a caller that joins gets no older state than
    /// this process knows of.
    pub(crate) async fn run(&self, key: K, look_up: impl Future<Output = LookUp>) -> LookUp {
        let cell = Arc::clone(self.cells().entry(key).or_default());
        let caller = Caller { flights: self, key, cell };
        // If the caller that runs the look-up is dropped, `get_or_init` lets the next caller run its own.
        caller.cell.get_or_init(|| look_up).await.clone()
    }

    fn cells(&self) -> MutexGuard<'_, HashMap<K, Arc<OnceCell<LookUp>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One caller of a look-up. The first caller to get the outcome, or the last one to leave without it, removes the
/// entry from the map.
struct Caller<'a, K: Copy + Eq + Hash> {
    flights: &'a SingleFlight<K>,
    key: K,
    cell: Arc<OnceCell<LookUp>>,
}

impl<K: Copy + Eq + Hash> Drop for Caller<'_, K> {
    fn drop(&mut self) {
        let mut cells = self.flights.cells();
        let is_listed = cells.get(&self.key).is_some_and(|cell| Arc::ptr_eq(cell, &self.cell));
        // One reference is held by the map, one by this caller.
        let is_last = Arc::strong_count(&self.cell) == 2;
        if is_listed && (self.cell.initialized() || is_last) {
            cells.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use portcullis_model::{Clock, Random, SessionId};

    use super::*;

    #[tokio::test]
    async fn a_cancelled_look_up_leaves_nothing_behind() {
        let flights = SingleFlight::default();
        let key = (SessionId::new(&Clock::system(), &Random::system()), 1);
        // Polled once, then dropped.
        assert!(flights.run(key, std::future::pending()).now_or_never().is_none());
        assert!(flights.cells().is_empty());
        assert!(matches!(flights.run(key, async { Ok(None) }).await, Ok(None)));
        assert!(flights.cells().is_empty());
    }
}
