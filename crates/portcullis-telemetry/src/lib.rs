//! Metrics (`docs/contract.md`, "Metrics") and logs (`docs/logging.md`).
//!
//! No metric label takes a value that a client chose: routes are templates, methods are the nine standard ones or
//! `_OTHER`, and the other labels have values from fixed lists.

pub mod logs;
mod metrics;

pub use logs::{LogFormat, LogOptions, RequestScope};
pub use metrics::{CacheType, InFlight, Metrics, MetricsOptions, QueueRefusal, RouteMetrics, UpstreamLoad};
