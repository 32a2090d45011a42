//! How an operator inspects and resets what has been counted under a key.

use std::sync::Arc;
use std::time::Duration;

use portcullis_model::Limit;

use crate::limits::arrival_times::interval;
use crate::limits::key::RateLimitKey;
use crate::limits::limiter::{Charge, Counting, Limiter};
use crate::limits::rules::RateLimitRule;
use crate::limits::state::{RateLimitOutcome, RateLimitState};

/// A rule, with the template of the route that it belongs to; `None` for a rule of all routes.
pub(crate) type PlacedRule<'c> = (Option<Arc<str>>, &'c Arc<RateLimitRule>);

/// How much of one limit has been used under one key.
#[derive(Clone, Debug)]
pub struct RateLimitUsage {
    /// The limit as settings describe it.
    pub limit: Limit,
    /// The route that the limit belongs to; `None` for a limit of all routes.
    pub route: Option<Arc<str>>,
    /// Requests left at this moment, by the rate without multipliers.
    pub remaining: u32,
    /// The time until the whole burst is free again.
    pub reset: Duration,
}

/// The result of resetting limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimitReset {
    /// How many limits were reset.
    pub limits: usize,
    /// Whether every replica has forgotten the count. It is `false` while Redis cannot be reached.
    pub on_every_replica: bool,
}

/// Returns the usage of every rule that counts the key and has counted a request. It counts nothing itself.
pub(crate) async fn usage(limiter: &Limiter, rules: &[PlacedRule<'_>], key: RateLimitKey) -> Vec<RateLimitUsage> {
    let counting = rules.iter().filter(|(_, rule)| key.is_counted_by(&rule.limit));
    let mut routes = counting.clone().map(|(route, _)| route.clone());
    let charges = counting.map(|(_, rule)| Charge { rule, key, role: None });
    let mut usage = Vec::new();
    limiter
        .count(charges, Counting::Peek, |outcome| {
            let route = routes.next().flatten();
            if let RateLimitOutcome::Counted(state) = outcome {
                usage.extend(used(route, state));
            }
            true
        })
        .await;
    usage
}

/// Forgets what has been counted under a key: by every rule, or by those of one name.
pub(crate) async fn reset(
    limiter: &Limiter,
    rules: &[PlacedRule<'_>],
    key: RateLimitKey,
    name: Option<&str>,
) -> RateLimitReset {
    let mut reset = RateLimitReset { limits: 0, on_every_replica: true };
    for (_, rule) in rules {
        if key.is_counted_by(&rule.limit) && name.is_none_or(|name| *rule.limit.name == *name) {
            reset.on_every_replica &= limiter.reset(rule, key).await;
            reset.limits += 1;
        }
    }
    reset
}

/// Returns the usage that a peek found, if any. A peek reports the state after one more request, which is taken off.
fn used(route: Option<Arc<str>>, state: RateLimitState) -> Option<RateLimitUsage> {
    let RateLimitState { rule, rate, remaining, reset, retry } = state;
    let one = Duration::from_nanos(interval(rate));
    let limit = rule.limit.clone();
    match retry {
        Some(_) => Some(RateLimitUsage { limit, route, remaining, reset }),
        None if reset <= one => None,
        None => {
            let (remaining, reset) = (remaining.saturating_add(1), reset.saturating_sub(one));
            Some(RateLimitUsage { limit, route, remaining, reset })
        }
    }
}
