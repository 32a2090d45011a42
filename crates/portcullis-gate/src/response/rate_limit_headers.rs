//! The headers that tell a client the state of its tightest rate limit.

use http::header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};

use crate::limits::rules::policy_header;
use crate::limits::state::RateLimitState;

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const X_LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const X_REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const X_RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

/// Adds the `RateLimit` fields (draft-ietf-httpapi-ratelimit-headers) and the three headers that older clients read:
/// the limit, the requests left, and the Unix second at which the whole burst is free again. `decided_at`, in Unix
/// seconds, is when the state was counted.
pub(crate) fn add_headers(headers: &mut HeaderMap, state: &RateLimitState, decided_at: i64) {
    let RateLimitState { rule, rate, remaining, reset, retry } = state;
    let reset = whole_seconds(*reset);
    // A caller without a multiplier gets the headers that were made with the rule.
    let (policy, most) = if *rate == rule.limit.rate {
        (rule.policy.clone(), rule.most.clone())
    } else {
        (policy_header(&rule.limit.name, *rate), HeaderValue::from(rate.limit))
    };
    headers.insert(RATE_LIMIT_POLICY, policy);
    headers.insert(RATE_LIMIT, state.header(reset));
    headers.insert(X_LIMIT, most);
    headers.insert(X_REMAINING, HeaderValue::from(*remaining));
    headers.insert(X_RESET, HeaderValue::from(decided_at.saturating_add_unsigned(reset)));
    if let Some(retry) = retry {
        headers.insert(RETRY_AFTER, HeaderValue::from(whole_seconds(*retry).max(1)));
    }
}

/// Rounds up, so that a client which waits as long as it was told is not refused again.
fn whole_seconds(duration: std::time::Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}
