//! The rate limit rules of a configuration: the ones for all routes, and each route's own.

use std::sync::Arc;

use http::HeaderValue;
use portcullis_model::{Limit, Rate};

/// The limits for all routes, as settings give them (`[limits]`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LimitsConfig {
    /// Counts sign-in, registration and the like by address.
    pub auth: Option<Limit>,
    /// Counts every other request by address, except health and metrics.
    pub api: Option<Limit>,
    /// Counts the requests of `api` that change nothing, by caller.
    pub reads: Option<Limit>,
    /// Counts the requests of `api` that may change something, by caller.
    pub writes: Option<Limit>,
}

/// The rules for all routes, ready to be counted.
#[derive(Debug, Default)]
pub struct Limits {
    pub(crate) auth: Option<Arc<RateLimitRule>>,
    pub(crate) api: Option<Arc<RateLimitRule>>,
    pub(crate) reads: Option<Arc<RateLimitRule>>,
    pub(crate) writes: Option<Arc<RateLimitRule>>,
}

/// A limit with an id that is the same on every replica and after every reload.
#[derive(Debug)]
pub(crate) struct RateLimitRule {
    pub(crate) limit: Limit,
    pub(crate) id: u64,
    /// The `RateLimit-Policy` header for callers without a multiplier.
    pub(crate) policy: HeaderValue,
    /// The `X-RateLimit-Limit` header for them.
    pub(crate) most: HeaderValue,
    /// The beginning of the `RateLimit` header: `"name";r=`.
    pub(crate) state_prefix: Box<[u8]>,
}

impl RateLimitRule {
    pub(crate) fn new(limit: Limit, id: u64) -> Arc<Self> {
        let policy = policy_header(&limit.name, limit.rate);
        let state_prefix = format!("\"{}\";r=", limit.name).into_bytes().into();
        let most = HeaderValue::from(limit.rate.limit);
        Arc::new(Self { limit, id, policy, most, state_prefix })
    }
}

/// Returns the `RateLimit-Policy` header (draft-ietf-httpapi-ratelimit-headers).
pub(crate) fn policy_header(name: &str, rate: Rate) -> HeaderValue {
    HeaderValue::try_from(format!("\"{name}\";q={};w={}", rate.limit, rate.period.as_secs()))
        .expect("a limit's name is letters, digits, - and _")
}

impl Limits {
    /// Gives each limit its id.
    pub fn new(config: LimitsConfig) -> Self {
        let rule = |limit: Option<Limit>, id| limit.map(|limit| RateLimitRule::new(limit, id));
        Self {
            auth: rule(config.auth, 0),
            api: rule(config.api, 1),
            reads: rule(config.reads, 2),
            writes: rule(config.writes, 3),
        }
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<RateLimitRule>> {
        [&self.auth, &self.api, &self.reads, &self.writes].into_iter().flatten()
    }
}

/// A route's own rules.
#[derive(Debug, Default)]
pub(crate) struct RouteLimits {
    /// The rules that can be counted before the caller is known.
    pub(crate) before_caller: Box<[Arc<RateLimitRule>]>,
    /// The rules that count by caller, or differ by role.
    pub(crate) by_caller: Box<[Arc<RateLimitRule>]>,
}

impl RouteLimits {
    /// `id` is the route's; its limits get consecutive ids from it on.
    pub(crate) fn new(limits: &[Limit], id: u64) -> Self {
        let rules = limits.iter().zip(0u64..).map(|(limit, n)| RateLimitRule::new(limit.clone(), id.wrapping_add(n)));
        let (by_caller, before_caller): (Vec<_>, Vec<_>) = rules.partition(|rule| rule.limit.needs_caller());
        Self { before_caller: before_caller.into(), by_caller: by_caller.into() }
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<RateLimitRule>> {
        self.before_caller.iter().chain(&self.by_caller)
    }
}
