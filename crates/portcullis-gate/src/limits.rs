//! Rate limits: the generic cell rate algorithm (ITU-T I.371), which keeps one instant for each subject, the
//! theoretical arrival time. Counted in this process, or by all replicas together where they share a place to count;
//! while that is away, each counts for itself.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use portcullis_model::{Clock, Rate, SessionId, SharedLimits, SharedTake, UserId};

/// How many parts the table has, so that two cores seldom want the same one.
const SHARDS: usize = 64;
/// Subjects in one part. A million in all, 16 bytes each.
const SHARD_CAPACITY: usize = 16_384;

/// Whom a limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Subject {
    /// An IPv4 address, or the /64 of an IPv6 one: what one customer is given.
    V4([u8; 4]),
    V6([u8; 8]),
    User(UserId),
    /// An API key.
    Key(SessionId),
}

impl Subject {
    pub(crate) fn address(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(v4) => Self::V4(v4.octets()),
            IpAddr::V6(v6) => {
                let octets = v6.octets();
                Self::V6(octets[..8].try_into().expect("eight of sixteen"))
            }
        }
    }
}

/// The same text on every replica.
impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::V4(octets) => write!(f, "{}", Ipv4Addr::from(*octets)),
            Self::V6(prefix) => {
                let mut octets = [0; 16];
                octets[..8].copy_from_slice(prefix);
                write!(f, "{}/64", Ipv6Addr::from(octets))
            }
            Self::User(user) => write!(f, "{user}"),
            Self::Key(key) => write!(f, "key:{key}"),
        }
    }
}

/// What a limit says after one more request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    /// The limit's name in headers and metrics: `auth`, `api` or `route`.
    pub name: &'static str,
    /// The limit itself.
    pub rate: Rate,
    /// Requests left at this moment.
    pub remaining: u32,
    /// Until the whole burst is free again.
    pub reset: Duration,
    /// Until the next request is let through, when this one was not.
    pub retry: Option<Duration>,
}

impl Standing {
    fn shared(name: &'static str, rate: Rate, take: SharedTake) -> Self {
        let interval = (nanos(rate.period) / u64::from(rate.limit)).max(1);
        let spent = u32::try_from(nanos(take.ahead).div_ceil(interval)).unwrap_or(u32::MAX);
        let remaining = if take.retry.is_some() { 0 } else { rate.limit.saturating_sub(spent) };
        Self { name, rate, remaining, reset: take.ahead, retry: take.retry }
    }
}

/// The table of arrival times.
pub(crate) struct Limiter {
    shards: Vec<Mutex<Shard>>,
    hasher: RandomState,
    origin: Instant,
    clock: Clock,
    shared: Option<Arc<dyn SharedLimits>>,
}

#[derive(Default)]
struct Shard {
    arrivals: HashMap<u64, u64, Prehashed>,
    /// When subjects with nothing to count against them were last looked for.
    swept: u64,
}

/// How often, in nanoseconds, a full shard is gone through: a flood of new
/// addresses must not cost a walk through the table for each.
const SWEEP_INTERVAL: u64 = 1_000_000_000;

impl Limiter {
    pub(crate) fn new(clock: Clock, shared: Option<Arc<dyn SharedLimits>>) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
            origin: Instant::now(),
            clock,
            shared,
        }
    }

    /// Counts one request of `subject` against the limit `id`, which is the same number on every replica. Awaits
    /// nothing unless replicas count together.
    pub(crate) async fn count(&self, name: &'static str, id: u64, rate: Rate, subject: Subject) -> Standing {
        if let Some(shared) = &self.shared
            && let Ok(take) = shared.take(&format!("{name}:{id:x}:{subject}"), rate).await
        {
            return Standing::shared(name, rate, take);
        }
        self.take(name, id, rate, subject)
    }

    fn take(&self, name: &'static str, id: u64, rate: Rate, subject: Subject) -> Standing {
        let key = self.hasher.hash_one((id, subject));
        let now = self.now();
        let period = nanos(rate.period);
        let interval = (period / u64::from(rate.limit)).max(1);
        let mut shard = self.shards[(key >> 58) as usize].lock().unwrap_or_else(PoisonError::into_inner);
        let burst = interval * u64::from(rate.limit);
        // Further ahead than a whole burst it can only be from before the limit was changed.
        let arrival = shard.arrivals.get(&key).copied().unwrap_or(0).clamp(now, now.saturating_add(burst));
        let next = arrival + interval;
        // The burst may not reach further ahead than one period, give or take the
        // rounding of the interval.
        let spent = next - now;
        if spent > burst {
            let retry = Duration::from_nanos(spent - burst);
            return Standing {
                name,
                rate,
                remaining: 0,
                reset: Duration::from_nanos(arrival - now),
                retry: Some(retry),
            };
        }
        if shard.arrivals.len() >= SHARD_CAPACITY && !shard.arrivals.contains_key(&key) {
            shard.make_room(now);
        }
        shard.arrivals.insert(key, next);
        let remaining = u64::from(rate.limit) - spent.div_ceil(interval);
        Standing {
            name,
            rate,
            remaining: u32::try_from(remaining).unwrap_or(u32::MAX),
            reset: Duration::from_nanos(spent),
            retry: None,
        }
    }

    /// Nanoseconds since the limiter was made. Monotonic, but for what a test adds.
    fn now(&self) -> u64 {
        nanos(self.origin.elapsed())
            .saturating_add(u64::try_from(self.clock.offset_micros()).unwrap_or(0).saturating_mul(1000))
    }
}

impl Shard {
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

fn nanos(duration: Duration) -> u64 {
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

    #[test]
    fn a_burst_passes_and_the_next_waits_its_interval() {
        let clock = Clock::adjustable();
        let limiter = Limiter::new(clock.clone(), None);
        let rate = rate("3/1m");
        for left in [2, 1, 0] {
            let standing = limiter.take("api", 1, rate, somebody());
            assert_eq!((standing.remaining, standing.retry), (left, None));
        }
        let refused = limiter.take("api", 1, rate, somebody());
        let retry = refused.retry.expect("the fourth is refused");
        assert!(retry > Duration::from_secs(19) && retry <= Duration::from_secs(20), "{retry:?}");
        clock.advance(Duration::from_secs(20));
        assert_eq!(limiter.take("api", 1, rate, somebody()).retry, None);
        assert!(limiter.take("api", 1, rate, somebody()).retry.is_some());
        clock.advance(Duration::from_secs(60));
        assert_eq!(limiter.take("api", 1, rate, somebody()).remaining, 2);
    }

    #[test]
    fn limits_and_subjects_do_not_share() {
        let limiter = Limiter::new(Clock::system(), None);
        let rate = rate("1/1h");
        let v6 = |text: &str| Subject::address(text.parse().expect("an address"));
        assert_eq!(limiter.take("a", 1, rate, somebody()).retry, None);
        assert_eq!(limiter.take("b", 2, rate, somebody()).retry, None);
        assert_eq!(limiter.take("a", 1, rate, v6("2001:db8::1")).retry, None);
        assert!(limiter.take("a", 1, rate, v6("2001:db8::ffff")).retry.is_some(), "one /64 is one subject");
        assert_eq!(limiter.take("a", 1, rate, v6("2001:db8:0:1::1")).retry, None);
    }

    #[test]
    fn exactly_its_number_passes_under_concurrency() {
        let limiter = Arc::new(Limiter::new(Clock::system(), None));
        let passed = Arc::new(AtomicU32::new(0));
        let threads: Vec<_> = (0..8)
            .map(|_| {
                let (limiter, passed) = (Arc::clone(&limiter), Arc::clone(&passed));
                std::thread::spawn(move || {
                    for _ in 0..500 {
                        if limiter.take("a", 1, rate("1000/1h"), somebody()).retry.is_none() {
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
        let limiter = Limiter::new(Clock::adjustable(), None);
        assert_eq!(limiter.take("a", 1, rate("1/1h"), somebody()).retry, None);
        assert!(limiter.take("a", 1, rate("1/1h"), somebody()).retry.is_some());
        let raised = limiter.take("a", 1, rate("1000/1s"), somebody());
        let retry = raised.retry.unwrap_or_default();
        assert!(retry <= Duration::from_millis(1), "{retry:?}");
    }

    #[test]
    fn a_shared_count_reads_as_one_of_our_own() {
        let rate = rate("3/1m");
        let take = |ahead: u64, retry| SharedTake { ahead: Duration::from_secs(ahead), retry };
        let standing = Standing::shared("api", rate, take(20, None));
        assert_eq!((standing.remaining, standing.reset), (2, Duration::from_secs(20)));
        assert_eq!(Standing::shared("api", rate, take(60, None)).remaining, 0);
        let refused = Standing::shared("api", rate, take(55, Some(Duration::from_secs(15))));
        assert_eq!((refused.remaining, refused.retry), (0, Some(Duration::from_secs(15))));
    }

    #[test]
    fn subjects_have_one_name_on_every_replica() {
        let subject = |text: &str| Subject::address(text.parse().expect("an address")).to_string();
        assert_eq!(subject("203.0.113.5"), "203.0.113.5");
        assert_eq!(subject("2001:db8:1:2:3::4"), "2001:db8:1:2::/64");
    }
}
