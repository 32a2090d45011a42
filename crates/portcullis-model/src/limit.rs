//! Limits: how often whom, and what holds while replicas cannot count together.

use std::fmt;
use std::sync::Arc;

use crate::{Rate, Role};

/// One limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    /// What headers and metrics call it.
    pub name: Arc<str>,
    /// How often.
    pub rate: Rate,
    /// Whom it counts.
    pub by: LimitBy,
    /// How many times as often callers of a role may call. A role that is not named: once.
    pub multipliers: Multipliers,
    /// What holds while the place where replicas count together is away.
    pub without_redis: WithoutRedis,
}

/// Whom a limit counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LimitBy {
    /// The client's address; of IPv6 the /64.
    Address,
    /// The person or API key that calls, else the address.
    Caller,
    /// The API key; other requests are not counted.
    ApiKey,
    /// Everybody of the caller's role together; who has none, together too.
    Role,
    /// Everybody together.
    Everybody,
    /// What a request header says; without it the address. The name in lower case.
    Header(Box<str>),
}

/// What a limit does while replicas cannot count together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WithoutRedis {
    /// Each replica counts for itself.
    #[default]
    Local,
    /// Nothing is counted, everything passes.
    Open,
    /// Nothing passes.
    Closed,
}

/// How many times a rate holds for each role.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Multipliers(Box<[(Role, u32)]>);

impl Multipliers {
    /// Of the named roles.
    pub fn new(of: impl IntoIterator<Item = (Role, u32)>) -> Self {
        Self(of.into_iter().collect())
    }

    /// The roles that have one.
    pub fn iter(&self) -> impl Iterator<Item = (Role, u32)> {
        self.0.iter().copied()
    }

    /// Whether no role has one.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Limit {
    /// A limit by address with nothing special about it.
    pub fn by_address(name: &str, rate: Rate) -> Self {
        Self::new(name, rate, LimitBy::Address)
    }

    /// A limit without multipliers, which each replica counts for itself when it must.
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

    /// Whether it must be known who calls before it can be counted.
    pub fn needs_caller(&self) -> bool {
        matches!(self.by, LimitBy::Caller | LimitBy::ApiKey | LimitBy::Role) || !self.multipliers.is_empty()
    }
}

/// `address`, `caller`, `api_key`, `role`, `everybody`, `header:<name>`.
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
    fn a_role_may_call_several_times_as_often() {
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
