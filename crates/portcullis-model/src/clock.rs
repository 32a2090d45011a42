//! Time as a parameter.
//!
//! Every part of Portcullis that needs the time is given a [`Clock`], so that a test sets the time instead of sleeping.
//! `clippy.toml` bans the system clock everywhere else.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use chrono::{DateTime, Utc};

/// An instant in UTC with microsecond precision, as both database engines keep it.
pub type Timestamp = DateTime<Utc>;

/// The system clock, or one that a test moves forward.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    /// Microseconds added to the system clock; `None` in production.
    offset: Option<Arc<AtomicI64>>,
}

impl Clock {
    /// The clock of the machine.
    pub fn system() -> Self {
        Self { offset: None }
    }

    /// A clock that runs with the machine's and can be [advanced](Self::advance).
    pub fn adjustable() -> Self {
        Self { offset: Some(Arc::new(AtomicI64::new(0))) }
    }

    /// Moves an adjustable clock forward. Does nothing to the system clock.
    pub fn advance(&self, by: std::time::Duration) {
        if let Some(offset) = &self.offset {
            let micros = i64::try_from(by.as_micros()).unwrap_or(i64::MAX);
            offset.fetch_add(micros, Ordering::SeqCst);
        }
    }

    /// The number of microseconds that this clock is ahead of the machine's.
    pub fn offset_micros(&self) -> i64 {
        self.offset.as_ref().map_or(0, |offset| offset.load(Ordering::SeqCst))
    }

    /// The current time, truncated to the microsecond.
    pub fn now(&self) -> Timestamp {
        let micros = self.unix_micros();
        DateTime::from_timestamp_micros(micros).unwrap_or(DateTime::UNIX_EPOCH)
    }

    /// Whole seconds since 1970-01-01 UTC, the unit of JWT dates (RFC 7519 §2).
    pub fn unix_seconds(&self) -> i64 {
        self.unix_micros().div_euclid(1_000_000)
    }

    /// Microseconds since 1970-01-01 UTC.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the system clock")]
    pub fn unix_micros(&self) -> i64 {
        let system = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |elapsed| i64::try_from(elapsed.as_micros()).unwrap_or(i64::MAX));
        system.saturating_add(self.offset_micros())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_adjustable_clock_advances_by_the_given_time() {
        let clock = Clock::adjustable();
        let before = clock.unix_seconds();
        clock.advance(std::time::Duration::from_secs(3600));
        let moved = clock.unix_seconds() - before;
        assert!((3600..3610).contains(&moved), "moved {moved} s");
    }
}
