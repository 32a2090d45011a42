//! Rate limits: how many requests, counted per what, and what happens while Redis is away.

use std::fmt;
use std::sync::Arc;

use crate::{Rate, Role};

/// A rate limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    /// The name in response headers and metrics.
    pub name: Arc<str>,
    /// The number of requests in a period.
    pub rate: Rate,
    /// What requests are counted by: each address, each caller and so on has the whole rate.
    pub by: LimitBy,
    /// Factors of the rate for callers of some roles. Other roles have the rate itself.
    pub multipliers: Multipliers,
    /// What happens while the replicas' shared counters cannot be reached.
    pub without_redis: WithoutRedis,
}

/// What a limit counts requests by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LimitBy {
    /// The client's address. An IPv6 address counts as its /64 network.
    Address,
    /// The authenticated user or API key; without one, the address.
    Caller,
    /// The API key. Requests without one are not counted.
    ApiKey,
    /// The caller's role: all callers of a role share one rate, and so do all callers without a role.
    Role,
    /// Nothing: all requests share one rate.
    Everybody,
    /// The value of a request header (its name in lower case); without that header, the address.
    Header(Box<str>),
}

/// What a limit does while Redis, where replicas count together, cannot be reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WithoutRedis {
    /// Each replica counts its own requests.
    #[default]
    Local,
    /// No request is counted or refused.
    Open,
    /// Every request is refused.
    Closed,
}

/// Factors of a rate for roles.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Multipliers(Box<[(Role, u32)]>);

impl Multipliers {
    /// Takes a factor for each of these roles.
    pub fn new(factors: impl IntoIterator<Item = (Role, u32)>) -> Self {
        Self(factors.into_iter().collect())
    }

    /// The roles that have a factor, with it.
    pub fn iter(&self) -> impl Iterator<Item = (Role, u32)> {
        self.0.iter().copied()
    }

    /// Whether no role has a factor.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Limit {
    /// A limit by address, without factors for roles.
    pub fn by_address(name: &str, rate: Rate) -> Self {
        Self::new(name, rate, LimitBy::Address)
    }

    /// A limit without factors for roles. While Redis is away, each replica counts its own requests.
    pub fn new(name: &str, rate: Rate, by: LimitBy) -> Self {
        Self {
            name: name.into(),
            rate,
            by,
            multipliers: Multipliers::default(),
            without_redis: WithoutRedis::default(),
        }
    }

    /// The rate for a caller of a role.
    pub fn rate_for(&self, role: Option<Role>) -> Rate {
        let times = role.and_then(|role| self.multipliers.iter().find(|(known, _)| *known == role));
        match times {
            None => self.rate,
            Some((_, times)) => Rate { limit: self.rate.limit.saturating_mul(times), ..self.rate },
        }
    }

    /// Whether the limit can be counted only once the caller is authenticated.
    pub fn needs_caller(&self) -> bool {
        matches!(self.by, LimitBy::Caller | LimitBy::ApiKey | LimitBy::Role) || !self.multipliers.is_empty()
    }
}

/// Writes the word of the settings: `address`, `caller`, `api_key`, `role`, `everybody` or `header:<name>`.
impl fmt::Display for LimitBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address => f.write_str("address"),
            Self::Caller => f.write_str("caller"),
            Self::ApiKey => f.write_str("api_key"),
            Self::Role => f.write_str("role"),
            Self::Everybody => f.write_str("everybody"),
            Self::Header(name) => write!(f, "header:{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_role_may_have_a_multiple_of_the_rate() {
        let rate = Rate { limit: 10, period: Duration::from_secs(60) };
        let mut limit = Limit::by_address("x", rate);
        assert!(!limit.needs_caller());
        limit.multipliers = Multipliers::new([(Role::Admin, 5)]);
        assert!(limit.needs_caller(), "the role is the caller's");
        assert_eq!(limit.rate_for(Some(Role::Admin)).limit, 50);
        assert_eq!(limit.rate_for(Some(Role::Manager)).limit, 10);
        assert_eq!(limit.rate_for(None).limit, 10);
    }
}
