//! Requests and connections to upstreams.

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use super::Metrics;
use super::catalogue::Catalogue;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct UpstreamLabels {
    upstream: String,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LoadLabels {
    upstream: String,
}

/// Why a request was refused because its upstream has too many already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
#[expect(non_camel_case_types, reason = "the variants are the label's values")]
pub enum QueueRefusal {
    /// As many requests as the queue holds were waiting.
    queue_full,
    /// The request waited for as long as a request may.
    queue_timeout,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefusalLabels {
    upstream: String,
    reason: QueueRefusal,
}

pub(super) struct UpstreamFamilies {
    requests: Family<UpstreamLabels, Counter>,
    connections: Family<LoadLabels, Gauge>,
    queue_length: Family<LoadLabels, Gauge>,
    refused: Family<RefusalLabels, Counter>,
    body_failures: Family<LoadLabels, Counter>,
}

/// The connections of one upstream, the requests that wait for one, and the responses that broke off, as metrics.
pub struct UpstreamLoad {
    connections: Gauge,
    queue_length: Gauge,
    queue_full: Counter,
    queue_timeout: Counter,
    body_failures: Counter,
}

impl UpstreamLoad {
    /// Counts a connection that is being opened.
    pub fn connection_opened(&self) {
        self.connections.inc();
    }

    /// Counts a connection that was closed.
    pub fn connection_closed(&self) {
        self.connections.dec();
    }

    /// Counts a request that begins to wait.
    pub fn entered_queue(&self) {
        self.queue_length.inc();
    }

    /// Counts a request that waits no longer, for whatever reason.
    pub fn left_queue(&self) {
        self.queue_length.dec();
    }

    /// Counts a request that was refused.
    pub fn refused(&self, reason: QueueRefusal) {
        match reason {
            QueueRefusal::queue_full => self.queue_full.inc(),
            QueueRefusal::queue_timeout => self.queue_timeout.inc(),
        };
    }

    /// Counts a response that the upstream broke off within its body.
    pub fn body_failed(&self) {
        self.body_failures.inc();
    }
}

impl UpstreamFamilies {
    pub(super) fn register(catalogue: &mut Catalogue) -> Self {
        Self {
            requests: catalogue.counter(
                "upstream_requests",
                &["upstream", "outcome"],
                "Requests proxied to an upstream, by outcome",
            ),
            connections: catalogue.gauge(
                "upstream_connections",
                &["upstream"],
                "Open connections to an upstream, with the idle ones",
            ),
            queue_length: catalogue.gauge(
                "upstream_queue_length",
                &["upstream"],
                "Requests that wait for room at an upstream",
            ),
            refused: catalogue.counter(
                "upstream_refused",
                &["upstream", "reason"],
                "Requests refused because an upstream has too many, by reason",
            ),
            body_failures: catalogue.counter(
                "upstream_body_failures",
                &["upstream"],
                "Responses that an upstream broke off within their body",
            ),
        }
    }
}

impl Metrics {
    /// The counter of one upstream's requests with one outcome. The caller keeps it.
    pub fn upstream_requests(&self, upstream: &str, outcome: &'static str) -> Counter {
        self.0.upstreams.requests.get_or_create_owned(&UpstreamLabels { upstream: upstream.to_owned(), outcome })
    }

    /// The metrics of one upstream's connections and queue. The caller keeps them.
    pub fn upstream_load(&self, upstream: &str) -> UpstreamLoad {
        let families = &self.0.upstreams;
        let labels = LoadLabels { upstream: upstream.to_owned() };
        let refused =
            |reason| families.refused.get_or_create_owned(&RefusalLabels { upstream: upstream.to_owned(), reason });
        UpstreamLoad {
            connections: families.connections.get_or_create_owned(&labels),
            queue_length: families.queue_length.get_or_create_owned(&labels),
            queue_full: refused(QueueRefusal::queue_full),
            queue_timeout: refused(QueueRefusal::queue_timeout),
            body_failures: self.upstream_body_failures(upstream),
        }
    }

    /// The counter of one upstream's responses that broke off within their body. The caller keeps it.
    pub fn upstream_body_failures(&self, upstream: &str) -> Counter {
        self.0.upstreams.body_failures.get_or_create_owned(&LoadLabels { upstream: upstream.to_owned() })
    }
}
