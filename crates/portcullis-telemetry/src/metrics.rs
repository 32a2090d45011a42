//! The metrics of the process. Each subject has a file with its families and the functions that record them.

mod authentication;
mod catalogue;
mod database;
mod durations;
mod exemplars;
mod family;
mod gate;
mod operations;
mod page_memory;
mod process;
mod read_at_scrape;
mod request_page;
mod requests;
mod sessions;
mod text_format;
mod upstreams;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use authentication::AuthenticationFamilies;
use bytes::Bytes;
use catalogue::Catalogue;
use database::DatabaseFamilies;
pub use family::{MetricFamily, MetricKind};
use gate::GateFamilies;
use operations::OperationFamilies;
use page_memory::PageMemory;
pub use read_at_scrape::ReadMetric;
use read_at_scrape::Readers;
use request_page::RequestFamilies;
pub use requests::{CLIENT_CLOSED_REQUEST, InFlight, RouteMetrics};
pub use sessions::CacheType;
use sessions::SessionFamilies;
use text_format::{Page, TextFormat};
use upstreams::UpstreamFamilies;
pub use upstreams::{QueueRefusal, UpstreamLoad};

use crate::{logs, traces};

/// Which families there are, and the bucket bounds of the histograms in seconds.
#[derive(Clone, Debug)]
pub struct MetricsOptions {
    /// The bounds of `http_request_duration_seconds`.
    pub http_buckets: Vec<f64>,
    /// The bounds of `database_query_duration_seconds`.
    pub database_buckets: Vec<f64>,
    /// Whether there is `http_server_request_duration_seconds`, with the buckets of OpenTelemetry's conventions.
    pub fine: bool,
}

impl Default for MetricsOptions {
    fn default() -> Self {
        Self {
            http_buckets: vec![0.1, 0.5, 1.0, 2.0, 5.0, 10.0],
            database_buckets: vec![0.01, 0.05, 0.1, 0.5, 1.0, 2.0],
            fine: true,
        }
    }
}

/// All metrics of the process. Cheap to clone.
#[derive(Clone)]
pub struct Metrics(Arc<Families>);

struct Families {
    catalogue: Catalogue,
    version: String,
    requests: Arc<RequestFamilies>,
    routes: Mutex<BTreeMap<String, Arc<RouteMetrics>>>,
    authentication: AuthenticationFamilies,
    database: DatabaseFamilies,
    sessions: SessionFamilies,
    gate: GateFamilies,
    upstreams: UpstreamFamilies,
    operations: OperationFamilies,
    readers: Readers,
    page_memory: PageMemory,
}

impl Metrics {
    /// Registers all families. None has a sample yet.
    pub fn new(options: &MetricsOptions, version: &str) -> Self {
        let mut catalogue = Catalogue::default();
        let authentication = AuthenticationFamilies::register(&mut catalogue);
        let database = DatabaseFamilies::register(&mut catalogue, &options.database_buckets);
        let sessions = SessionFamilies::register(&mut catalogue);
        let gate = GateFamilies::register(&mut catalogue);
        let upstreams = UpstreamFamilies::register(&mut catalogue);
        let operations = OperationFamilies::register(&mut catalogue);
        catalogue.build_info(version);
        let metrics = Self(Arc::new(Families {
            catalogue,
            version: version.to_owned(),
            requests: Arc::new(RequestFamilies::new(&options.http_buckets, options.fine)),
            routes: Mutex::default(),
            authentication,
            database,
            sessions,
            gate,
            upstreams,
            operations,
            readers: Readers::default(),
            page_memory: PageMemory::default(),
        }));
        metrics.read_value(ReadMetric::LogLinesDropped, || Some(logs::dropped_lines() as f64));
        metrics.read_value(ReadMetric::TraceSpansDropped, || Some(traces::dropped_spans() as f64));
        metrics.read_value(ReadMetric::TraceSpansExported, || Some(traces::exported_spans() as f64));
        metrics
    }

    /// The metrics of a route, to be kept by the caller: a request then looks up no family. The same template gives the
    /// same value.
    pub fn route(&self, template: &str) -> Arc<RouteMetrics> {
        let mut routes = self.0.routes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = routes.get(template) {
            return Arc::clone(known);
        }
        let made = Arc::new(RouteMetrics::new(template, Arc::clone(&self.0.requests)));
        routes.insert(template.to_owned(), Arc::clone(&made));
        made
    }

    /// Every family of the page, by name.
    pub fn families(&self) -> Vec<MetricFamily> {
        let mut families = self.0.requests.families();
        families.extend(self.0.catalogue.families());
        families.extend(ReadMetric::ALL.map(ReadMetric::family));
        families.extend(process::FAMILIES);
        families.sort_by_key(MetricFamily::sample_name);
        families
    }

    /// The page for scrapers, as OpenMetrics 1.0 or as Prometheus text 0.0.4. It uses the memory of an earlier page.
    pub fn page(&self, openmetrics: bool) -> Bytes {
        let memory = &self.0.page_memory;
        memory.lend(self.write(memory.take(), openmetrics))
    }

    /// The same page as a text of its own.
    pub fn render(&self, openmetrics: bool) -> String {
        self.write(String::new(), openmetrics)
    }

    fn write(&self, text: String, openmetrics: bool) -> String {
        let format = if openmetrics { TextFormat::OpenMetrics } else { TextFormat::Prometheus };
        let mut page = Page { text, format };
        let routes: Vec<Arc<RouteMetrics>> = {
            let routes = self.0.routes.lock().unwrap_or_else(PoisonError::into_inner);
            routes.values().map(Arc::clone).collect()
        };
        self.0.requests.append(&routes, &mut page);
        self.0.catalogue.append(&mut page);
        self.0.readers.append(&mut page);
        process::append(&mut page);
        if openmetrics {
            page.text.push_str("# EOF\n");
        }
        page.text
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Metrics({})", self.0.version)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_family_shows_its_metadata_before_its_first_sample() {
        let metrics = Metrics::new(&MetricsOptions::default(), "1.2.3");
        let (text, openmetrics) = (metrics.render(false), metrics.render(true));
        for (name, kind) in [
            ("http_request_duration_seconds", "histogram"),
            ("http_server_request_duration_seconds", "histogram"),
            ("http_requests_total", "counter"),
            ("http_requests_in_progress", "gauge"),
            ("auth_attempts_total", "counter"),
            ("database_query_duration_seconds", "histogram"),
            ("database_errors_total", "counter"),
            ("cache_hits_total", "counter"),
            ("cache_misses_total", "counter"),
            ("sessions_live", "gauge"),
            ("redis_up", "gauge"),
            ("log_lines_dropped_total", "counter"),
            ("process_start_time_seconds", "gauge"),
            ("process_cpu_seconds_total", "counter"),
            ("build_info", "gauge"),
        ] {
            assert!(text.contains(&format!("# TYPE {name} {kind}\n")), "{name} in\n{text}");
            assert!(text.contains(&format!("# HELP {name} ")), "{name}");
        }
        assert!(text.contains("build_info{version=\"1.2.3\"} 1"), "{text}");
        assert!(!text.contains("# EOF"));
        for family in metrics.families() {
            let MetricFamily { name, kind, .. } = family;
            for line in [format!("# TYPE {name} {}\n", kind.as_str()), format!("# HELP {name} ")] {
                assert_eq!(openmetrics.matches(&line).count(), 1, "{line:?} in\n{openmetrics}");
            }
        }
    }

    #[test]
    fn a_recorded_event_moves_its_sample() {
        let metrics = Metrics::new(&MetricsOptions::default(), "1");
        metrics.auth_attempt("login", true);
        metrics.database_query("SELECT", "users", Duration::from_millis(20));
        metrics.cache_hit(CacheType::memory);
        let page = metrics.render(false);
        assert!(page.contains("auth_attempts_total{status=\"success\",type=\"login\"} 1\n"), "{page}");
        for (bound, count) in [("0.01", 0), ("0.05", 1)] {
            let line = format!(
                "database_query_duration_seconds_bucket{{le=\"{bound}\",operation=\"SELECT\",table=\"users\"}} {count}\n"
            );
            assert!(page.contains(&line), "{page}");
        }
        assert!(page.contains("cache_hits_total{cache_type=\"memory\"} 1\n"), "{page}");
    }

    #[test]
    fn a_value_that_nobody_knows_yet_has_no_sample() {
        let metrics = Metrics::new(&MetricsOptions::default(), "1");
        metrics.read_value(ReadMetric::SessionsLive, || None);
        assert!(!metrics.render(false).contains("\nsessions_live "));
        metrics.read_value(ReadMetric::SessionsLive, || Some(3.0));
        assert!(metrics.render(false).contains("\nsessions_live 3\n"));
        metrics.read_values(ReadMetric::JobLastSuccess, || vec![("a\"b".to_owned(), 1.5)]);
        assert!(metrics.render(true).contains("\njob_last_success_timestamp_seconds{job=\"a\\\"b\"} 1.5\n"));
    }

    /// The names of a sample's labels. No value here contains a quote.
    fn label_names(line: &str) -> Vec<&str> {
        let labels = line.split_once('{').and_then(|(_, rest)| rest.rsplit_once('}')).map_or("", |(labels, _)| labels);
        let mut names: Vec<&str> = labels.split('"').step_by(2).filter(|part| !part.is_empty()).collect();
        names.iter_mut().for_each(|name| *name = name.trim_matches([',', '=']));
        names.retain(|name| *name != "le");
        names.sort_unstable();
        names
    }

    #[test]
    fn every_sample_has_the_labels_that_its_family_names() {
        let metrics = Metrics::new(&MetricsOptions::default(), "1");
        metrics.route("/api/v1/things/{id}").begin(&http::Method::GET).finish(200);
        metrics.database_query("SELECT", "users", Duration::from_millis(2));
        metrics.database_error("SELECT", "unavailable");
        metrics.csrf_refusal("cross_site");
        metrics.csrf_report("cross_site");
        metrics.rate_limited("auth");
        metrics.redis_error("get");
        metrics.job("prune_mails", "success");
        metrics.upstream_requests("things", "answered");
        metrics.upstream_load("things");
        for metric in ReadMetric::ALL {
            metrics.read_values(metric, || vec![("a".to_owned(), 1.0)]);
        }
        let page = metrics.render(false);
        for family in metrics.families() {
            let mut wanted = family.labels.to_vec();
            wanted.sort_unstable();
            let name = family.sample_name();
            let of_family = |line: &&str| {
                let rest = line.strip_prefix(&*name).unwrap_or_default();
                rest.starts_with(['{', ' '])
                    || ["_bucket{", "_sum{", "_count{"].iter().any(|suffix| rest.starts_with(suffix))
            };
            let samples: Vec<&str> = page.lines().filter(of_family).collect();
            assert!(!samples.is_empty(), "{name} has no sample");
            for sample in samples {
                assert_eq!(label_names(sample), wanted, "{sample}");
            }
        }
    }

    #[test]
    fn openmetrics_ends_with_eof() {
        let page = Metrics::new(&MetricsOptions::default(), "1").render(true);
        assert!(page.ends_with("# EOF\n"));
        assert_eq!(page.matches("# EOF").count(), 1);
        assert!(page.contains("# TYPE http_requests counter\n"));
    }
}
