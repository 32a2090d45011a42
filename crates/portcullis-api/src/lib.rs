//! The built-in API: its endpoints, their handlers, its description, and the one place where errors become responses.
//!
//! A handler takes a [`Call`], which holds the gate's `Permit`, and the typed parts of the request; it calls one use case
//! and returns a [`Reply`] or an [`ApiError`]. There is no second router behind the gate: the gate matched the endpoint
//! and hands over its number.

mod api_keys;
mod audit;
mod auth;
mod call;
mod cookies;
mod endpoint;
mod error;
mod errors;
mod gateway;
mod idempotency;
mod input;
mod openapi;
mod operation;
mod reply;
mod services;
mod setup;
mod system;
mod users;

pub use audit::AuditEntry;
pub use call::Call;
pub use endpoint::row::Endpoint;
pub use endpoint::{description, endpoints, is_metrics, metrics_route_specs, respond, route_specs};
pub use error::{ApiError, ErrorContext, ErrorKind, Fault};
pub use errors::ErrorEntry;
pub use gateway::explain::{Explanation, NOBODY, THIS_MACHINE, parse_dry_run};
pub use gateway::rate_limits::{LIMITS_RESET, RateLimits, RateLimitsReset};
pub use openapi::ApiDescription;
pub use reply::{Reply, ReplyBody};
pub use services::{Lifecycle, Services, SharedStatus};
pub use system::health::reading::DatabaseReading;
pub use system::starting::Starting;
