//! The generic cell rate algorithm (ITU-T I.371) in this process. It stores one instant for each rule and key: the
//! theoretical arrival time of the next request.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher as _, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use portcullis_model::{Clock, GcraOutcome, Rate};

use crate::limits::key::RateLimitKey;

/// The number of shards, so that two cores seldom wait for the same one.
const SHARDS: usize = 64;
/// The most keys in one shard: a million in all, 16 bytes each.
const SHARD_CAPACITY: usize = 16_384;
/// How often a full shard may be swept, in nanoseconds. A flood of new addresses must not cost a sweep for each.
const SWEEP_INTERVAL: u64 = 1_000_000_000;

/// The arrival times of all rules and keys.
pub(crate) struct ArrivalTimes {
    shards: Vec<Mutex<Shard>>,
    hasher: RandomState,
    origin: Instant,
    clock: Clock,
}

#[derive(Default)]
struct Shard {
    arrivals: HashMap<u64, u64, Prehashed>,
    /// When keys whose whole burst is free were last removed, in nanoseconds.
    swept: u64,
}

impl ArrivalTimes {
    pub(crate) fn new(clock: Clock) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
            origin: Instant::now(),
            clock,
        }
    }

    /// Counts one request under `key` against the rule `id`.
    pub(crate) fn take(&self, id: u64, rate: Rate, key: RateLimitKey) -> GcraOutcome {
        let (hash, now) = (self.hash(id, key), self.now());
        let mut shard = self.shard(hash);
        let (taken, next) = shard.look(hash, now, rate);
        if let Some(next) = next {
            if shard.arrivals.len() >= SHARD_CAPACITY && !shard.arrivals.contains_key(&hash) {
                shard.make_room(now);
            }
            shard.arrivals.insert(hash, next);
        }
        taken
    }

    /// Returns what [`take`](Self::take) would, without counting.
    pub(crate) fn peek(&self, id: u64, rate: Rate, key: RateLimitKey) -> GcraOutcome {
        let (hash, now) = (self.hash(id, key), self.now());
        self.shard(hash).look(hash, now, rate).0
    }

    /// Takes back one request that was counted, because another limit refused it.
    pub(crate) fn refund(&self, id: u64, rate: Rate, key: RateLimitKey) {
        let hash = self.hash(id, key);
        if let Some(arrival) = self.shard(hash).arrivals.get_mut(&hash) {
            *arrival = arrival.saturating_sub(interval(rate));
        }
    }

    /// Forgets what has been counted under a key.
    pub(crate) fn reset(&self, id: u64, key: RateLimitKey) {
        let hash = self.hash(id, key);
        self.shard(hash).arrivals.remove(&hash);
    }

    fn hash(&self, id: u64, key: RateLimitKey) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(&key.bytes_with(id));
        hasher.finish()
    }

    fn shard(&self, hash: u64) -> MutexGuard<'_, Shard> {
        self.shards[(hash >> 58) as usize].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the nanoseconds since the table was made. It is monotonic, apart from what a test adds.
    fn now(&self) -> u64 {
        nanos(self.origin.elapsed())
            .saturating_add(u64::try_from(self.clock.offset_micros()).unwrap_or(0).saturating_mul(1000))
    }
}

impl Shard {
    /// Returns the outcome of one more request, and the arrival time after it if it is admitted.
    fn look(&self, hash: u64, now: u64, rate: Rate) -> (GcraOutcome, Option<u64>) {
        let interval = interval(rate);
        let burst = interval * u64::from(rate.limit);
        // An arrival time further ahead than a whole burst is left over from before the limit was changed.
        let arrival = self.arrivals.get(&hash).copied().unwrap_or(0).clamp(now, now.saturating_add(burst));
        // The burst may reach one period ahead, give or take the rounding of the interval.
        let spent = arrival + interval - now;
        if spent > burst {
            let (ahead, retry) = (Duration::from_nanos(arrival - now), Duration::from_nanos(spent - burst));
            return (GcraOutcome { ahead, retry: Some(retry) }, None);
        }
        (GcraOutcome { ahead: Duration::from_nanos(spent), retry: None }, Some(arrival + interval))
    }

    /// Removes the keys whose whole burst is free; if there is none, the one of a few that is nearest to it.
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

/// Returns the time between two requests at the rate, in nanoseconds.
pub(crate) fn interval(rate: Rate) -> u64 {
    (nanos(rate.period) / u64::from(rate.limit)).max(1)
}

pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// A hasher for keys that are hashes already.
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

    fn one_address() -> RateLimitKey {
        RateLimitKey::address("203.0.113.5".parse().expect("an address"))
    }

    fn refused(arrivals: &ArrivalTimes, id: u64, rate: Rate) -> Option<Duration> {
        arrivals.take(id, rate, one_address()).retry
    }

    #[test]
    fn a_burst_passes_and_the_next_request_waits() {
        let clock = Clock::adjustable();
        let arrivals = ArrivalTimes::new(clock.clone());
        let rate = rate("3/1m");
        for _ in 0..3 {
            assert_eq!(refused(&arrivals, 1, rate), None);
        }
        let peeked = arrivals.peek(1, rate, one_address()).retry.expect("the fourth would be refused");
        let retry = refused(&arrivals, 1, rate).expect("the fourth is refused");
        assert!(retry > Duration::from_secs(19) && retry <= peeked && peeked <= Duration::from_secs(20), "{retry:?}");
        clock.advance(Duration::from_secs(20));
        for _ in 0..10 {
            assert_eq!(arrivals.peek(1, rate, one_address()).retry, None, "looking spends nothing");
        }
        assert_eq!(refused(&arrivals, 1, rate), None);
        assert!(refused(&arrivals, 1, rate).is_some());
        clock.advance(Duration::from_secs(60));
        assert!(arrivals.take(1, rate, one_address()).ahead <= Duration::from_secs(20));
    }

    #[test]
    fn rules_and_keys_are_counted_apart_and_can_be_reset() {
        let arrivals = ArrivalTimes::new(Clock::system());
        let rate = rate("1/1h");
        let v6 = |text: &str| RateLimitKey::address(text.parse().expect("an address"));
        assert_eq!(arrivals.take(1, rate, one_address()).retry, None);
        assert_eq!(arrivals.take(2, rate, one_address()).retry, None);
        assert_eq!(arrivals.take(1, rate, v6("2001:db8::1")).retry, None);
        assert!(arrivals.take(1, rate, v6("2001:db8::ffff")).retry.is_some(), "one /64 is one key");
        assert_eq!(arrivals.take(1, rate, v6("2001:db8:0:1::1")).retry, None);
        arrivals.reset(1, one_address());
        assert_eq!(arrivals.take(1, rate, one_address()).retry, None, "it was forgotten");
        assert!(arrivals.take(2, rate, one_address()).retry.is_some(), "and the other limit was not");
    }

    #[test]
    fn a_request_given_back_can_be_spent_again_once() {
        let arrivals = ArrivalTimes::new(Clock::system());
        let rate = rate("2/1h");
        let refund = || arrivals.refund(1, rate, one_address());
        refund();
        assert_eq!([refused(&arrivals, 1, rate), refused(&arrivals, 1, rate)], [None, None]);
        assert!(refused(&arrivals, 1, rate).is_some());
        refund();
        assert_eq!(refused(&arrivals, 1, rate), None);
        assert!(refused(&arrivals, 1, rate).is_some(), "nothing was saved up");
    }

    #[test]
    fn exactly_the_burst_passes_under_concurrency() {
        let arrivals = Arc::new(ArrivalTimes::new(Clock::system()));
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
    fn a_flood_of_keys_does_not_evict_the_one_that_spent_most() {
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
        assert!(shard.arrivals.contains_key(&u64::MAX), "the key that spent most stays");
    }

    #[test]
    fn keys_with_a_free_burst_are_removed_first() {
        let mut shard = Shard::default();
        shard.arrivals.extend((0..SHARD_CAPACITY as u64).map(|n| (n, if n % 2 == 0 { 10 } else { 1000 })));
        shard.make_room(100);
        assert_eq!(shard.arrivals.len(), SHARD_CAPACITY / 2);
        assert!(shard.arrivals.values().all(|arrival| *arrival == 1000));
    }

    #[test]
    fn a_raised_limit_holds_from_the_next_request_on() {
        let arrivals = ArrivalTimes::new(Clock::adjustable());
        assert_eq!(refused(&arrivals, 1, rate("1/1h")), None);
        assert!(refused(&arrivals, 1, rate("1/1h")).is_some());
        let retry = refused(&arrivals, 1, rate("1000/1s")).unwrap_or_default();
        assert!(retry <= Duration::from_millis(1), "{retry:?}");
    }
}
