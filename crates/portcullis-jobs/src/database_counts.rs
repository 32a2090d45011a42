//! What is counted in the database for metrics. A scrape shows the last reading, so that a slow database never holds it up.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use portcullis_storage::{Counted, Store, StoreError};
use portcullis_telemetry::{Metrics, ReadMetric};
use tokio_util::sync::CancellationToken;

/// How often the database is read.
const INTERVAL: Duration = Duration::from_secs(15);
/// A reading that takes long is repeated only after this many times as long, so that it uses at most 1 % of the time.
const SHARE: u32 = 100;

/// The last reading, and when it was made.
#[derive(Default)]
pub(crate) struct DatabaseCounts(Mutex<Option<(Counted, Instant)>>);

impl DatabaseCounts {
    /// Nothing is known yet: the metrics have no samples.
    pub(crate) fn new(metrics: &Metrics) -> Arc<Self> {
        let counts = Arc::<Self>::default();
        let read = |metric, of: fn(Counted, Instant) -> f64| {
            let watched = Arc::downgrade(&counts);
            metrics.read_value(metric, move || watched.upgrade()?.last().map(|(counted, at)| of(counted, at)));
        };
        read(ReadMetric::SessionsLive, |counted, _| counted.sessions_live as f64);
        read(ReadMetric::MailsWaiting, |counted, _| counted.mails_waiting as f64);
        read(ReadMetric::DatabaseReadingAge, |_, at| at.elapsed().as_secs_f64());
        counts
    }

    /// Reads the database now.
    pub(crate) async fn refresh(&self, store: &Store) -> Result<(), StoreError> {
        let counted = store.counted().await?;
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((counted, Instant::now()));
        Ok(())
    }

    /// Reads the database until cancelled.
    pub(crate) async fn follow(&self, store: &Store, stop: &CancellationToken) {
        loop {
            let begun = Instant::now();
            if let Err(error) = self.refresh(store).await {
                tracing::debug!(error = &error as &dyn std::error::Error, "sessions and mails cannot be counted");
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause(begun.elapsed())) => {}
            }
        }
    }

    fn last(&self) -> Option<(Counted, Instant)> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn pause(took: Duration) -> Duration {
    INTERVAL.max(took.saturating_mul(SHARE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counting_takes_at_most_a_hundredth_of_the_time() {
        assert_eq!(pause(Duration::from_millis(20)), INTERVAL);
        assert_eq!(pause(Duration::from_secs(1)), Duration::from_secs(100));
    }
}
