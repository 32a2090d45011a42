//! Services behind the gateway.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::time::Duration;

use http::HeaderValue;
use portcullis_telemetry::Metrics;
use url::Url;

use crate::error::Outcome;
use crate::pool::Pool;

/// A service as settings describe it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// Its name in routes.
    pub name: Arc<str>,
    /// Where it listens: `http`, a host and a port.
    pub targets: Vec<Url>,
    /// How long a connection may take to be made.
    pub connect_timeout: Duration,
}

/// All services, swapped as one value.
#[derive(Default)]
pub struct Upstreams {
    by_name: BTreeMap<Arc<str>, Arc<Service>>,
    /// Those that the configuration before this one had and this one has not: a request that was judged by that one
    /// may still be on its way to them.
    retired: BTreeMap<Arc<str>, Arc<Service>>,
}

/// A service in use.
pub(crate) struct Service {
    /// As settings described it.
    spec: Upstream,
    pub(crate) targets: Vec<Arc<Target>>,
    next: AtomicUsize,
    /// 0 not asked yet, 1 answered last, 2 failed last.
    last: AtomicU8,
    outcomes: Vec<(Outcome, Count)>,
}

type Count = Box<dyn Fn() + Send + Sync>;

/// One address of a service, with the connections to it.
pub(crate) struct Target {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) authority: HeaderValue,
    pub(crate) connect_timeout: Duration,
    pub(crate) pool: Pool,
}

impl Upstreams {
    /// From settings, which have checked that each target has a host and a port.
    pub fn new(upstreams: Vec<Upstream>, metrics: &Metrics) -> Self {
        let by_name = upstreams
            .into_iter()
            .map(|upstream| (Arc::clone(&upstream.name), Arc::new(Service::new(upstream, metrics))));
        Self { by_name: by_name.collect(), retired: BTreeMap::new() }
    }

    /// What comes after these: services that did not change keep their connections and what is known of them.
    pub(crate) fn succeeded_by(&self, upstreams: Vec<Upstream>, metrics: &Metrics) -> Self {
        let kept = |upstream: Upstream| match self.by_name.get(&upstream.name) {
            Some(service) if service.spec == upstream => Arc::clone(service),
            _ => Arc::new(Service::new(upstream, metrics)),
        };
        let by_name: BTreeMap<_, _> =
            upstreams.into_iter().map(|upstream| (Arc::clone(&upstream.name), kept(upstream))).collect();
        let gone = self.by_name.iter().filter(|(name, _)| !by_name.contains_key(*name));
        let retired = gone.map(|(name, service)| (Arc::clone(name), Arc::clone(service))).collect();
        Self { by_name, retired }
    }

    pub(crate) fn find(&self, name: &str) -> Option<&Arc<Service>> {
        self.by_name.get(name).or_else(|| self.retired.get(name))
    }

    /// Each upstream's name and how it answered last: `healthy`, `unhealthy` or `unknown`.
    pub(crate) fn status(&self) -> Vec<(String, &'static str)> {
        let word = |service: &Service| match service.last.load(Ordering::Relaxed) {
            0 => "unknown",
            1 => "healthy",
            _ => "unhealthy",
        };
        let mut list: Vec<_> = self.by_name.iter().map(|(name, service)| (name.to_string(), word(service))).collect();
        list.sort_unstable();
        list
    }
}

impl Service {
    fn new(spec: Upstream, metrics: &Metrics) -> Self {
        let targets = spec
            .targets
            .iter()
            .filter_map(|url| {
                let host = url.host_str()?.trim_start_matches('[').trim_end_matches(']').to_owned();
                let port = url.port_or_known_default()?;
                let authority = match url.port() {
                    Some(port) => format!("{}:{port}", url.host_str()?),
                    None => url.host_str()?.to_owned(),
                };
                Some(Arc::new(Target {
                    host,
                    port,
                    authority: HeaderValue::try_from(authority).ok()?,
                    connect_timeout: spec.connect_timeout,
                    pool: Pool::default(),
                }))
            })
            .collect();
        let outcomes = Outcome::ALL
            .into_iter()
            .map(|(outcome, label)| {
                let counter = metrics.upstream_requests(&spec.name, label);
                (
                    outcome,
                    Box::new(move || {
                        counter.inc();
                    }) as Count,
                )
            })
            .collect();
        Self { spec, targets, next: AtomicUsize::new(0), last: AtomicU8::new(0), outcomes }
    }

    /// The targets, each time beginning with the next one.
    pub(crate) fn in_turn(&self) -> impl Iterator<Item = &Arc<Target>> {
        let start = if self.targets.len() > 1 { self.next.fetch_add(1, Ordering::Relaxed) } else { 0 };
        (0..self.targets.len()).map(move |offset| &self.targets[(start + offset) % self.targets.len()])
    }

    pub(crate) fn record(&self, outcome: Outcome) {
        match outcome {
            Outcome::Answered => self.last.store(1, Ordering::Relaxed),
            Outcome::Unreachable | Outcome::Timeout | Outcome::Broken => self.last.store(2, Ordering::Relaxed),
            Outcome::Client => {}
        }
        if let Some((_, count)) = self.outcomes.iter().find(|(known, _)| *known == outcome) {
            count();
        }
    }
}
