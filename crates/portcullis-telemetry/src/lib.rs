//! Metric families (contract §7) and the functions that record them.
//!
//! No label ever takes a value that a client chose: routes are templates,
//! methods are the nine standard ones or `_OTHER`, the rest are words of ours.

mod families;
mod process;
mod route;
mod text;

pub use families::{CacheType, Metrics, MetricsOptions};
pub use route::{InFlight, RouteMetrics};
