//! The upstreams: the services behind the gateway, with their targets and connections.

mod capacity;
mod connecting;
mod connection;
mod connection_timer;
mod pool;
mod resolver;
mod selection;
mod target;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::time::Duration;

use portcullis_telemetry::{Metrics, QueueRefusal, UpstreamLoad};
use url::Url;

pub use capacity::TargetLimits;
pub(crate) use capacity::{Slot, SlotKind};
pub use connecting::{ConnectError, FailedAttempts};
pub(crate) use connection::{Connection, KeepAlive, TunnelHold};
use pool::Lifetimes;
pub(crate) use pool::Reuse;
pub(crate) use target::Target;

use crate::error::Outcome;

/// An upstream as the settings describe it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// The name that routes use.
    pub name: Arc<str>,
    /// The addresses that it listens on: `http`, a host and a port.
    pub targets: Vec<Url>,
    /// The longest time until one address accepts a connection. All together have three times as long.
    pub connect_timeout: Duration,
    /// How much each target gets at once.
    pub limits: TargetLimits,
    /// The longest time that a connection is kept idle; zero keeps none.
    pub keepalive: Duration,
    /// The greatest age at which a connection is used for another request. `None` means no limit.
    pub max_age: Option<Duration>,
}

/// All upstreams. A reload replaces them as one value.
#[derive(Default)]
pub struct Upstreams {
    by_name: BTreeMap<Arc<str>, Arc<ActiveUpstream>>,
    /// The upstreams that the latest reload removed. A request that passed the gate before may still go to them.
    retired: BTreeMap<Arc<str>, Arc<ActiveUpstream>>,
}

/// An upstream with its targets and its state.
pub(crate) struct ActiveUpstream {
    settings: Upstream,
    targets: Vec<Arc<Target>>,
    /// The number of the target that the next request tries first.
    next: AtomicUsize,
    /// The outcome of the latest request: [`UNKNOWN`], [`HEALTHY`] or [`UNHEALTHY`].
    health: AtomicU8,
    outcomes: Vec<(Outcome, Count)>,
    load: Arc<UpstreamLoad>,
}

const UNKNOWN: u8 = 0;
const HEALTHY: u8 = 1;
const UNHEALTHY: u8 = 2;

type Count = Box<dyn Fn() + Send + Sync>;

impl Upstreams {
    /// Takes the upstreams of the settings, which have checked that each target has a host and a port.
    pub fn new(upstreams: Vec<Upstream>, metrics: &Metrics) -> Self {
        let by_name = upstreams
            .into_iter()
            .map(|upstream| (Arc::clone(&upstream.name), Arc::new(ActiveUpstream::new(upstream, metrics))));
        Self { by_name: by_name.collect(), retired: BTreeMap::new() }
    }

    /// The upstreams after a reload. Those that did not change keep their connections and their state; their names are
    /// looked up anew.
    pub(crate) fn replaced_by(&self, upstreams: Vec<Upstream>, metrics: &Metrics) -> Self {
        let kept = |upstream: Upstream| match self.by_name.get(&upstream.name) {
            Some(active) if active.settings == upstream => {
                active.targets.iter().for_each(|target| target.expire_addresses());
                Arc::clone(active)
            }
            _ => Arc::new(ActiveUpstream::new(upstream, metrics)),
        };
        let by_name: BTreeMap<_, _> =
            upstreams.into_iter().map(|upstream| (Arc::clone(&upstream.name), kept(upstream))).collect();
        let removed = self.by_name.iter().filter(|(name, _)| !by_name.contains_key(*name));
        let retired = removed.map(|(name, active)| (Arc::clone(name), Arc::clone(active))).collect();
        Self { by_name, retired }
    }

    pub(crate) fn find(&self, name: &str) -> Option<&Arc<ActiveUpstream>> {
        self.by_name.get(name).or_else(|| self.retired.get(name))
    }

    /// The name of each upstream, and `healthy`, `unhealthy` or `unknown` by its latest request.
    pub(crate) fn status(&self) -> Vec<(String, &'static str)> {
        let word = |active: &ActiveUpstream| match active.health.load(Ordering::Relaxed) {
            UNKNOWN => "unknown",
            HEALTHY => "healthy",
            _ => "unhealthy",
        };
        let mut list: Vec<_> = self.by_name.iter().map(|(name, active)| (name.to_string(), word(active))).collect();
        list.sort_unstable();
        list
    }
}

impl ActiveUpstream {
    fn new(settings: Upstream, metrics: &Metrics) -> Self {
        let load = Arc::new(metrics.upstream_load(&settings.name));
        let lifetimes = Lifetimes { idle: settings.keepalive, age: settings.max_age };
        let target = |url| {
            Target::new(url, settings.connect_timeout, settings.limits, Arc::clone(&load), lifetimes).map(Arc::new)
        };
        let targets = settings.targets.iter().filter_map(target).collect();
        let outcomes = Outcome::ALL
            .into_iter()
            .map(|(outcome, label)| {
                let counter = metrics.upstream_requests(&settings.name, label);
                (
                    outcome,
                    Box::new(move || {
                        counter.inc();
                    }) as Count,
                )
            })
            .collect();
        Self { settings, targets, next: AtomicUsize::new(0), health: AtomicU8::new(UNKNOWN), outcomes, load }
    }

    /// Counts a request that was refused because the upstream has too many already.
    pub(crate) fn record_refusal(&self, reason: QueueRefusal) {
        self.load.refused(reason);
    }

    /// Counts a response that the upstream broke off within its body.
    pub(crate) fn record_body_failure(&self) {
        self.load.body_failed();
    }

    /// Counts a request and updates the upstream's state.
    pub(crate) fn record(&self, outcome: Outcome) {
        match outcome {
            Outcome::Answered => self.health.store(HEALTHY, Ordering::Relaxed),
            Outcome::Unreachable | Outcome::Timeout | Outcome::Broken => {
                self.health.store(UNHEALTHY, Ordering::Relaxed);
            }
            Outcome::Refused | Outcome::Client => {}
        }
        if let Some((_, count)) = self.outcomes.iter().find(|(known, _)| *known == outcome) {
            count();
        }
    }
}
