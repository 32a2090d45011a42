//! When to run: intervals with jitter, so that replicas and jobs do not all begin at the same moment.

use std::time::Duration;

use portcullis_model::Random;

/// The longest pause between two checks whether a job is due. If the replica that holds the lease dies, another one takes
/// over at most this long after the lease expires.
const MAX_CHECK_INTERVAL: Duration = Duration::from_secs(30);
/// A failed run is repeated after this long, or after the job's interval if that is shorter.
const RETRY: Duration = Duration::from_secs(60);
/// A check that could not reach the database is repeated after this long, and after twice as long each further time.
const RETRIED_CHECK: Duration = Duration::from_secs(1);
/// The first check comes at a random moment within this time after the start.
const FIRST_CHECK: Duration = Duration::from_secs(1);

/// Returns the pause before the first check.
pub(crate) fn first_check(interval: Duration, random: &Random) -> Duration {
    random_part(interval.min(FIRST_CHECK), random)
}

/// Returns the pause between two checks of a job with this interval.
pub(crate) fn next_check(interval: Duration, random: &Random) -> Duration {
    jittered(interval.min(MAX_CHECK_INTERVAL), random)
}

/// Returns the pause before the next check of a job with this interval after so many checks in a row that could not reach
/// the database. The first pauses are short, because many jobs are due at a start and few connections may be open yet.
pub(crate) fn repeated_check(failures: u32, interval: Duration, random: &Random) -> Duration {
    let pause = RETRIED_CHECK * 2_u32.pow(failures.saturating_sub(1).min(10));
    jittered(pause.min(interval).min(MAX_CHECK_INTERVAL), random)
}

/// Returns the time until a job is due again after a run that ended now.
pub(crate) fn next_run(interval: Duration, random: &Random) -> Duration {
    jittered(interval, random)
}

/// Returns the time until a failed run is repeated.
pub(crate) fn retry(interval: Duration, random: &Random) -> Duration {
    jittered(interval.min(RETRY), random)
}

/// Returns the interval, shortened or lengthened by up to a tenth.
fn jittered(interval: Duration, random: &Random) -> Duration {
    interval - interval / 10 + random_part(interval / 5, random)
}

/// Returns a random part of this time.
fn random_part(of: Duration, random: &Random) -> Duration {
    of.mul_f64(f64::from(u16::from_be_bytes(random.bytes())) / f64::from(u16::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_stays_within_a_tenth() {
        let hour = Duration::from_secs(3_600);
        for _ in 0..1_000 {
            let next = next_run(hour, &Random::system());
            assert!(next >= hour * 9 / 10 && next <= hour * 11 / 10, "{next:?}");
        }
    }

    #[test]
    fn a_check_without_a_database_is_repeated_soon_then_rarely() {
        let hour = Duration::from_secs(3_600);
        let seconds = |failures| repeated_check(failures, hour, &Random::system()).as_secs_f64();
        for (failures, expected) in [(1, 1.0), (2, 2.0), (4, 8.0), (6, 30.0), (u32::MAX, 30.0)] {
            let pause = seconds(failures);
            assert!((pause - expected).abs() <= expected / 10.0 + 0.001, "{failures}: {pause}");
        }
        let short = Duration::from_millis(100);
        assert!(repeated_check(9, short, &Random::system()) <= short * 11 / 10, "never rarer than the job");
    }

    #[test]
    fn a_failed_run_is_repeated_within_minutes() {
        let retry = retry(Duration::from_secs(86_400), &Random::system());
        assert!(retry <= Duration::from_secs(66), "{retry:?}");
    }
}
