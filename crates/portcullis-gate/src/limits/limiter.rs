//! Counts requests against rate limits: in this process, or by all replicas together where they share a Redis.

use std::sync::Arc;

use futures_util::future::join_all;
use portcullis_model::{Clock, Role, SharedLimits, WithoutRedis};

use crate::limits::arrival_times::ArrivalTimes;
use crate::limits::key::RateLimitKey;
use crate::limits::rules::RateLimitRule;
use crate::limits::state::{RateLimitOutcome, RateLimitState};

/// Whether looking at a limit counts as a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Counting {
    Take,
    Peek,
}

/// One rule that a request is counted against.
#[derive(Clone, Copy)]
pub(crate) struct Charge<'a> {
    pub(crate) rule: &'a Arc<RateLimitRule>,
    pub(crate) key: RateLimitKey,
    /// The role that a multiplier is looked up by.
    pub(crate) role: Option<Role>,
}

pub(crate) struct Limiter {
    arrivals: ArrivalTimes,
    shared: Option<Arc<dyn SharedLimits>>,
}

impl Limiter {
    pub(crate) fn new(clock: Clock, shared: Option<Arc<dyn SharedLimits>>) -> Self {
        Self { arrivals: ArrivalTimes::new(clock), shared }
    }

    /// Counts one request against each rule and reports each outcome, until `report` returns `false`.
    ///
    /// It awaits nothing unless replicas count together; then all rules are asked at once, in one round trip. A request
    /// that one rule refuses is not counted against the others.
    pub(crate) async fn count<'a>(
        &self,
        charges: impl Iterator<Item = Charge<'a>> + Clone,
        counting: Counting,
        mut report: impl FnMut(RateLimitOutcome) -> bool,
    ) {
        let Some(shared) = &self.shared else {
            for (before, charge) in charges.clone().enumerate() {
                if !report(RateLimitOutcome::Counted(self.count_here(charge, counting))) {
                    if counting == Counting::Take {
                        charges.take(before).for_each(|charge| self.refund_here(charge));
                    }
                    return;
                }
            }
            return;
        };
        let outcomes = join_all(charges.clone().map(|charge| self.count_shared(&**shared, charge, counting))).await;
        if outcomes.iter().any(RateLimitOutcome::is_refusal) {
            let admitted = charges.zip(&outcomes).filter(|(_, outcome)| !outcome.is_refusal());
            self.refund(admitted.map(|(charge, _)| charge), counting).await;
        }
        for outcome in outcomes {
            if !report(outcome) {
                return;
            }
        }
    }

    /// Takes back one request that each rule has counted, because something else refused it. A peek counted nothing.
    pub(crate) async fn refund<'a>(&self, charges: impl Iterator<Item = Charge<'a>>, counting: Counting) {
        if counting == Counting::Peek {
            return;
        }
        let Some(shared) = &self.shared else {
            return charges.for_each(|charge| self.refund_here(charge));
        };
        let giving = charges.map(|charge| async move {
            let Charge { rule, key, role } = charge;
            let given = shared.refund(&shared_key(rule, key), rule.limit.rate_for(role)).await;
            // If the replicas cannot count together now, they probably could not count this request together either.
            if given.is_err() {
                self.refund_here(charge);
            }
        });
        join_all(giving).await;
    }

    /// Forgets what has been counted under a key, and returns whether every replica has forgotten it.
    pub(crate) async fn reset(&self, rule: &RateLimitRule, key: RateLimitKey) -> bool {
        self.arrivals.reset(rule.id, key);
        match &self.shared {
            Some(shared) => shared.reset(&shared_key(rule, key)).await.is_ok(),
            None => true,
        }
    }

    async fn count_shared(
        &self,
        shared: &dyn SharedLimits,
        charge: Charge<'_>,
        counting: Counting,
    ) -> RateLimitOutcome {
        let Charge { rule, key, role } = charge;
        let (name, rate) = (shared_key(rule, key), rule.limit.rate_for(role));
        let counted = match counting {
            Counting::Take => shared.take(&name, rate).await,
            Counting::Peek => shared.peek(&name, rate).await,
        };
        match (counted, rule.limit.without_redis) {
            (Ok(take), _) => RateLimitOutcome::Counted(RateLimitState::new(rule, rate, take)),
            (Err(_), WithoutRedis::Local) => RateLimitOutcome::Counted(self.count_here(charge, counting)),
            (Err(_), WithoutRedis::Open) => RateLimitOutcome::Uncounted,
            (Err(_), WithoutRedis::Closed) => RateLimitOutcome::Unavailable(Arc::clone(rule)),
        }
    }

    fn count_here(&self, Charge { rule, key, role }: Charge<'_>, counting: Counting) -> RateLimitState {
        let rate = rule.limit.rate_for(role);
        let take = match counting {
            Counting::Take => self.arrivals.take(rule.id, rate, key),
            Counting::Peek => self.arrivals.peek(rule.id, rate, key),
        };
        RateLimitState::new(rule, rate, take)
    }

    fn refund_here(&self, Charge { rule, key, role }: Charge<'_>) {
        self.arrivals.refund(rule.id, rule.limit.rate_for(role), key);
    }
}

/// Returns the name of a count in Redis, the same on every replica.
fn shared_key(rule: &RateLimitRule, key: RateLimitKey) -> String {
    format!("{}:{:x}:{key}", rule.limit.name, rule.id)
}
