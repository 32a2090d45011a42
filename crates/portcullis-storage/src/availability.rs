//! Whether the database answers, told once when it stops and once when it answers again, not once a statement.

use std::error::Error;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use crate::error::StoreError;

/// A database that comes and goes is told of at most once in this many seconds.
const PAUSE: u64 = 5;

/// What the last statements met.
pub(crate) struct Availability {
    gone: AtomicBool,
    made_at: Instant,
    /// Seconds from `made_at` from which on a loss is told again.
    silent_until: AtomicU64,
}

impl Default for Availability {
    fn default() -> Self {
        Self { gone: AtomicBool::new(false), made_at: Instant::now(), silent_until: AtomicU64::new(0) }
    }
}

impl Availability {
    /// Takes note of a statement's outcome.
    pub(crate) fn note<T>(&self, outcome: &Result<T, StoreError>) {
        match outcome {
            Err(StoreError::Unavailable { source }) => self.lost(source.as_ref()),
            Ok(_) if self.gone.load(Ordering::Relaxed) => self.back(),
            _ => {}
        }
    }

    pub(crate) fn is_available(&self) -> bool {
        !self.gone.load(Ordering::Relaxed)
    }

    fn lost(&self, source: &(dyn Error + Send + Sync + 'static)) {
        if self.gone.swap(true, Ordering::AcqRel) {
            return;
        }
        let now = self.made_at.elapsed().as_secs();
        if now >= self.silent_until.load(Ordering::Acquire) {
            self.silent_until.store(now + PAUSE, Ordering::Release);
            tracing::warn!(error = source as &dyn Error, "the database is not available");
        }
    }

    fn back(&self) {
        if self.gone.swap(false, Ordering::AcqRel) {
            tracing::info!("the database is available again");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_gone_until_a_statement_succeeds_and_a_conflict_says_nothing() {
        let availability = Availability::default();
        let note = |outcome: Result<(), StoreError>| {
            availability.note(&outcome);
            availability.is_available()
        };
        assert!(note(Ok(())));
        assert!(!note(Err(StoreError::timed_out())));
        assert!(!note(Err(StoreError::Conflict("users_email"))));
        assert!(note(Ok(())));
    }
}
