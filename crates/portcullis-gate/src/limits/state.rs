//! The state of a rate limit after a request.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderValue;
use portcullis_model::{GcraOutcome, Rate};

use crate::decimal::Decimal;
use crate::limits::arrival_times::{interval, nanos};
use crate::limits::rules::RateLimitRule;

/// The state of one rule for one key, after one more request.
#[derive(Clone, Debug)]
pub(crate) struct RateLimitState {
    pub(crate) rule: Arc<RateLimitRule>,
    /// The rate for this caller, multiplier included.
    pub(crate) rate: Rate,
    /// Requests left at this moment.
    pub(crate) remaining: u32,
    /// The time until the whole burst is free again.
    pub(crate) reset: Duration,
    /// The time until the next request is let through; `None` when this one was.
    pub(crate) retry: Option<Duration>,
}

impl RateLimitState {
    pub(crate) fn new(rule: &Arc<RateLimitRule>, rate: Rate, take: GcraOutcome) -> Self {
        let spent = u32::try_from(nanos(take.ahead).div_ceil(interval(rate))).unwrap_or(u32::MAX);
        let remaining = if take.retry.is_some() { 0 } else { rate.limit.saturating_sub(spent) };
        Self { rule: Arc::clone(rule), rate, remaining, reset: take.ahead, retry: take.retry }
    }

    /// Returns the `RateLimit` header (draft-ietf-httpapi-ratelimit-headers): the requests left, and the seconds until
    /// the whole burst is free.
    pub(crate) fn header(&self, reset_seconds: u64) -> HeaderValue {
        let (prefix, infix) = (&self.rule.state_prefix, b";t=");
        let (remaining, reset) = (Decimal::of(self.remaining.into()), Decimal::of(reset_seconds));
        // Memory that is exactly filled becomes the value as it is.
        let mut text = Vec::with_capacity(prefix.len() + remaining.digits().len() + infix.len() + reset.digits().len());
        for part in [&**prefix, remaining.digits(), infix, reset.digits()] {
            text.extend_from_slice(part);
        }
        HeaderValue::from_maybe_shared(Bytes::from(text)).expect("a limit's name is letters, digits, - and _")
    }
}

/// The result of counting a request against one rule.
#[derive(Debug)]
pub(crate) enum RateLimitOutcome {
    Counted(RateLimitState),
    /// The replicas cannot count together, and the rule then lets every request pass.
    Uncounted,
    /// The replicas cannot count together, and the rule then lets no request pass.
    Unavailable(Arc<RateLimitRule>),
}

impl RateLimitOutcome {
    pub(crate) fn is_refusal(&self) -> bool {
        match self {
            Self::Counted(state) => state.retry.is_some(),
            Self::Uncounted => false,
            Self::Unavailable(_) => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_model::Limit;

    fn state(rate: &str, ahead: u64, retry: Option<u64>) -> RateLimitState {
        let rate = Rate::parse(rate).expect("valid").expect("on");
        let rule = RateLimitRule::new(Limit::by_address("api", rate), 1);
        let take = GcraOutcome { ahead: Duration::from_secs(ahead), retry: retry.map(Duration::from_secs) };
        RateLimitState::new(&rule, rate, take)
    }

    #[test]
    fn the_header_has_the_requests_left_and_the_reset() {
        let state = |remaining| RateLimitState { remaining, ..state("10/1m", 0, None) };
        assert_eq!(state(9).header(0), "\"api\";r=9;t=0");
        assert_eq!(state(0).header(7), "\"api\";r=0;t=7");
        assert_eq!(state(u32::MAX).header(u64::MAX), "\"api\";r=4294967295;t=18446744073709551615");
    }

    #[test]
    fn remaining_and_reset_follow_from_the_arrival_time() {
        let first = state("3/1m", 20, None);
        assert_eq!((first.remaining, first.reset), (2, Duration::from_secs(20)));
        assert_eq!(state("3/1m", 60, None).remaining, 0);
    }

    #[test]
    fn a_refused_request_leaves_nothing() {
        let refused = state("3/1m", 55, Some(15));
        assert_eq!((refused.remaining, refused.retry), (0, Some(Duration::from_secs(15))));
    }
}
