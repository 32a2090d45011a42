//! Requests. The handles of each route are resolved once, so that a request looks up no family.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use http::Method;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;

use super::catalogue::{Buckets, Catalogue};

/// The nine standard methods (RFC 9110, RFC 5789), and the label of all others.
const METHODS: [&str; 10] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE", "_OTHER"];

/// The statuses with a handle of their own. Others are rare and are looked up each time.
const STATUSES: [u16; 16] = [200, 201, 204, 206, 301, 302, 304, 400, 401, 403, 404, 409, 429, 500, 502, 504];

/// The status that is counted when a client goes away before its response begins (nginx's number).
const CLIENT_CLOSED_REQUEST: u16 = 499;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    method: &'static str,
    route: Arc<str>,
    status_code: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct InProgressLabels {
    method: &'static str,
    route: Arc<str>,
}

#[derive(Clone)]
pub(super) struct RequestFamilies {
    seconds: Family<RequestLabels, Histogram, Buckets>,
    requests: Family<RequestLabels, Counter>,
    in_progress: Family<InProgressLabels, Gauge>,
}

impl RequestFamilies {
    pub(super) fn register(catalogue: &mut Catalogue, bounds: &[f64]) -> Self {
        let seconds = "Time from the end of a request's head to the end of its response's head, in seconds";
        let requests = "Requests that got a response, refused and malformed ones included";
        Self {
            seconds: catalogue.histogram("http_request_duration_seconds", seconds, bounds),
            requests: catalogue.counter("http_requests", requests),
            in_progress: catalogue.gauge("http_requests_in_progress", "Requests without a response yet"),
        }
    }
}

/// The metrics of one route template.
pub struct RouteMetrics {
    route: Arc<str>,
    families: RequestFamilies,
    methods: [OnceLock<MethodMetrics>; METHODS.len()],
}

struct MethodMetrics {
    in_progress: Gauge,
    statuses: [OnceLock<StatusMetrics>; STATUSES.len()],
}

#[derive(Clone)]
struct StatusMetrics {
    requests: Counter,
    seconds: Histogram,
}

impl RouteMetrics {
    pub(super) fn new(template: &str, families: RequestFamilies) -> Self {
        Self { route: template.into(), families, methods: std::array::from_fn(|_| OnceLock::new()) }
    }

    /// The route's template, which is the `route` label.
    pub fn template(&self) -> &str {
        &self.route
    }

    /// Counts a request as in progress until the returned value is finished or dropped.
    pub fn begin(self: &Arc<Self>, method: &Method) -> InFlight {
        let method = method_index(method);
        self.method(method).in_progress.inc();
        InFlight { route: Arc::clone(self), method, begun: Instant::now(), finished: false }
    }

    fn method(&self, index: usize) -> &MethodMetrics {
        self.methods[index].get_or_init(|| MethodMetrics {
            in_progress: self
                .families
                .in_progress
                .get_or_create_owned(&InProgressLabels { method: METHODS[index], route: Arc::clone(&self.route) }),
            statuses: std::array::from_fn(|_| OnceLock::new()),
        })
    }

    fn record(&self, method: usize, status: u16, seconds: f64) {
        let make = || {
            let labels = RequestLabels { method: METHODS[method], route: Arc::clone(&self.route), status_code: status };
            StatusMetrics {
                requests: self.families.requests.get_or_create_owned(&labels),
                seconds: self.families.seconds.get_or_create_owned(&labels),
            }
        };
        let known = STATUSES.iter().position(|known| *known == status);
        match known {
            Some(index) => self.method(method).statuses[index].get_or_init(make).add(seconds),
            None => make().add(seconds),
        }
    }
}

impl StatusMetrics {
    fn add(&self, seconds: f64) {
        self.requests.inc();
        self.seconds.observe(seconds);
    }
}

impl fmt::Debug for RouteMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RouteMetrics({})", self.route)
    }
}

/// A request that has no response yet. It is counted as in progress until it is finished or dropped.
#[derive(Debug)]
pub struct InFlight {
    route: Arc<RouteMetrics>,
    method: usize,
    begun: Instant,
    finished: bool,
}

impl InFlight {
    /// Counts the request with its response's status.
    pub fn finish(mut self, status: u16) {
        self.close(status);
    }

    /// The route's template, which is the `route` label.
    pub fn template(&self) -> &str {
        self.route.template()
    }

    /// The moment that the request began.
    pub fn begun(&self) -> Instant {
        self.begun
    }

    fn close(&mut self, status: u16) {
        if !self.finished {
            self.finished = true;
            self.route.method(self.method).in_progress.dec();
            self.route.record(self.method, status, self.begun.elapsed().as_secs_f64());
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.close(CLIENT_CLOSED_REQUEST);
    }
}

fn method_index(method: &Method) -> usize {
    METHODS.iter().position(|known| *known == method.as_str()).unwrap_or(METHODS.len() - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Metrics, MetricsOptions};

    #[test]
    fn a_request_is_in_progress_until_it_is_finished() {
        let metrics = Metrics::new(&MetricsOptions::default(), "1");
        let route = metrics.route("/api/v1/users/{id}");
        let flight = route.begin(&Method::GET);
        assert!(
            metrics
                .render(false)
                .contains("http_requests_in_progress{method=\"GET\",route=\"/api/v1/users/{id}\"} 1\n")
        );
        flight.finish(200);
        let page = metrics.render(false);
        assert!(page.contains("http_requests_in_progress{method=\"GET\",route=\"/api/v1/users/{id}\"} 0\n"), "{page}");
        assert!(
            page.contains("http_requests_total{method=\"GET\",route=\"/api/v1/users/{id}\",status_code=\"200\"} 1\n"),
            "{page}"
        );
    }

    #[test]
    fn a_request_whose_client_went_away_is_counted_as_499() {
        let metrics = Metrics::new(&MetricsOptions::default(), "1");
        drop(metrics.route("/x").begin(&Method::POST));
        assert!(
            metrics.render(false).contains("http_requests_total{method=\"POST\",route=\"/x\",status_code=\"499\"} 1\n")
        );
    }

    #[test]
    fn invented_methods_share_one_series() {
        let metrics = Metrics::new(&MetricsOptions::default(), "1");
        let route = metrics.route("unmatched");
        for n in 0..1000 {
            let method = Method::from_bytes(format!("M{n}").as_bytes()).expect("a token");
            route.begin(&method).finish(404);
        }
        let page = metrics.render(false);
        assert!(
            page.contains("http_requests_total{method=\"_OTHER\",route=\"unmatched\",status_code=\"404\"} 1000\n"),
            "{page}"
        );
        assert_eq!(page.lines().filter(|line| line.starts_with("http_requests_total{")).count(), 1);
    }
}
