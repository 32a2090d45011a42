//! The families and how they are recorded.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use crate::route::RouteMetrics;
use crate::{process, text};

/// Bucket bounds, in seconds.
#[derive(Clone, Debug)]
pub struct MetricsOptions {
    /// Of `http_request_duration_seconds`.
    pub http_buckets: Vec<f64>,
    /// Of `database_query_duration_seconds`.
    pub database_buckets: Vec<f64>,
}

impl Default for MetricsOptions {
    fn default() -> Self {
        Self {
            http_buckets: vec![0.1, 0.5, 1.0, 2.0, 5.0, 10.0],
            database_buckets: vec![0.01, 0.05, 0.1, 0.5, 1.0, 2.0],
        }
    }
}

/// Where a session was looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
#[expect(non_camel_case_types, reason = "the variants are the label's values")]
pub enum CacheType {
    /// In this process.
    memory,
    /// In Redis.
    redis,
}

/// All metrics of the process. Cheap to clone.
#[derive(Clone)]
pub struct Metrics(Arc<Families>);

type GaugeReader = Box<dyn Fn() -> f64 + Send + Sync>;
/// Returns a value for each value of the gauge's one label.
type LabelledGaugeReader = Box<dyn Fn() -> Vec<(String, f64)> + Send + Sync>;

/// A gauge with one label that is read when the page is rendered.
struct LabelledGauge {
    name: &'static str,
    help: &'static str,
    label: &'static str,
    read: LabelledGaugeReader,
}

struct Families {
    registry: Registry,
    version: String,
    routes: Mutex<HashMap<String, Arc<RouteMetrics>>>,
    http: HttpFamilies,
    auth_attempts: Family<AuthLabels, Counter>,
    database_seconds: Family<QueryLabels, Histogram, Buckets>,
    statements: AtomicU64,
    database_errors: Family<DatabaseErrorLabels, Counter>,
    cache_hits: Family<CacheLabels, Counter>,
    cache_misses: Family<CacheLabels, Counter>,
    csrf_refusals: Family<ReasonLabels, Counter>,
    csrf_reports: Family<ReasonLabels, Counter>,
    rate_limited: Family<LimitLabels, Counter>,
    upstream_requests: Family<UpstreamLabels, Counter>,
    redis_errors: Family<RedisErrorLabels, Counter>,
    mails: Family<ResultLabels, Counter>,
    reloads: Family<ResultLabels, Counter>,
    panics: Counter,
    jobs: Family<JobLabels, Counter>,
    gauges: Mutex<Vec<(&'static str, &'static str, GaugeReader)>>,
    labelled_gauges: Mutex<Vec<LabelledGauge>>,
}

#[derive(Clone)]
pub(crate) struct HttpFamilies {
    pub(crate) seconds: Family<RequestLabels, Histogram, Buckets>,
    pub(crate) requests: Family<RequestLabels, Counter>,
    pub(crate) in_progress: Family<InProgressLabels, Gauge>,
}

/// Makes histograms with the configured bounds.
#[derive(Clone)]
pub(crate) struct Buckets(Arc<[f64]>);

impl prometheus_client::metrics::family::MetricConstructor<Histogram> for Buckets {
    fn new_metric(&self) -> Histogram {
        Histogram::new(self.0.iter().copied())
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct RequestLabels {
    pub(crate) method: &'static str,
    pub(crate) route: Arc<str>,
    pub(crate) status_code: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct InProgressLabels {
    pub(crate) method: &'static str,
    pub(crate) route: Arc<str>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AuthLabels {
    status: &'static str,
    r#type: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct QueryLabels {
    operation: &'static str,
    table: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DatabaseErrorLabels {
    operation: &'static str,
    error_type: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RedisErrorLabels {
    operation: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CacheLabels {
    cache_type: CacheType,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabels {
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct JobLabels {
    job: &'static str,
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LimitLabels {
    limit: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct UpstreamLabels {
    upstream: String,
    outcome: &'static str,
}

impl Metrics {
    /// All families, with no samples yet.
    pub fn new(options: &MetricsOptions, version: &str) -> Self {
        let histogram = |bounds: &[f64]| Family::new_with_constructor(Buckets(bounds.into()));
        let http = HttpFamilies {
            seconds: histogram_family(&options.http_buckets),
            requests: Family::default(),
            in_progress: Family::default(),
        };
        let mut families = Families {
            registry: Registry::default(),
            version: version.to_owned(),
            routes: Mutex::default(),
            http,
            auth_attempts: Family::default(),
            database_seconds: histogram(&options.database_buckets),
            statements: AtomicU64::new(0),
            database_errors: Family::default(),
            redis_errors: Family::default(),
            mails: Family::default(),
            reloads: Family::default(),
            panics: Counter::default(),
            cache_hits: Family::default(),
            cache_misses: Family::default(),
            csrf_refusals: Family::default(),
            csrf_reports: Family::default(),
            rate_limited: Family::default(),
            upstream_requests: Family::default(),
            jobs: Family::default(),
            gauges: Mutex::default(),
            labelled_gauges: Mutex::default(),
        };
        families.register();
        Self(Arc::new(families))
    }

    /// The handles of a route, resolved once: the same template gives the same ones.
    pub fn route(&self, template: &str) -> Arc<RouteMetrics> {
        let mut routes = self.0.routes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = routes.get(template) {
            return Arc::clone(known);
        }
        let made = Arc::new(RouteMetrics::new(template, self.0.http.clone()));
        routes.insert(template.to_owned(), Arc::clone(&made));
        made
    }

    /// Counts an attempt to prove who one is. `kind` is `login`, `register`, `refresh` and so on.
    pub fn auth_attempt(&self, kind: &'static str, success: bool) {
        let status = if success { "success" } else { "failure" };
        self.0.auth_attempts.get_or_create(&AuthLabels { status, r#type: kind }).inc();
    }

    /// Notes a statement: `operation` is its verb, `table` the table it names first.
    pub fn database_query(&self, operation: &'static str, table: &'static str, took: Duration) {
        self.0.statements.fetch_add(1, Ordering::Relaxed);
        self.0.database_seconds.get_or_create(&QueryLabels { operation, table }).observe(took.as_secs_f64());
    }

    /// Notes a statement that failed.
    pub fn database_error(&self, operation: &'static str, error_type: &'static str) {
        self.0.database_errors.get_or_create(&DatabaseErrorLabels { operation, error_type }).inc();
    }

    /// Notes a command to Redis that failed.
    pub fn redis_error(&self, operation: &'static str) {
        self.0.redis_errors.get_or_create(&RedisErrorLabels { operation }).inc();
    }

    /// How many statements were noted so far, of every kind: tests count what a use case costs.
    pub fn database_statements(&self) -> u64 {
        self.0.statements.load(Ordering::Relaxed)
    }

    /// A session was found.
    pub fn cache_hit(&self, cache_type: CacheType) {
        self.0.cache_hits.get_or_create(&CacheLabels { cache_type }).inc();
    }

    /// A session was not found.
    pub fn cache_miss(&self, cache_type: CacheType) {
        self.0.cache_misses.get_or_create(&CacheLabels { cache_type }).inc();
    }

    /// The counter behind [`cache_hit`](Self::cache_hit), for a caller that counts on every request.
    pub fn cache_hit_counter(&self, cache_type: CacheType) -> Counter {
        self.0.cache_hits.get_or_create_owned(&CacheLabels { cache_type })
    }

    /// A request was refused by the CSRF check.
    pub fn csrf_refusal(&self, reason: &'static str) {
        self.0.csrf_refusals.get_or_create(&ReasonLabels { reason }).inc();
    }

    /// A request would have been refused by the CSRF check.
    pub fn csrf_report(&self, reason: &'static str) {
        self.0.csrf_reports.get_or_create(&ReasonLabels { reason }).inc();
    }

    /// A mail was sent, delayed or given up.
    pub fn mail(&self, result: &'static str) {
        self.0.mails.get_or_create(&ResultLabels { result }).inc();
    }

    /// The settings were read anew: `applied` or `refused`.
    pub fn reload(&self, result: &'static str) {
        self.0.reloads.get_or_create(&ResultLabels { result }).inc();
    }

    /// Counts a request whose handling panicked.
    pub fn panic(&self) {
        self.0.panics.inc();
    }

    /// A request was refused by a limit, by the name that settings give it.
    pub fn rate_limited(&self, limit: &str) {
        self.0.rate_limited.get_or_create_owned(&LimitLabels { limit: limit.to_owned() }).inc();
    }

    /// The counter of one upstream's requests by outcome, to be kept by the caller.
    pub fn upstream_requests(&self, upstream: &str, outcome: &'static str) -> Counter {
        self.0.upstream_requests.get_or_create_owned(&UpstreamLabels { upstream: upstream.to_owned(), outcome })
    }

    /// Adds a gauge that is read when somebody scrapes.
    pub fn gauge_fn(&self, name: &'static str, help: &'static str, read: GaugeReader) {
        self.0.gauges.lock().unwrap_or_else(PoisonError::into_inner).push((name, help, read));
    }

    /// Adds a gauge with one label that is read when the page is rendered.
    pub fn labelled_gauge_fn(
        &self,
        name: &'static str,
        help: &'static str,
        label: &'static str,
        read: LabelledGaugeReader,
    ) {
        let gauge = LabelledGauge { name, help, label, read };
        self.0.labelled_gauges.lock().unwrap_or_else(PoisonError::into_inner).push(gauge);
    }

    /// Counts a run of a job: `success`, `failure` or `stopped`.
    pub fn job(&self, job: &'static str, result: &'static str) {
        self.0.jobs.get_or_create(&JobLabels { job, result }).inc();
    }

    /// Everything as OpenMetrics 1.0, or as Prometheus text 0.0.4.
    pub fn render(&self, openmetrics: bool) -> String {
        let mut page = String::with_capacity(16 * 1024);
        prometheus_client::encoding::text::encode_registry(&mut page, &self.0.registry)
            .expect("writing to a String does not fail");
        text::add_empty_families(&mut page);
        for (name, help, read) in self.0.gauges.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            text::gauge(&mut page, name, help, read());
        }
        for gauge in self.0.labelled_gauges.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            text::labelled_gauge(&mut page, gauge.name, gauge.help, gauge.label, &(gauge.read)());
        }
        process::append(&mut page);
        if openmetrics {
            page.push_str("# EOF\n");
            page
        } else {
            text::to_prometheus(&page)
        }
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Metrics({})", self.0.version)
    }
}

fn histogram_family<S: Clone + std::hash::Hash + Eq>(bounds: &[f64]) -> Family<S, Histogram, Buckets> {
    Family::new_with_constructor(Buckets(bounds.into()))
}

impl Families {
    fn register(&mut self) {
        let r = &mut self.registry;
        r.register(text::name(0), text::help(0), self.http.seconds.clone());
        r.register(text::name(1), text::help(1), self.http.requests.clone());
        r.register(text::name(2), text::help(2), self.http.in_progress.clone());
        r.register(text::name(3), text::help(3), self.auth_attempts.clone());
        r.register(text::name(4), text::help(4), self.database_seconds.clone());
        r.register(text::name(5), text::help(5), self.database_errors.clone());
        r.register(text::name(6), text::help(6), self.cache_hits.clone());
        r.register(text::name(7), text::help(7), self.cache_misses.clone());
        r.register(text::name(8), text::help(8), self.csrf_refusals.clone());
        r.register(text::name(9), text::help(9), self.rate_limited.clone());
        r.register(text::name(10), text::help(10), self.upstream_requests.clone());
        r.register(text::name(11), text::help(11), self.redis_errors.clone());
        r.register(text::name(12), text::help(12), self.csrf_reports.clone());
        r.register(text::name(13), text::help(13), self.mails.clone());
        r.register(text::name(14), text::help(14), self.reloads.clone());
        r.register(text::name(15), text::help(15), self.panics.clone());
        r.register(text::name(16), text::help(16), self.jobs.clone());
        r.register("portcullis_build", "Version of this binary.", Info::new(vec![("version", self.version.clone())]));
    }
}
