//! Metrics (`docs/contract.md`, "Metrics"), logs (`docs/logging.md`) and errors (`docs/errors.md`).
//!
//! No metric label takes a value that a client chose: routes are templates, methods are the nine standard ones or
//! `_OTHER`, and the other labels have values from fixed lists.

pub mod errors;
pub mod logs;
mod metrics;

pub use errors::Errors;
pub use logs::{LogFormat, LogOptions, RequestScope};
pub use metrics::{
    CacheType, InFlight, MetricFamily, MetricKind, Metrics, MetricsOptions, QueueRefusal, ReadMetric, RouteMetrics,
    UpstreamLoad,
};
