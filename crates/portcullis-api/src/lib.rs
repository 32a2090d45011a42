//! The built-in API: which endpoints there are, what each does, and the one
//! place where errors become responses.
//!
//! A handler takes a [`Call`], which holds the gate's `Permit`; calls one use
//! case; and returns a [`Reply`] or a [`Fault`]. There is no second router
//! behind the gate: the gate matched the endpoint, and hands over its number.

mod account;
mod api_keys;
mod audit;
mod auth;
mod body;
mod call;
mod cookies;
mod csrf;
mod endpoint;
mod fault;
mod gateway;
mod health;
mod idempotency;
mod openapi;
mod password;
mod query;
mod reply;
mod services;
mod setup;
mod starting;
mod system;
mod users;

pub use audit::record_json;
pub use call::Call;
pub use endpoint::{Endpoint, answer, endpoints, route_specs};
pub use fault::{Fault, FaultContext};
pub use gateway::{LIMITS_RESET, NOBODY, THIS_MACHINE, explanation_json, limits_json, rehearsal, reset_json};
pub use openapi::openapi_json;
pub use reply::{Reply, ReplyBody};
pub use services::{Lifecycle, Services, SharedStatus};
pub use starting::Starting;
