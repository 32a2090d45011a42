//! Rate limits: what a configuration counts, and how a request fares. Counted in this process, or by all replicas
//! together where they share a place to count.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use http::HeaderValue;
use portcullis_model::{Clock, GcraOutcome, Limit, LimitBy, Rate, Role, SharedLimits, WithoutRedis};

use crate::arrivals::{Arrivals, interval, nanos};
use crate::subject::Subject;

/// The limits that hold everywhere, as settings give them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LimitsConfig {
    /// For sign-in, registration and the like, by address.
    pub auth: Option<Limit>,
    /// For the rest but health and metrics, by address.
    pub api: Option<Limit>,
    /// For the rest but health and metrics, when it changes nothing.
    pub reads: Option<Limit>,
    /// For the rest but health and metrics, when it may change something.
    pub writes: Option<Limit>,
}

/// The same with their places in the tables of arrival times.
#[derive(Debug, Default)]
pub struct Limits {
    pub(crate) auth: Option<Arc<Counted>>,
    pub(crate) api: Option<Arc<Counted>>,
    pub(crate) reads: Option<Arc<Counted>>,
    pub(crate) writes: Option<Arc<Counted>>,
}

/// A limit and its place, which is the same on every replica and after every reload.
#[derive(Debug)]
pub(crate) struct Counted {
    pub(crate) limit: Limit,
    pub(crate) id: u64,
    /// `RateLimit-Policy`, for those who have no multiplier.
    pub(crate) policy: HeaderValue,
    /// What `RateLimit` begins with: `"name";r=`.
    standing: Box<[u8]>,
}

impl Counted {
    pub(crate) fn new(limit: Limit, id: u64) -> Arc<Self> {
        let policy = policy(&limit.name, limit.rate);
        let standing = format!("\"{}\";r=", limit.name).into_bytes().into();
        Arc::new(Self { limit, id, policy, standing })
    }
}

impl Standing {
    /// `RateLimit` (draft-ietf-httpapi-ratelimit-headers): requests left, and in how many seconds the whole limit is free.
    pub(crate) fn header(&self, reset: u64) -> HeaderValue {
        let begin = &self.counted.standing;
        let mut text = Vec::with_capacity(begin.len() + ";t=".len() + 2 * MAX_DIGITS);
        text.extend_from_slice(begin);
        push_decimal(&mut text, self.remaining.into());
        text.extend_from_slice(b";t=");
        push_decimal(&mut text, reset);
        HeaderValue::from_bytes(&text).expect("a limit's name is letters, digits, - and _")
    }
}

const MAX_DIGITS: usize = 20;

/// A number's digits, without the detour of `format!`, which every answer with a limit would pay for.
fn push_decimal(text: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0; MAX_DIGITS];
    let mut first = MAX_DIGITS;
    loop {
        first -= 1;
        digits[first] = b'0' + u8::try_from(number % 10).expect("a digit");
        number /= 10;
        if number == 0 {
            break;
        }
    }
    text.extend_from_slice(&digits[first..]);
}

/// `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers).
pub(crate) fn policy(name: &str, rate: Rate) -> HeaderValue {
    HeaderValue::try_from(format!("\"{name}\";q={};w={}", rate.limit, rate.period.as_secs()))
        .expect("a limit's name is letters, digits, - and _")
}

impl Limits {
    /// Gives each its place.
    pub fn new(config: LimitsConfig) -> Self {
        let counted = |limit: Option<Limit>, id| limit.map(|limit| Counted::new(limit, id));
        Self {
            auth: counted(config.auth, 0),
            api: counted(config.api, 1),
            reads: counted(config.reads, 2),
            writes: counted(config.writes, 3),
        }
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<Counted>> {
        [&self.auth, &self.api, &self.reads, &self.writes].into_iter().flatten()
    }
}

/// A route's limits: those that can be counted before anybody knows who calls, and the others.
#[derive(Debug, Default)]
pub(crate) struct RouteLimits {
    pub(crate) before: Box<[Arc<Counted>]>,
    pub(crate) after: Box<[Arc<Counted>]>,
}

impl RouteLimits {
    /// `id` is the route's; each of its limits gets a place of its own.
    pub(crate) fn new(limits: &[Limit], id: u64) -> Self {
        let counted = limits.iter().zip(0u64..).map(|(limit, n)| Counted::new(limit.clone(), id.wrapping_add(n)));
        let (after, before): (Vec<_>, Vec<_>) = counted.partition(|counted| counted.limit.needs_caller());
        Self { before: before.into(), after: after.into() }
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<Counted>> {
        self.before.iter().chain(&self.after)
    }
}

/// What a limit says after one more request.
#[derive(Clone, Debug)]
pub(crate) struct Standing {
    pub(crate) counted: Arc<Counted>,
    /// The rate for this caller.
    pub(crate) rate: Rate,
    /// Requests left at this moment.
    pub(crate) remaining: u32,
    /// Until the whole burst is free again.
    pub(crate) reset: Duration,
    /// Until the next request is let through, when this one was not.
    pub(crate) retry: Option<Duration>,
}

impl Standing {
    fn new(counted: &Arc<Counted>, rate: Rate, take: GcraOutcome) -> Self {
        let spent = u32::try_from(nanos(take.ahead).div_ceil(interval(rate))).unwrap_or(u32::MAX);
        let remaining = if take.retry.is_some() { 0 } else { rate.limit.saturating_sub(spent) };
        Self { counted: Arc::clone(counted), rate, remaining, reset: take.ahead, retry: take.retry }
    }
}

/// How a request fared against one limit.
#[derive(Debug)]
pub(crate) enum Count {
    Counted(Standing),
    /// Replicas cannot count together, and the limit lets everything through then.
    Open,
    /// Replicas cannot count together, and the limit lets nothing through then.
    Closed(Arc<Counted>),
}

impl Count {
    fn refuses(&self) -> bool {
        match self {
            Self::Counted(standing) => standing.retry.is_some(),
            Self::Open => false,
            Self::Closed(_) => true,
        }
    }
}

/// Whether a look at a limit is a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Counting {
    Take,
    Peek,
}

/// One limit that a request is counted against.
pub(crate) type Charge<'a> = (&'a Arc<Counted>, Subject, Option<Role>);

/// Counts.
pub(crate) struct Limiter {
    arrivals: Arrivals,
    shared: Option<Arc<dyn SharedLimits>>,
}

impl Limiter {
    pub(crate) fn new(clock: Clock, shared: Option<Arc<dyn SharedLimits>>) -> Self {
        Self { arrivals: Arrivals::new(clock), shared }
    }

    /// Counts one request against each limit. Awaits nothing unless replicas count together; then all of them are
    /// asked at once, in one round trip. A request that one of them refuses spends nothing of the others.
    pub(crate) async fn count<'a>(
        &self,
        charges: impl Iterator<Item = Charge<'a>> + Clone,
        counting: Counting,
        mut told: impl FnMut(Count) -> bool,
    ) {
        let Some(shared) = &self.shared else {
            for (before, charge) in charges.clone().enumerate() {
                if !told(Count::Counted(self.own(charge, counting))) {
                    if counting == Counting::Take {
                        charges.take(before).for_each(|charge| self.give_back_own(charge));
                    }
                    return;
                }
            }
            return;
        };
        let counts = join_all(charges.clone().map(|charge| self.ask(&**shared, charge, counting))).await;
        if counting == Counting::Take && counts.iter().any(Count::refuses) {
            let admitted = charges.zip(&counts).filter(|(_, count)| !count.refuses());
            self.give_back(admitted.map(|(charge, _)| charge)).await;
        }
        for count in counts {
            if !told(count) {
                return;
            }
        }
    }

    /// Takes back one request that each of these has counted: something else refused it.
    pub(crate) async fn give_back<'a>(&self, charges: impl Iterator<Item = Charge<'a>>) {
        let Some(shared) = &self.shared else {
            return charges.for_each(|charge| self.give_back_own(charge));
        };
        let giving = charges.map(|charge| async move {
            let (counted, subject, role) = charge;
            let given = shared.give_back(&shared_key(counted, subject), counted.limit.rate_for(role)).await;
            // Replicas could not count it together either, then.
            if given.is_err() {
                self.give_back_own(charge);
            }
        });
        join_all(giving).await;
    }

    async fn ask(&self, shared: &dyn SharedLimits, charge: Charge<'_>, counting: Counting) -> Count {
        let (counted, subject, role) = charge;
        let (key, rate) = (shared_key(counted, subject), counted.limit.rate_for(role));
        let asked = match counting {
            Counting::Take => shared.take(&key, rate).await,
            Counting::Peek => shared.peek(&key, rate).await,
        };
        match (asked, counted.limit.without_redis) {
            (Ok(take), _) => Count::Counted(Standing::new(counted, rate, take)),
            (Err(_), WithoutRedis::Local) => Count::Counted(self.own(charge, counting)),
            (Err(_), WithoutRedis::Open) => Count::Open,
            (Err(_), WithoutRedis::Closed) => Count::Closed(Arc::clone(counted)),
        }
    }

    fn own(&self, (counted, subject, role): Charge<'_>, counting: Counting) -> Standing {
        let rate = counted.limit.rate_for(role);
        let take = match counting {
            Counting::Take => self.arrivals.take(counted.id, rate, subject),
            Counting::Peek => self.arrivals.peek(counted.id, rate, subject),
        };
        Standing::new(counted, rate, take)
    }

    fn give_back_own(&self, (counted, subject, role): Charge<'_>) {
        self.arrivals.give_back(counted.id, counted.limit.rate_for(role), subject);
    }

    /// Forgets what a subject has spent of a limit; whether it was forgotten everywhere.
    pub(crate) async fn reset(&self, counted: &Arc<Counted>, subject: Subject) -> bool {
        self.arrivals.reset(counted.id, subject);
        match &self.shared {
            Some(shared) => shared.reset(&shared_key(counted, subject)).await.is_ok(),
            None => true,
        }
    }
}

/// The same text on every replica.
fn shared_key(counted: &Counted, subject: Subject) -> String {
    format!("{}:{:x}:{subject}", counted.limit.name, counted.id)
}

/// Whether a limit counts subjects of this kind.
pub(crate) fn counts(limit: &Limit, subject: Subject) -> bool {
    match subject {
        Subject::V4(_) | Subject::V6(_) => {
            matches!(limit.by, LimitBy::Address | LimitBy::Caller | LimitBy::Header(_))
        }
        Subject::User(_) => limit.by == LimitBy::Caller,
        Subject::Key(_) => matches!(limit.by, LimitBy::Caller | LimitBy::ApiKey),
        Subject::Role(_) => limit.by == LimitBy::Role,
        Subject::Everybody => limit.by == LimitBy::Everybody,
        Subject::Header(_) => matches!(limit.by, LimitBy::Header(_)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_tells_what_is_left_and_when_all_is_free() {
        let rate = Rate::parse("10/1m").expect("valid").expect("on");
        let counted = Counted::new(Limit::by_address("api", rate), 1);
        let take = GcraOutcome { ahead: Duration::ZERO, retry: None };
        let standing = |remaining| Standing { remaining, ..Standing::new(&counted, rate, take) };
        assert_eq!(standing(9).header(0), "\"api\";r=9;t=0");
        assert_eq!(standing(0).header(7), "\"api\";r=0;t=7");
        assert_eq!(standing(u32::MAX).header(u64::MAX), "\"api\";r=4294967295;t=18446744073709551615");
    }

    #[test]
    fn a_shared_count_reads_as_one_of_our_own() {
        let rate = Rate::parse("3/1m").expect("valid").expect("on");
        let counted = Counted::new(Limit::by_address("api", rate), 1);
        let take = |ahead: u64, retry| GcraOutcome { ahead: Duration::from_secs(ahead), retry };
        let standing = Standing::new(&counted, rate, take(20, None));
        assert_eq!((standing.remaining, standing.reset), (2, Duration::from_secs(20)));
        assert_eq!(Standing::new(&counted, rate, take(60, None)).remaining, 0);
        let refused = Standing::new(&counted, rate, take(55, Some(Duration::from_secs(15))));
        assert_eq!((refused.remaining, refused.retry), (0, Some(Duration::from_secs(15))));
    }
}
