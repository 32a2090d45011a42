//! Time as a parameter.
//!
//! Every part of Portcullis that needs the time is given a [`Clock`], so that a test sets the time instead of sleeping.
//! `clippy.toml` bans the system clock everywhere else. Replicas on machines whose clocks differ agree on the time,
//! because each [follows](Clock::follow) the clock of their common database.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use chrono::{DateTime, Utc};

/// An instant in UTC with microsecond precision, as both database engines keep it.
pub type Timestamp = DateTime<Utc>;

/// A difference below this (in microseconds) is not corrected: no check is that exact, and a clock that is not moved
/// does not jump.
const IGNORED_DIFFERENCE: i64 = 20_000;
/// A measurement that is less exact than this (in microseconds) is not used.
const MAX_UNCERTAINTY: i64 = 1_000_000;

/// The clock of the machine, corrected to the database's, or one that a test moves forward.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    /// Microseconds by which a test has moved time, that of the database included; `None` in production.
    offset: Option<Arc<AtomicI64>>,
    /// Microseconds by which the clock of the machine is wrong in a test.
    skew: i64,
    /// Microseconds that the database's clock is ahead of the machine's, shared by all clones.
    correction: Arc<AtomicI64>,
}

impl Clock {
    /// The clock of the machine.
    pub fn system() -> Self {
        Self::default()
    }

    /// A clock that runs with the machine's and can be [advanced](Self::advance).
    pub fn adjustable() -> Self {
        Self { offset: Some(Arc::new(AtomicI64::new(0))), ..Self::default() }
    }

    /// The same clock on another machine, whose own clock is ahead by this many microseconds. Moving one of the two
    /// moves both.
    pub fn on_a_machine_ahead_by(&self, micros: i64) -> Self {
        Self { offset: self.offset.clone(), skew: micros, correction: Arc::default() }
    }

    /// Moves an adjustable clock forward. Does nothing to the system clock.
    pub fn advance(&self, by: std::time::Duration) {
        if let Some(offset) = &self.offset {
            let micros = i64::try_from(by.as_micros()).unwrap_or(i64::MAX);
            offset.fetch_add(micros, Ordering::SeqCst);
        }
    }

    /// Corrects this clock and its clones to another one, which showed `other` at a moment between `earliest` and
    /// `latest` of this clock (all in microseconds). Returns by how much the machine's clock is behind the other one if
    /// that has changed.
    pub fn follow(&self, other: i64, earliest: i64, latest: i64) -> Option<i64> {
        let uncertainty = latest.saturating_sub(earliest) / 2;
        let difference = other.saturating_sub(earliest.saturating_add(uncertainty));
        if !(0..=MAX_UNCERTAINTY).contains(&uncertainty)
            || difference.saturating_abs() <= uncertainty.saturating_add(IGNORED_DIFFERENCE)
        {
            return None;
        }
        Some(self.correction.fetch_add(difference, Ordering::SeqCst).saturating_add(difference))
    }

    /// The number of microseconds that the clock of the machine is ahead of the one that this clock follows; 0 if it
    /// follows none.
    pub fn machine_ahead_by_micros(&self) -> i64 {
        self.correction.load(Ordering::Relaxed).saturating_neg()
    }

    /// The number of microseconds by which a test has moved time.
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
        system
            .saturating_add(self.offset_micros())
            .saturating_add(self.skew)
            .saturating_add(self.correction.load(Ordering::Relaxed))
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

    #[test]
    fn a_clock_that_follows_another_shows_its_time() {
        let (good, slow) = (Clock::system(), Clock::system().on_a_machine_ahead_by(-90_000_000));
        let clone = slow.clone();
        let difference = slow.follow(good.unix_micros(), slow.unix_micros(), slow.unix_micros());
        assert!(difference.is_some_and(|micros| (89_000_000..=91_000_000).contains(&micros)), "{difference:?}");
        assert!((good.unix_micros() - clone.unix_micros()).abs() < 1_000_000);
    }

    #[test]
    fn an_inexact_measurement_moves_no_clock() {
        let clock = Clock::system();
        let now = clock.unix_micros();
        assert_eq!(clock.follow(now + 90_000_000, now, now + 4_000_000), None, "the answer took four seconds");
        assert_eq!(clock.follow(now + 300_000, now, now + 800_000), None, "within the uncertainty");
        assert_eq!(clock.follow(now + 10_000, now, now), None, "too small a difference");
    }
}
