//! Tracks whether the database answers. The log says so once when it stops and once when it answers again, instead of
//! once per statement.

use std::error::Error;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use super::error::StoreError;

/// Seconds in which the log mentions at most one loss, for a database that comes and goes.
const LOG_INTERVAL: u64 = 5;

/// Whether the last statement reached the database.
pub(crate) struct Availability {
    lost: AtomicBool,
    created_at: Instant,
    /// Seconds after `created_at` from which on a loss is logged again.
    silent_until: AtomicU64,
}

impl Default for Availability {
    fn default() -> Self {
        Self { lost: AtomicBool::new(false), created_at: Instant::now(), silent_until: AtomicU64::new(0) }
    }
}

impl Availability {
    /// Records a statement's outcome.
    pub(crate) fn record<T>(&self, outcome: &Result<T, StoreError>) {
        match outcome {
            Err(StoreError::Unavailable { source }) => self.record_loss(source.as_ref()),
            Ok(_) if self.lost.load(Ordering::Relaxed) => self.record_return(),
            _ => {}
        }
    }

    pub(crate) fn is_available(&self) -> bool {
        !self.lost.load(Ordering::Relaxed)
    }

    fn record_loss(&self, source: &(dyn Error + Send + Sync + 'static)) {
        if self.lost.swap(true, Ordering::AcqRel) {
            return;
        }
        let now = self.created_at.elapsed().as_secs();
        if now >= self.silent_until.load(Ordering::Acquire) {
            self.silent_until.store(now + LOG_INTERVAL, Ordering::Release);
            tracing::warn!(error = source as &dyn Error, "the database is not available");
        }
    }

    fn record_return(&self) {
        if self.lost.swap(false, Ordering::AcqRel) {
            tracing::info!("the database is available again");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_lost_until_a_statement_succeeds() {
        let availability = Availability::default();
        let record = |outcome: Result<(), StoreError>| {
            availability.record(&outcome);
            availability.is_available()
        };
        assert!(record(Ok(())));
        assert!(!record(Err(StoreError::timed_out())));
        assert!(!record(Err(StoreError::Conflict("users_email"))), "a conflict says nothing");
        assert!(record(Ok(())));
    }
}
