//! What a family of metrics is called, means and is labelled with.

use std::borrow::Cow;

/// A family of metrics, as `docs/observability.md` lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetricFamily {
    /// The name in OpenMetrics: a counter's has no `_total`, an info's no `_info`.
    pub(super) name: &'static str,
    /// The type.
    pub kind: MetricKind,
    /// The labels of its samples, without a histogram's `le`.
    pub labels: &'static [&'static str],
    /// The meaning, without a full stop.
    pub help: &'static str,
}

/// The type of a family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// A number that only grows while the process runs.
    Counter,
    /// A number that rises and falls.
    Gauge,
    /// Counts of durations, by upper bound.
    Histogram,
    /// Always 1; the labels tell something about the process.
    Info,
}

impl MetricFamily {
    pub(super) const fn gauge(name: &'static str, help: &'static str) -> Self {
        Self { name, kind: MetricKind::Gauge, labels: &[], help }
    }

    pub(super) const fn counter(name: &'static str, help: &'static str) -> Self {
        Self { name, kind: MetricKind::Counter, labels: &[], help }
    }

    pub(super) const fn with_labels(self, labels: &'static [&'static str]) -> Self {
        Self { labels, ..self }
    }

    /// The name that queries use: a counter's ends in `_total`, an info's in `_info`. A histogram's samples add `_bucket`,
    /// `_sum` and `_count` to it.
    pub fn sample_name(&self) -> Cow<'static, str> {
        match self.kind {
            MetricKind::Counter => format!("{}_total", self.name).into(),
            MetricKind::Info => format!("{}_info", self.name).into(),
            MetricKind::Gauge | MetricKind::Histogram => self.name.into(),
        }
    }

    /// The unit of its values, by the end of its name. `None` for numbers of things.
    pub fn unit(&self) -> Option<&'static str> {
        let units = [
            ("_timestamp_seconds", "Unix seconds"),
            ("_start_time_seconds", "Unix seconds"),
            ("_seconds", "seconds"),
            ("_bytes", "bytes"),
        ];
        units.into_iter().find_map(|(suffix, unit)| self.name.ends_with(suffix).then_some(unit))
    }
}

impl MetricKind {
    /// The word of the text formats. The older one has no type `info`; such a family is a gauge there.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::Info => "info",
        }
    }
}
