//! When to run: intervals with jitter, so that replicas and jobs do not all begin at the same moment.

use std::time::Duration;

use portcullis_model::Random;

/// How often a replica looks whether a job is due that another one may be running. A holder that died is replaced this
/// much later than its lease runs out, at most.
const MAX_LOOK: Duration = Duration::from_secs(30);
/// A failed run is repeated after this long, or after the job's interval if that is shorter.
const RETRY: Duration = Duration::from_secs(60);
/// The first look comes at a random moment within this time after the start.
const FIRST_LOOK: Duration = Duration::from_secs(1);

/// The pause before the first look.
pub(crate) fn first_look(interval: Duration, random: &Random) -> Duration {
    share(interval.min(FIRST_LOOK), random)
}

/// The pause between two looks at a job with this interval.
pub(crate) fn next_look(interval: Duration, random: &Random) -> Duration {
    jittered(interval.min(MAX_LOOK), random)
}

/// The time until a job is due again after a run that ended now.
pub(crate) fn next_run(interval: Duration, random: &Random) -> Duration {
    jittered(interval, random)
}

/// The time until a failed run is repeated.
pub(crate) fn retry(interval: Duration, random: &Random) -> Duration {
    jittered(interval.min(RETRY), random)
}

/// The interval, shorter or longer by up to a tenth.
fn jittered(interval: Duration, random: &Random) -> Duration {
    interval - interval / 10 + share(interval / 5, random)
}

/// A random part of this time.
fn share(of: Duration, random: &Random) -> Duration {
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
    fn a_failed_run_is_repeated_within_minutes() {
        let retry = retry(Duration::from_secs(86_400), &Random::system());
        assert!(retry <= Duration::from_secs(66), "{retry:?}");
    }
}
