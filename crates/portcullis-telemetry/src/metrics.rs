//! The metrics of the process. Each subject has a file with its families and the functions that record them.

mod authentication;
mod catalogue;
mod database;
mod gate;
mod operations;
mod process;
mod requests;
mod sessions;
mod text_format;
mod upstreams;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use authentication::AuthenticationFamilies;
use catalogue::Catalogue;
use database::DatabaseFamilies;
use gate::GateFamilies;
use operations::OperationFamilies;
use requests::RequestFamilies;
pub use requests::{InFlight, RouteMetrics};
pub use sessions::CacheType;
use sessions::SessionFamilies;
use upstreams::UpstreamFamilies;
pub use upstreams::{QueueRefusal, UpstreamLoad};

use crate::logs;

/// Bucket bounds of the histograms, in seconds.
#[derive(Clone, Debug)]
pub struct MetricsOptions {
    /// The bounds of `http_request_duration_seconds`.
    pub http_buckets: Vec<f64>,
    /// The bounds of `database_query_duration_seconds`.
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

/// All metrics of the process. Cheap to clone.
#[derive(Clone)]
pub struct Metrics(Arc<Families>);

type GaugeReader = Box<dyn Fn() -> f64 + Send + Sync>;
/// Returns a value for each value of the gauge's one label.
type LabelledGaugeReader = Box<dyn Fn() -> Vec<(String, f64)> + Send + Sync>;

/// A gauge with one label that is read at each scrape.
struct LabelledGauge {
    name: &'static str,
    help: &'static str,
    label: &'static str,
    read: LabelledGaugeReader,
}

struct Families {
    catalogue: Catalogue,
    version: String,
    requests: RequestFamilies,
    routes: Mutex<HashMap<String, Arc<RouteMetrics>>>,
    authentication: AuthenticationFamilies,
    database: DatabaseFamilies,
    sessions: SessionFamilies,
    gate: GateFamilies,
    upstreams: UpstreamFamilies,
    operations: OperationFamilies,
    gauges: Mutex<Vec<(&'static str, &'static str, GaugeReader)>>,
    labelled_gauges: Mutex<Vec<LabelledGauge>>,
}

impl Metrics {
    /// Registers all families. None has a sample yet.
    pub fn new(options: &MetricsOptions, version: &str) -> Self {
        let mut catalogue = Catalogue::default();
        let requests = RequestFamilies::register(&mut catalogue, &options.http_buckets);
        let authentication = AuthenticationFamilies::register(&mut catalogue);
        let database = DatabaseFamilies::register(&mut catalogue, &options.database_buckets);
        let sessions = SessionFamilies::register(&mut catalogue);
        let gate = GateFamilies::register(&mut catalogue);
        let upstreams = UpstreamFamilies::register(&mut catalogue);
        let operations = OperationFamilies::register(&mut catalogue);
        catalogue.build_info(version);
        Self(Arc::new(Families {
            catalogue,
            version: version.to_owned(),
            requests,
            routes: Mutex::default(),
            authentication,
            database,
            sessions,
            gate,
            upstreams,
            operations,
            gauges: Mutex::default(),
            labelled_gauges: Mutex::default(),
        }))
    }

    /// The metrics of a route, to be kept by the caller: a request then looks up no family. The same template gives the
    /// same value.
    pub fn route(&self, template: &str) -> Arc<RouteMetrics> {
        let mut routes = self.0.routes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = routes.get(template) {
            return Arc::clone(known);
        }
        let made = Arc::new(RouteMetrics::new(template, self.0.requests.clone()));
        routes.insert(template.to_owned(), Arc::clone(&made));
        made
    }

    /// Adds a gauge without labels. `read` is called at each scrape.
    pub fn gauge_fn(&self, name: &'static str, help: &'static str, read: GaugeReader) {
        self.0.gauges.lock().unwrap_or_else(PoisonError::into_inner).push((name, help, read));
    }

    /// Adds a gauge with one label. `read` is called at each scrape.
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

    /// The page for scrapers, as OpenMetrics 1.0 or as Prometheus text 0.0.4.
    pub fn render(&self, openmetrics: bool) -> String {
        let mut page = String::with_capacity(16 * 1024);
        self.0.catalogue.encode(&mut page);
        for (name, help, read) in self.0.gauges.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            text_format::gauge(&mut page, name, help, read());
        }
        for gauge in self.0.labelled_gauges.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            text_format::labelled_gauge(&mut page, gauge.name, gauge.help, gauge.label, &(gauge.read)());
        }
        let help = "Log lines that could not be written because the log's reader is gone or too slow";
        text_format::counter(&mut page, "log_lines_dropped", help, logs::dropped_lines() as f64);
        process::append(&mut page);
        if openmetrics {
            page.push_str("# EOF\n");
            page
        } else {
            text_format::to_prometheus(&page)
        }
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Metrics({})", self.0.version)
    }
}
