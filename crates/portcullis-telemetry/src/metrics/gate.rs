//! Requests that the gate refused.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

use super::Metrics;
use super::catalogue::Catalogue;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LimitLabels {
    limit: String,
}

pub(super) struct GateFamilies {
    csrf_refusals: Family<ReasonLabels, Counter>,
    rate_limited: Family<LimitLabels, Counter>,
    csrf_reports: Family<ReasonLabels, Counter>,
}

impl GateFamilies {
    pub(super) fn register(catalogue: &mut Catalogue) -> Self {
        let reports = "Requests that the CSRF check would have refused, by reason (csrf.mode = \"report\")";
        Self {
            csrf_refusals: catalogue.counter(
                "csrf_refusals",
                &["reason"],
                "Requests refused by the CSRF check, by reason",
            ),
            rate_limited: catalogue.counter("rate_limited", &["limit"], "Requests refused by a rate limit, by limit"),
            csrf_reports: catalogue.counter("csrf_reports", &["reason"], reports),
        }
    }
}

impl Metrics {
    /// Begins the counters of a reason of the CSRF check at zero: one that begins with its first event hides that event
    /// from `increase` and `rate`.
    pub fn begin_csrf_reason(&self, reason: &'static str) {
        for family in [&self.0.gate.csrf_refusals, &self.0.gate.csrf_reports] {
            let _begins_at_zero = family.get_or_create(&ReasonLabels { reason });
        }
    }

    /// Begins the counter of a rate limit at zero, for the same reason. `limit` is the limit's name in the settings.
    pub fn begin_rate_limit(&self, limit: &str) {
        self.0.gate.rate_limited.get_or_create_owned(&LimitLabels { limit: limit.to_owned() });
    }

    /// Counts a request that the CSRF check refused.
    pub fn csrf_refusal(&self, reason: &'static str) {
        self.0.gate.csrf_refusals.get_or_create(&ReasonLabels { reason }).inc();
    }

    /// Counts a request that the CSRF check would have refused, had `csrf.mode` not been `report`.
    pub fn csrf_report(&self, reason: &'static str) {
        self.0.gate.csrf_reports.get_or_create(&ReasonLabels { reason }).inc();
    }

    /// Counts a request that a rate limit refused. `limit` is the limit's name in the settings.
    pub fn rate_limited(&self, limit: &str) {
        self.0.gate.rate_limited.get_or_create_owned(&LimitLabels { limit: limit.to_owned() }).inc();
    }
}
