//! Readings that many health checks share: anybody may ask, so the cost must not grow with the number of requests.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use portcullis_storage::Store;
use portcullis_telemetry::RequestScope;
use tokio::sync::watch;

/// The greatest age of a reading that answers a request (`docs/contract.md`, "System endpoints").
const FRESH: Duration = Duration::from_millis(250);

/// The state of the database, as read a moment ago.
#[derive(Default)]
pub struct DatabaseReading(Reading<bool>);

impl DatabaseReading {
    /// Returns whether the database answers. Requests that come while it is asked wait for the same answer.
    pub(super) async fn is_healthy(&self, store: &Store) -> bool {
        let store = store.clone();
        let ask = async move || {
            let pinged = store.ping().await;
            if let Err(error) = &pinged {
                tracing::debug!(%error, "the database did not answer a health check");
            }
            pinged.is_ok()
        };
        // A reading that ended without a value counts as no answer.
        self.0.get(ask).await.unwrap_or(false)
    }
}

/// A value that is read at most once in [`FRESH`], and by one reading at a time.
struct Reading<T>(Arc<Mutex<State<T>>>);

struct State<T> {
    last: Option<(Instant, T)>,
    /// Set while a reading is under way; it holds the value at the end.
    under_way: Option<watch::Receiver<Option<T>>>,
}

impl<T> Default for Reading<T> {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(State { last: None, under_way: None })))
    }
}

impl<T: Copy + Send + Sync + 'static> Reading<T> {
    /// Returns the last value if it is fresh, else the one of the reading that is under way or begins now. A reading
    /// goes on when its request is dropped, so that requests that hang up do not begin one each. `None` when the reading
    /// panicked.
    async fn get<W>(&self, read: impl FnOnce() -> W + Send + 'static) -> Option<T>
    where
        W: Future<Output = T> + Send + 'static,
    {
        let mut receiver = {
            let mut state = lock(&self.0);
            if let Some((at, value)) = state.last
                && at.elapsed() <= FRESH
            {
                return Some(value);
            }
            match &state.under_way {
                // The sender is gone without a value when its reading panicked.
                Some(receiver) if receiver.has_changed().is_ok() => receiver.clone(),
                _ => {
                    let (sender, receiver) = watch::channel(None);
                    state.under_way = Some(receiver.clone());
                    let shared = Arc::clone(&self.0);
                    tokio::spawn(RequestScope::OUTSIDE.wrap(async move {
                        let value = read().await;
                        let mut state = lock(&shared);
                        state.last = Some((Instant::now(), value));
                        state.under_way = None;
                        drop(state);
                        let _ = sender.send(Some(value));
                    }));
                    receiver
                }
            }
        };
        receiver.wait_for(Option::is_some).await.ok().and_then(|value| *value)
    }
}

fn lock<T>(state: &Mutex<State<T>>) -> MutexGuard<'_, State<T>> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use tokio::sync::Notify;
    use tokio::task::JoinSet;

    use super::*;

    #[tokio::test]
    async fn requests_share_one_reading_also_of_one_that_hung_up() {
        let reading = Arc::new(Reading::default());
        let (asked, go) = (Arc::new(AtomicU32::new(0)), Arc::new(Notify::new()));
        let request = || {
            let (reading, asked, go) = (Arc::clone(&reading), Arc::clone(&asked), Arc::clone(&go));
            async move {
                let read = async move || {
                    go.notified().await;
                    asked.fetch_add(1, Ordering::SeqCst)
                };
                reading.get(read).await
            }
        };
        // Polled once, then dropped.
        assert!(tokio::time::timeout(Duration::ZERO, request()).await.is_err());
        let requests: JoinSet<_> = (0..100).map(|_| request()).collect();
        go.notify_one();
        assert_eq!(requests.join_all().await, vec![Some(0); 100]);
        assert_eq!(asked.load(Ordering::SeqCst), 1);
    }
}
