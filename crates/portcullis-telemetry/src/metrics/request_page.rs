//! The families of requests on the page for scrapers. They are most of the page, so their labels and the beginning of each
//! line are made once, and numbers are written without the formatting machinery. Only OpenMetrics has exemplars.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::durations::Bounds;
use super::exemplars::Exemplar;
use super::family::{MetricFamily, MetricKind};
use super::requests::{RouteMetrics, StatusMetrics};
use super::text_format::{Page, TextFormat};
use crate::decimal::{push_digits, push_number};

/// The bounds of `http_server_request_duration_seconds`: those of OpenTelemetry's semantic conventions, in seconds.
const OTEL_BOUNDS: [f64; 14] = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

const REQUESTS: MetricFamily =
    MetricFamily::counter("http_requests", "Requests that got a response, refused and malformed ones included")
        .with_labels(&["method", "route", "status_code"]);
const IN_PROGRESS: MetricFamily = MetricFamily::gauge("http_requests_in_progress", "Requests without a response yet")
    .with_labels(&["method", "route"]);
const SECONDS: MetricFamily = MetricFamily {
    name: "http_request_duration_seconds",
    kind: MetricKind::Histogram,
    labels: &["method", "route", "status_code"],
    help: "Time from the end of a request's head to the end of its response's head, in seconds",
};
const OTEL_SECONDS: MetricFamily = MetricFamily {
    name: "http_server_request_duration_seconds",
    kind: MetricKind::Histogram,
    labels: &["http_request_method", "http_route", "http_response_status_code"],
    help: "The same time in the finer buckets and with the labels of OpenTelemetry's conventions",
};

/// The families of requests: each is a view of the same counts.
pub(super) struct RequestFamilies {
    pub(super) bounds: Bounds,
    seconds: HistogramLines,
    otel_seconds: Option<HistogramLines>,
}

/// What is read of one histogram at a time.
#[derive(Default)]
struct Scratch {
    counts: Vec<u64>,
    exemplars: Vec<Exemplar>,
}

/// The beginnings of a histogram's lines, up to the labels.
struct HistogramLines {
    /// With the number of the bucket whose count, with all shorter ones, the line shows. The last line is of all.
    buckets: Vec<(usize, String)>,
    sum: String,
    count: String,
}

impl RequestFamilies {
    pub(super) fn new(bounds: &[f64], fine: bool) -> Self {
        let otel: &[f64] = if fine { &OTEL_BOUNDS } else { &[] };
        let all = Bounds::merged([bounds, otel].into_iter());
        Self {
            seconds: HistogramLines::new(SECONDS.name, bounds, &all),
            otel_seconds: fine.then(|| HistogramLines::new(OTEL_SECONDS.name, &OTEL_BOUNDS, &all)),
            bounds: all,
        }
    }

    pub(super) fn families(&self) -> Vec<MetricFamily> {
        let always = [REQUESTS, IN_PROGRESS, SECONDS];
        always.into_iter().chain(self.otel_seconds.is_some().then_some(OTEL_SECONDS)).collect()
    }

    pub(super) fn append(&self, routes: &[Arc<RouteMetrics>], page: &mut Page) {
        // Each family lists them again, and a method has room for two dozen statuses, of which few occur.
        let mut statuses = Vec::new();
        routes.iter().flat_map(|route| route.methods()).for_each(|method| method.add_statuses(&mut statuses));
        page.head(&REQUESTS);
        for status in &statuses {
            page.text.push_str("http_requests_total{");
            end_line(&mut page.text, &status.labels, status.durations.count());
        }
        page.head(&IN_PROGRESS);
        for method in routes.iter().flat_map(|route| route.methods()) {
            page.text.push_str("http_requests_in_progress{");
            let count = u64::try_from(method.in_progress.load(Ordering::Relaxed)).unwrap_or(0);
            end_line(&mut page.text, &method.labels, count);
        }
        let mut scratch = Scratch::default();
        page.head(&SECONDS);
        for status in &statuses {
            self.seconds.append(page, &status.labels, status, &mut scratch);
        }
        if let Some(lines) = &self.otel_seconds {
            page.head(&OTEL_SECONDS);
            for status in &statuses {
                lines.append(page, &status.otel_labels, status, &mut scratch);
            }
        }
    }
}

impl HistogramLines {
    fn new(name: &str, bounds: &[f64], all: &Bounds) -> Self {
        let line = |bound: &f64| (all.index_of(*bound), format!("{name}_bucket{{le=\"{bound:?}\","));
        let mut buckets: Vec<_> = bounds.iter().map(line).collect();
        buckets.push((usize::MAX, format!("{name}_bucket{{le=\"+Inf\",")));
        Self { buckets, sum: format!("{name}_sum{{"), count: format!("{name}_count{{") }
    }

    fn append(&self, page: &mut Page, labels: &str, status: &StatusMetrics, scratch: &mut Scratch) {
        let Scratch { counts, exemplars } = scratch;
        let sum = status.durations.sum();
        status.durations.cumulative(counts);
        if page.format == TextFormat::OpenMetrics {
            status.exemplars.read(exemplars);
        }
        let text = &mut page.text;
        let total = counts.last().copied().unwrap_or(0);
        let mut first = 0;
        for (bucket, line) in &self.buckets {
            text.push_str(line);
            text.push_str(labels);
            push_number(text, counts.get(*bucket).copied().unwrap_or(total));
            Exemplar::push_latest(exemplars, first..=*bucket, text);
            text.push('\n');
            first = bucket.saturating_add(1);
        }
        text.push_str(&self.sum);
        text.push_str(labels);
        push_seconds(text, sum);
        text.push('\n');
        text.push_str(&self.count);
        end_line(text, labels, total);
    }
}

fn end_line(page: &mut String, labels: &str, number: u64) {
    page.push_str(labels);
    push_number(page, number);
    page.push('\n');
}

/// Writes nanoseconds as seconds, with every digit.
pub(super) fn push_seconds(page: &mut String, nanoseconds: u64) {
    push_number(page, nanoseconds / 1_000_000_000);
    page.push('.');
    let first = page.len();
    push_digits::<9>(page, nanoseconds % 1_000_000_000);
    let zeros = page[first..].bytes().rev().take_while(|digit| *digit == b'0').count();
    page.truncate((page.len() - zeros).max(first + 1));
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::Method;

    use super::*;
    use crate::traces::{SpanId, TraceId};
    use crate::{Metrics, MetricsOptions};

    #[test]
    fn seconds_are_written_with_every_digit() {
        for (nanoseconds, written) in [(0, "0.0"), (1, "0.000000001"), (1_500_000_000, "1.5"), (60_000_000_000, "60.0")]
        {
            let mut page = String::new();
            push_seconds(&mut page, nanoseconds);
            assert_eq!(page, written);
        }
    }

    #[test]
    fn one_request_is_the_same_in_all_three_families() {
        let metrics = Metrics::new(&MetricsOptions::default(), "1");
        metrics.route("/x\"y").begin(&Method::GET).finish(200);
        let page = metrics.render(false);
        for line in [
            r#"http_requests_total{method="GET",route="/x\"y",status_code="200"} 1"#,
            r#"http_request_duration_seconds_bucket{le="0.1",method="GET",route="/x\"y",status_code="200"} 1"#,
            r#"http_request_duration_seconds_bucket{le="+Inf",method="GET",route="/x\"y",status_code="200"} 1"#,
            r#"http_request_duration_seconds_count{method="GET",route="/x\"y",status_code="200"} 1"#,
            r#"http_server_request_duration_seconds_bucket{le="10.0",http_request_method="GET",http_route="/x\"y",http_response_status_code="200"} 1"#,
            r#"http_server_request_duration_seconds_count{http_request_method="GET",http_route="/x\"y",http_response_status_code="200"} 1"#,
        ] {
            assert!(page.contains(&format!("{line}\n")), "{line} in\n{page}");
        }
        let bounds = |family: &str| page.lines().filter(|line| line.starts_with(&format!("{family}_bucket{{"))).count();
        assert_eq!((bounds("http_request_duration_seconds"), bounds("http_server_request_duration_seconds")), (7, 15));
    }

    #[test]
    fn without_fine_buckets_there_is_no_family_of_them() {
        let metrics = Metrics::new(&MetricsOptions { fine: false, ..MetricsOptions::default() }, "1");
        metrics.route("/x").begin(&Method::GET).finish(200);
        let page = metrics.render(false);
        assert!(!page.contains("http_server_request_duration_seconds"), "{page}");
        assert!(page.contains(
            r#"http_request_duration_seconds_bucket{le="10.0",method="GET",route="/x",status_code="200"} 1"#
        ));
    }

    #[test]
    fn a_bucket_of_openmetrics_has_the_latest_recorded_request() {
        let metrics = Metrics::new(&MetricsOptions::default(), "1");
        let route = metrics.route("/x");
        route.begin(&Method::GET).finish(200);
        let exemplar = |bucket, milliseconds, at| Exemplar {
            bucket,
            trace_id: TraceId::own(*b"0af7651916cd43dd8448eb211c80319c"),
            span_id: SpanId::new(at),
            took: Duration::from_millis(milliseconds),
            at,
        };
        let last = Bounds::merged([&[0.1, 0.5, 1.0, 2.0, 5.0, 10.0][..], &OTEL_BOUNDS].into_iter()).index_of(11.0);
        let kept = [exemplar(0, 2, 7), exemplar(0, 3, 1_500_000_000), exemplar(5, 90, 9), exemplar(last, 70_000, 8)];
        let mut statuses = Vec::new();
        route.methods().for_each(|method| method.add_statuses(&mut statuses));
        statuses.iter().for_each(|status| kept.iter().for_each(|exemplar| status.exemplars.replace(*exemplar)));
        let page = metrics.render(true);
        let shown = |family: &str, bound: &str| {
            let start = format!("{family}_bucket{{le=\"{bound}\",");
            let line = page.lines().find(|line| line.starts_with(&start)).unwrap_or_else(|| panic!("{start}"));
            line.split_once(" # ").map(|(_, exemplar)| exemplar)
        };
        let trace = r#"{trace_id="0af7651916cd43dd8448eb211c80319c",span_id="#;
        let of_both = format!(r#"{trace}"0000000059682f00"}} 0.003 1.5"#);
        assert_eq!(shown(SECONDS.name, "0.1"), Some(&*of_both), "{page}");
        assert_eq!(shown(OTEL_SECONDS.name, "0.005"), Some(&*of_both));
        assert_eq!(shown(OTEL_SECONDS.name, "0.1"), Some(&*format!(r#"{trace}"0000000000000009"}} 0.09 0.000000009"#)));
        for family in [SECONDS.name, OTEL_SECONDS.name] {
            let slowest = format!(r#"{trace}"0000000000000008"}} 70.0 0.000000008"#);
            assert_eq!(shown(family, "+Inf"), Some(&*slowest));
            assert_eq!(shown(family, "10.0"), None);
        }
        assert!(!metrics.render(false).contains(" # {"));
    }
}
