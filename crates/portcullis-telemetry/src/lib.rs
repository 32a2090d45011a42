//! Metrics (`docs/contract.md`, "Metrics"), logs (`docs/logging.md`), errors (`docs/errors.md`) and traces.
//!
//! No metric label takes a value that a client chose: routes are templates, methods are the nine standard ones or
//! `_OTHER`, and the other labels have values from fixed lists.

pub mod errors;
pub mod logs;
mod metrics;
mod traces;

pub use errors::Errors;
pub use logs::{AccessLine, LogFormat, LogOptions, RequestScope};
pub use metrics::{
    CLIENT_CLOSED_REQUEST, CacheType, InFlight, MetricFamily, MetricKind, Metrics, MetricsOptions, QueueRefusal,
    ReadMetric, RouteMetrics, UpstreamLoad,
};
pub use traces::{SpanId, TraceId};
