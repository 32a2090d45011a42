//! Requests to upstreams.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

use super::Metrics;
use super::catalogue::Catalogue;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct UpstreamLabels {
    upstream: String,
    outcome: &'static str,
}

pub(super) struct UpstreamFamilies {
    requests: Family<UpstreamLabels, Counter>,
}

impl UpstreamFamilies {
    pub(super) fn register(catalogue: &mut Catalogue) -> Self {
        Self { requests: catalogue.counter("upstream_requests", "Requests proxied to an upstream, by outcome") }
    }
}

impl Metrics {
    /// The counter of one upstream's requests with one outcome. The caller keeps it.
    pub fn upstream_requests(&self, upstream: &str, outcome: &'static str) -> Counter {
        self.0.upstreams.requests.get_or_create_owned(&UpstreamLabels { upstream: upstream.to_owned(), outcome })
    }
}
