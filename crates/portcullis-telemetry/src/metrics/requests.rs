//! Requests. The handles of each route are resolved once, so that a request looks up no family, and one count of its
//! duration serves three families.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use http::Method;

use super::durations::{Bounds, Durations};
use super::exemplars::Exemplars;
use super::request_page::RequestFamilies;
use super::text_format::escaped;
use crate::traces::Span;

/// The nine standard methods (RFC 9110, RFC 5789), and the label of all others.
const METHODS: [&str; 10] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE", "_OTHER"];

/// The statuses with a handle of their own. Others are rare and are looked up each time.
const STATUSES: [u16; 22] =
    [200, 201, 204, 206, 301, 302, 304, 400, 401, 403, 404, 409, 429, 500, 502, 504, 101, 202, 408, 422, 499, 503];

/// The status that is counted when a client goes away before its response begins (nginx's number).
pub const CLIENT_CLOSED_REQUEST: u16 = 499;

/// The metrics of one route template.
pub struct RouteMetrics {
    route: Arc<str>,
    families: Arc<RequestFamilies>,
    methods: [OnceLock<Box<MethodMetrics>>; METHODS.len()],
}

/// The requests of one method.
pub(super) struct MethodMetrics {
    /// The labels of `http_requests_in_progress`, up to the value.
    pub(super) labels: Box<str>,
    pub(super) in_progress: AtomicI64,
    statuses: [OnceLock<Arc<StatusMetrics>>; STATUSES.len()],
    rare: Mutex<BTreeMap<u16, Arc<StatusMetrics>>>,
}

/// The responses with one status.
pub(super) struct StatusMetrics {
    /// The labels of `http_requests_total` and `http_request_duration_seconds`, up to the value.
    pub(super) labels: Box<str>,
    /// The labels of `http_server_request_duration_seconds`, up to the value.
    pub(super) otel_labels: Box<str>,
    pub(super) durations: Durations,
    /// The latest ones whose trace is recorded.
    pub(super) exemplars: Exemplars,
}

impl RouteMetrics {
    pub(super) fn new(template: &str, families: Arc<RequestFamilies>) -> Self {
        Self { route: template.into(), families, methods: std::array::from_fn(|_| OnceLock::new()) }
    }

    /// The route's template, which is the `route` label.
    pub fn template(&self) -> &str {
        &self.route
    }

    /// Counts a request as in progress until the returned value is finished or dropped.
    pub fn begin(self: &Arc<Self>, method: &Method) -> InFlight {
        let method = method_index(method);
        self.method(method).in_progress.fetch_add(1, Ordering::Relaxed);
        InFlight { route: Arc::clone(self), method, begun: Instant::now(), finished: false }
    }

    /// The methods that requests had so far.
    pub(super) fn methods(&self) -> impl Iterator<Item = &MethodMetrics> {
        self.methods.iter().filter_map(OnceLock::get).map(|method| &**method)
    }

    fn method(&self, index: usize) -> &MethodMetrics {
        self.methods[index].get_or_init(|| {
            Box::new(MethodMetrics {
                labels: format!("method=\"{}\",route=\"{}\"}} ", METHODS[index], escaped(&self.route)).into(),
                in_progress: AtomicI64::new(0),
                statuses: std::array::from_fn(|_| OnceLock::new()),
                rare: Mutex::default(),
            })
        })
    }

    fn record(&self, method: usize, status: u16, took: Duration, span: Option<&Span>) {
        let metrics = self.method(method);
        let bounds = &self.families.bounds;
        let make = || StatusMetrics::new(METHODS[method], &self.route, status, &self.families);
        let known = STATUSES.iter().position(|known| *known == status);
        match known {
            Some(index) => {
                metrics.statuses[index].get_or_init(|| Arc::new(make())).add(bounds, took, span);
            }
            None => {
                let mut rare = metrics.rare.lock().unwrap_or_else(PoisonError::into_inner);
                let status = rare.entry(status).or_insert_with(|| Arc::new(make()));
                status.add(bounds, took, span);
            }
        }
    }
}

impl MethodMetrics {
    /// Adds each status that responses had so far.
    pub(super) fn add_statuses(&self, all: &mut Vec<Arc<StatusMetrics>>) {
        all.extend(self.statuses.iter().filter_map(OnceLock::get).cloned());
        all.extend(self.rare.lock().unwrap_or_else(PoisonError::into_inner).values().cloned());
    }
}

impl StatusMetrics {
    fn new(method: &str, route: &str, status: u16, families: &RequestFamilies) -> Self {
        let route = escaped(route);
        let otel_labels = format!(
            "http_request_method=\"{method}\",http_route=\"{route}\",http_response_status_code=\"{status}\"}} "
        );
        Self {
            labels: format!("method=\"{method}\",route=\"{route}\",status_code=\"{status}\"}} ").into(),
            otel_labels: otel_labels.into(),
            durations: families.bounds.durations(),
            exemplars: Exemplars::default(),
        }
    }

    fn add(&self, bounds: &Bounds, took: Duration, span: Option<&Span>) {
        let bucket = self.durations.add(bounds, took);
        if let Some(span) = span {
            self.exemplars.keep(bucket, took, span);
        }
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
    /// Counts the request with its response's status. Returns the time that the response took.
    pub fn finish(self, status: u16) -> Duration {
        self.finish_in(status, None)
    }

    /// Counts the request as [`finish`](Self::finish) does, and shows its span, if it has one, as an example of how long
    /// such requests take.
    pub fn finish_in(mut self, status: u16, span: Option<&Span>) -> Duration {
        self.finished = true;
        self.close(status, span)
    }

    /// The route's template, which is the `route` label.
    pub fn template(&self) -> &str {
        self.route.template()
    }

    /// The request's method, which is the `method` label.
    pub fn method(&self) -> &'static str {
        METHODS[self.method]
    }

    /// The moment that the request began.
    pub fn begun(&self) -> Instant {
        self.begun
    }

    /// The metrics of the route.
    pub fn route(&self) -> Arc<RouteMetrics> {
        Arc::clone(&self.route)
    }

    fn close(&self, status: u16, span: Option<&Span>) -> Duration {
        let took = self.begun.elapsed();
        self.route.method(self.method).in_progress.fetch_sub(1, Ordering::Relaxed);
        self.route.record(self.method, status, took, span);
        took
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if !self.finished {
            self.close(CLIENT_CLOSED_REQUEST, None);
        }
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
    fn a_status_that_no_standard_names_is_counted() {
        let metrics = Metrics::new(&MetricsOptions::default(), "1");
        let route = metrics.route("/x");
        route.begin(&Method::GET).finish(799);
        route.begin(&Method::GET).finish(799);
        let page = metrics.render(false);
        assert!(page.contains("http_requests_total{method=\"GET\",route=\"/x\",status_code=\"799\"} 2\n"), "{page}");
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
