//! The generic cell rate algorithm (ITU-T I.371) in this process: for each subject one instant, its theoretical
//! arrival time.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use portcullis_model::{Clock, GcraOutcome, Rate};

use crate::subject::Subject;

/// How many parts the table has, so that two cores seldom want the same one.
const SHARDS: usize = 64;
/// Subjects in one part. A million in all, 16 bytes each.
const SHARD_CAPACITY: usize = 16_384;
/// How often, in nanoseconds, a full shard is gone through: a flood of new
/// addresses must not cost a walk through the table for each.
const SWEEP_INTERVAL: u64 = 1_000_000_000;

/// The table of arrival times.
pub(crate) struct Arrivals {
    shards: Vec<Mutex<Shard>>,
    hasher: RandomState,
    origin: Instant,
    clock: Clock,
}

#[derive(Default)]
struct Shard {
    arrivals: HashMap<u64, u64, Prehashed>,
    /// When subjects with nothing to count against them were last looked for.
    swept: u64,
}

impl Arrivals {
    pub(crate) fn new(clock: Clock) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
            origin: Instant::now(),
            clock,
        }
    }

    /// Counts one request of `subject` against the limit `id`.
    pub(crate) fn take(&self, id: u64, rate: Rate, subject: Subject) -> GcraOutcome {
        let (key, now) = (self.hasher.hash_one((id, subject)), self.now());
        let mut shard = self.shard(key);
        let (taken, next) = shard.look(key, now, rate);
        if let Some(next) = next {
            if shard.arrivals.len() >= SHARD_CAPACITY && !shard.arrivals.contains_key(&key) {
                shard.make_room(now);
            }
            shard.arrivals.insert(key, next);
        }
        taken
    }

    /// What [`take`](Self::take) would say.
    pub(crate) fn peek(&self, id: u64, rate: Rate, subject: Subject) -> GcraOutcome {
        let (key, now) = (self.hasher.hash_one((id, subject)), self.now());
        self.shard(key).look(key, now, rate).0
    }

    /// Takes back one request that was counted: another limit refused it.
    pub(crate) fn give_back(&self, id: u64, rate: Rate, subject: Subject) {
        let key = self.hasher.hash_one((id, subject));
        if let Some(arrival) = self.shard(key).arrivals.get_mut(&key) {
            *arrival = arrival.saturating_sub(interval(rate));
        }
    }

    /// Forgets what a subject has spent.
    pub(crate) fn reset(&self, id: u64, subject: Subject) {
        let key = self.hasher.hash_one((id, subject));
        self.shard(key).arrivals.remove(&key);
    }

    fn shard(&self, key: u64) -> MutexGuard<'_, Shard> {
        self.shards[(key >> 58) as usize].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nanoseconds since the table was made. Monotonic, but for what a test adds.
    fn now(&self) -> u64 {
        nanos(self.origin.elapsed())
            .saturating_add(u64::try_from(self.clock.offset_micros()).unwrap_or(0).saturating_mul(1000))
    }
}

impl Shard {
    /// How one more request fares, and the arrival time after it if it is admitted.
    fn look(&self, key: u64, now: u64, rate: Rate) -> (GcraOutcome, Option<u64>) {
        let interval = interval(rate);
        let burst = interval * u64::from(rate.limit);
        // Further ahead than a whole burst it can only be from before the limit was changed.
        let arrival = self.arrivals.get(&key).copied().unwrap_or(0).clamp(now, now.saturating_add(burst));
        // The burst may not reach further ahead than one period, give or take the rounding of the interval.
        let spent = arrival + interval - now;
        if spent > burst {
            let (ahead, retry) = (Duration::from_nanos(arrival - now), Duration::from_nanos(spent - burst));
            return (GcraOutcome { ahead, retry: Some(retry) }, None);
        }
        (GcraOutcome { ahead: Duration::from_nanos(spent), retry: None }, Some(arrival + interval))
    }

    /// Forgets subjects that have their whole burst again; if none has, the one
    /// nearest to it among a few.
    fn make_room(&mut self, now: u64) {
        if self.swept == 0 || now.saturating_sub(self.swept) >= SWEEP_INTERVAL {
            self.arrivals.retain(|_, arrival| *arrival > now);
            self.swept = now.max(1);
        }
        if self.arrivals.len() >= SHARD_CAPACITY {
            let victim = self.arrivals.iter().take(16).min_by_key(|(_, arrival)| **arrival).map(|(key, _)| *key);
            victim.map(|key| self.arrivals.remove(&key));
        }
    }
}

/// Between two requests at the rate, in nanoseconds.
pub(crate) fn interval(rate: Rate) -> u64 {
    (nanos(rate.period) / u64::from(rate.limit)).max(1)
}

pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// The keys are hashes already.
#[derive(Clone, Copy, Default)]
struct Prehashed;

impl BuildHasher for Prehashed {
    type Hasher = PrehashedHasher;
    fn build_hasher(&self) -> PrehashedHasher {
        PrehashedHasher(0)
    }
}

struct PrehashedHasher(u64);

impl std::hash::Hasher for PrehashedHasher {
    fn write(&mut self, _bytes: &[u8]) {
        unreachable!("the keys are u64")
    }
    fn write_u64(&mut self, n: u64) {
        self.0 = n;
    }
    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    fn rate(text: &str) -> Rate {
        Rate::parse(text).expect("valid").expect("on")
    }

    fn somebody() -> Subject {
        Subject::address("203.0.113.5".parse().expect("an address"))
    }

    fn refused(arrivals: &Arrivals, id: u64, rate: Rate) -> Option<Duration> {
        arrivals.take(id, rate, somebody()).retry
    }

    #[test]
    fn a_burst_passes_and_the_next_waits_its_interval() {
        let clock = Clock::adjustable();
        let arrivals = Arrivals::new(clock.clone());
        let rate = rate("3/1m");
        for _ in 0..3 {
            assert_eq!(refused(&arrivals, 1, rate), None);
        }
        let peeked = arrivals.peek(1, rate, somebody()).retry.expect("the fourth would be refused");
        let retry = refused(&arrivals, 1, rate).expect("the fourth is refused");
        assert!(retry > Duration::from_secs(19) && retry <= peeked && peeked <= Duration::from_secs(20), "{retry:?}");
        clock.advance(Duration::from_secs(20));
        for _ in 0..10 {
            assert_eq!(arrivals.peek(1, rate, somebody()).retry, None, "looking spends nothing");
        }
        assert_eq!(refused(&arrivals, 1, rate), None);
        assert!(refused(&arrivals, 1, rate).is_some());
        clock.advance(Duration::from_secs(60));
        assert!(arrivals.take(1, rate, somebody()).ahead <= Duration::from_secs(20));
    }

    #[test]
    fn limits_and_subjects_do_not_share_and_can_be_forgotten() {
        let arrivals = Arrivals::new(Clock::system());
        let rate = rate("1/1h");
        let v6 = |text: &str| Subject::address(text.parse().expect("an address"));
        assert_eq!(arrivals.take(1, rate, somebody()).retry, None);
        assert_eq!(arrivals.take(2, rate, somebody()).retry, None);
        assert_eq!(arrivals.take(1, rate, v6("2001:db8::1")).retry, None);
        assert!(arrivals.take(1, rate, v6("2001:db8::ffff")).retry.is_some(), "one /64 is one subject");
        assert_eq!(arrivals.take(1, rate, v6("2001:db8:0:1::1")).retry, None);
        arrivals.reset(1, somebody());
        assert_eq!(arrivals.take(1, rate, somebody()).retry, None, "it was forgotten");
        assert!(arrivals.take(2, rate, somebody()).retry.is_some(), "and the other limit was not");
    }

    #[test]
    fn what_is_given_back_can_be_spent_again_and_no_more_than_that() {
        let arrivals = Arrivals::new(Clock::system());
        let rate = rate("2/1h");
        let give_back = || arrivals.give_back(1, rate, somebody());
        give_back();
        assert_eq!([refused(&arrivals, 1, rate), refused(&arrivals, 1, rate)], [None, None]);
        assert!(refused(&arrivals, 1, rate).is_some());
        give_back();
        assert_eq!(refused(&arrivals, 1, rate), None);
        assert!(refused(&arrivals, 1, rate).is_some(), "nothing was saved up");
    }

    #[test]
    fn exactly_its_number_passes_under_concurrency() {
        let arrivals = Arc::new(Arrivals::new(Clock::system()));
        let passed = Arc::new(AtomicU32::new(0));
        let threads: Vec<_> = (0..8)
            .map(|_| {
                let (arrivals, passed) = (Arc::clone(&arrivals), Arc::clone(&passed));
                std::thread::spawn(move || {
                    for _ in 0..500 {
                        if refused(&arrivals, 1, rate("1000/1h")).is_none() {
                            passed.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().expect("no panic");
        }
        assert_eq!(passed.load(Ordering::Relaxed), 1000);
    }

    #[test]
    fn a_flood_of_addresses_neither_grows_the_table_nor_forgives_those_who_spent_most() {
        let mut shard = Shard::default();
        for n in 0..2 * SHARD_CAPACITY as u64 {
            if shard.arrivals.len() >= SHARD_CAPACITY {
                shard.make_room(n);
            }
            shard.arrivals.insert(n.wrapping_mul(0x9e37_79b9_7f4a_7c15), 1_000_000 + n);
            assert!(shard.arrivals.len() <= SHARD_CAPACITY);
            if n == 0 {
                shard.arrivals.insert(u64::MAX, u64::MAX);
            }
        }
        assert!(shard.arrivals.contains_key(&u64::MAX), "who has spent most is not the one forgotten");
    }

    #[test]
    fn those_who_owe_nothing_are_forgotten_first() {
        let mut shard = Shard::default();
        shard.arrivals.extend((0..SHARD_CAPACITY as u64).map(|n| (n, if n % 2 == 0 { 10 } else { 1000 })));
        shard.make_room(100);
        assert_eq!(shard.arrivals.len(), SHARD_CAPACITY / 2);
        assert!(shard.arrivals.values().all(|arrival| *arrival == 1000));
    }

    #[test]
    fn a_limit_that_was_raised_counts_from_the_next_request_on() {
        let arrivals = Arrivals::new(Clock::adjustable());
        assert_eq!(refused(&arrivals, 1, rate("1/1h")), None);
        assert!(refused(&arrivals, 1, rate("1/1h")).is_some());
        let retry = refused(&arrivals, 1, rate("1000/1s")).unwrap_or_default();
        assert!(retry <= Duration::from_millis(1), "{retry:?}");
    }
}
