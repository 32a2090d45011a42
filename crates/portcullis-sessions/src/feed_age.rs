//! When the revocation log was last read, by this process's clock and by the database's.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use portcullis_model::Timestamp;

/// The time since the last reading of the revocation log, shared by the feed, which sets it, and the cache, which
/// stops using copies when it grows too large.
pub(crate) struct FeedAge {
    created_at: Instant,
    /// Milliseconds from `created_at` to the beginning of the last reading, plus one; 0 before the first reading.
    read_at: AtomicU64,
    /// The beginning of the last reading, and the database's time during the reading.
    database: Mutex<Option<(Instant, Timestamp)>>,
}

impl Default for FeedAge {
    fn default() -> Self {
        Self { created_at: Instant::now(), read_at: AtomicU64::new(0), database: Mutex::default() }
    }
}

impl FeedAge {
    /// The time since the last reading began; `None` before the first one.
    pub(crate) fn get(&self) -> Option<Duration> {
        let read_at = self.read_at.load(Ordering::Acquire).checked_sub(1)?;
        Some(self.created_at.elapsed().saturating_sub(Duration::from_millis(read_at)))
    }

    /// Records a reading that began at `begun` and succeeded, and in which the database's time was `now`.
    pub(crate) fn record(&self, begun: Instant, now: Timestamp) {
        let millis = u64::try_from(begun.duration_since(self.created_at).as_millis()).unwrap_or(u64::MAX - 1);
        self.read_at.store(millis + 1, Ordering::Release);
        *self.database.lock().unwrap_or_else(PoisonError::into_inner) = Some((begun, now));
    }

    /// Returns a moment that is not later than the one at which the database's clock showed `at`. `None` before the
    /// first reading, and for a time in the future.
    pub(crate) fn moment_of(&self, at: Timestamp) -> Option<Instant> {
        let (begun, now) = (*self.database.lock().unwrap_or_else(PoisonError::into_inner))?;
        // The database's clock showed `now` some time after the reading had begun, so the sum is rather too late, and
        // the moment rather too early.
        let age = (now + begun.elapsed()).signed_duration_since(at).to_std().ok()?;
        Instant::now().checked_sub(age)
    }
}
