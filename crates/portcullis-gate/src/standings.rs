//! What operators ask of limits: how somebody stands with them, and to be forgiven.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use portcullis_model::{Limit, SessionId, UserId};

use crate::arrivals::interval;
use crate::config::GateConfig;
use crate::gate::Gate;
use crate::limits::{Count, Counted, Counting, Standing, counts};
use crate::subject::Subject;

/// Whom an operator asks about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whom {
    /// A client's address.
    Address(IpAddr),
    /// A person.
    User(UserId),
    /// An API key.
    ApiKey(SessionId),
}

/// How somebody stands with one limit.
#[derive(Clone, Debug)]
pub struct LimitStanding {
    /// The limit.
    pub limit: Limit,
    /// The route it belongs to; `None` for one that holds everywhere.
    pub route: Option<Arc<str>>,
    /// Requests left at this moment, by the rate without multipliers.
    pub remaining: u32,
    /// Until the whole burst is free again.
    pub reset: Duration,
}

impl Gate {
    /// How somebody stands with every limit that counts them and of which they have spent anything. Counts nothing.
    pub async fn standings(&self, whom: Whom) -> Vec<LimitStanding> {
        let (config, subject) = (self.config.load_full(), whom.subject());
        let limits = config.all_limits();
        let charges = limits.iter().filter(|(_, counted)| counts(&counted.limit, subject));
        let (routes, charges): (Vec<_>, Vec<_>) =
            charges.map(|(route, counted)| (route.clone(), (*counted, subject, None))).unzip();
        let mut routes = routes.into_iter();
        let mut standings = Vec::new();
        self.limiter
            .count(charges.into_iter(), Counting::Peek, |count| {
                let route = routes.next().flatten();
                if let Count::Counted(standing) = count {
                    standings.extend(spent(route, standing));
                }
                true
            })
            .await;
        standings
    }

    /// Forgets what somebody has spent of every limit, or of those of a name; how many limits that were, and whether
    /// all replicas have forgotten.
    pub async fn reset_limits(&self, whom: Whom, name: Option<&str>) -> (usize, bool) {
        let (config, subject) = (self.config.load_full(), whom.subject());
        let (mut count, mut everywhere) = (0, true);
        for (_, counted) in config.all_limits() {
            if counts(&counted.limit, subject) && name.is_none_or(|name| *counted.limit.name == *name) {
                everywhere &= self.limiter.reset(counted, subject).await;
                count += 1;
            }
        }
        (count, everywhere)
    }
}

/// `203.0.113.5`, `user <id>`, `API key <id>`.
impl fmt::Display for Whom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => write!(f, "{address}"),
            Self::User(user) => write!(f, "user {user}"),
            Self::ApiKey(key) => write!(f, "API key {key}"),
        }
    }
}

impl Whom {
    fn subject(self) -> Subject {
        match self {
            Self::Address(address) => Subject::address(address.to_canonical()),
            Self::User(user) => Subject::User(user),
            Self::ApiKey(key) => Subject::Key(key),
        }
    }
}

/// What a look at a limit found, if anything was spent: the look itself is one request more than there were.
fn spent(route: Option<Arc<str>>, standing: Standing) -> Option<LimitStanding> {
    let Standing { counted, rate, remaining, reset, retry } = standing;
    let one = Duration::from_nanos(interval(rate));
    let limit = counted.limit.clone();
    match retry {
        Some(_) => Some(LimitStanding { limit, route, remaining, reset }),
        None if reset <= one => None,
        None => Some(LimitStanding {
            limit,
            route,
            remaining: remaining.saturating_add(1),
            reset: reset.saturating_sub(one),
        }),
    }
}

impl GateConfig {
    /// Every limit in force, with the route it belongs to.
    pub fn limits(&self) -> Vec<(Option<Arc<str>>, &Limit)> {
        self.all_limits().into_iter().map(|(route, counted)| (route, &counted.limit)).collect()
    }

    /// Every limit there is, with the route it belongs to.
    pub(crate) fn all_limits(&self) -> Vec<(Option<Arc<str>>, &Arc<Counted>)> {
        let everywhere = self.limits.all().map(|counted| (None, counted));
        let routes = self.routes.routes();
        everywhere
            .chain(
                routes.flat_map(|route| route.limits.all().map(|counted| (Some(Arc::clone(&route.template)), counted))),
            )
            .collect()
    }
}
