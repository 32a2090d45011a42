//! Metrics (`docs/contract.md`, "Metrics"), logs (`docs/logging.md`), errors (`docs/errors.md`) and
//! traces (`docs/tracing.md`).
//!
//! No metric label takes a value that a client chose: routes are templates, methods are the nine standard ones or
//! `_OTHER`, and the other labels have values from fixed lists.
//!
//! # Recording
//!
//! [`Metrics`] holds every family of a process and is cheap to clone. What a caller records appears at the next scrape:
//!
//! | what happened | function | family |
//! |---|---|---|
//! | a request | [`Metrics::route`] once per route, then [`RouteMetrics::begin`] and [`InFlight::finish`] | `http_requests_total`, `http_requests_in_progress`, `http_request_duration_seconds`, `http_server_request_duration_seconds` |
//! | an attempt to authenticate | [`Metrics::auth_attempt`] | `auth_attempts_total` |
//! | a statement, and its failure | [`Metrics::database_query`], [`Metrics::database_error`] | `database_query_duration_seconds`, `database_errors_total` |
//! | a look-up in a cache | [`Metrics::cache_hit`], [`Metrics::cache_miss`] | `cache_hits_total`, `cache_misses_total` |
//! | a value that its owner holds | [`Metrics::read_value`], [`Metrics::read_values`] | see [`ReadMetric`] |
//!
//! ```
//! use std::time::Duration;
//!
//! use http::Method;
//! use portcullis_telemetry::{CacheType, Metrics, MetricsOptions, ReadMetric};
//!
//! let metrics = Metrics::new(&MetricsOptions::default(), "1.0.0");
//!
//! // A request: the route's handles are resolved once and kept.
//! let route = metrics.route("/api/v1/users/{id}");
//! let request = route.begin(&Method::GET);
//! metrics.cache_miss(CacheType::memory);
//! metrics.database_query("SELECT", "users", Duration::from_millis(3));
//! request.finish(200);
//!
//! // A request that is dropped before it is finished counts as 499: its client went away.
//! drop(route.begin(&Method::GET));
//!
//! metrics.auth_attempt("login", false);
//! metrics.read_value(ReadMetric::LiveStreams, || Some(2.0));
//!
//! let page = metrics.render(false);
//! for line in [
//!     r#"http_requests_total{method="GET",route="/api/v1/users/{id}",status_code="200"} 1"#,
//!     r#"http_requests_total{method="GET",route="/api/v1/users/{id}",status_code="499"} 1"#,
//!     r#"database_query_duration_seconds_count{operation="SELECT",table="users"} 1"#,
//!     r#"auth_attempts_total{status="failure",type="login"} 1"#,
//!     r#"cache_misses_total{cache_type="memory"} 1"#,
//!     "live_streams 2",
//! ] {
//!     assert!(page.lines().any(|found| found == line), "{line}");
//! }
//! ```

mod decimal;
pub mod errors;
pub mod logs;
mod metrics;
pub mod traces;

pub use errors::Errors;
pub use logs::{AccessLine, LogFormat, LogOptions, RequestScope};
pub use metrics::{
    CLIENT_CLOSED_REQUEST, CacheType, InFlight, MetricFamily, MetricKind, Metrics, MetricsOptions, QueueRefusal,
    ReadMetric, RouteMetrics, UpstreamLoad,
};
