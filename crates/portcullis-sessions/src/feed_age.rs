//! When the revocation log was last read.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The time since the last reading of the revocation log, shared by the feed, which sets it, and the cache, which
/// stops using copies when it grows too large.
pub(crate) struct FeedAge {
    created_at: Instant,
    /// Milliseconds from `created_at` to the beginning of the last reading, plus one; 0 before the first reading.
    read_at: AtomicU64,
}

impl Default for FeedAge {
    fn default() -> Self {
        Self { created_at: Instant::now(), read_at: AtomicU64::new(0) }
    }
}

impl FeedAge {
    /// The time since the last reading began; `None` before the first one.
    pub(crate) fn get(&self) -> Option<Duration> {
        let read_at = self.read_at.load(Ordering::Acquire).checked_sub(1)?;
        Some(self.created_at.elapsed().saturating_sub(Duration::from_millis(read_at)))
    }

    /// Records a reading that began at `begun` and succeeded.
    pub(crate) fn record(&self, begun: Instant) {
        let millis = u64::try_from(begun.duration_since(self.created_at).as_millis()).unwrap_or(u64::MAX - 1);
        self.read_at.store(millis + 1, Ordering::Release);
    }
}
