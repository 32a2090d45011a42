//! The gate: one plain function of named phases that every request passes,
//! whether it is for a built-in endpoint or for a service behind the gateway.
//!
//! It answers with a [`Refusal`] or with a [`Permit`]; destinations take a
//! permit, and only this crate makes one. It knows neither SQL nor how a token
//! is signed: it looks both up through the traits of `portcullis-model`.

mod arrivals;
mod asked;
mod authorise;
mod body;
mod careless;
mod client_address;
mod config;
mod context;
mod cookies;
mod cors;
mod credential;
mod csrf;
mod csrf_check;
mod explain;
mod finish;
mod gate;
mod head_fault;
mod limits;
mod origin;
mod path;
mod permit;
mod phase;
mod phases;
mod refusal;
mod refusals;
mod request_id;
mod route_table;
mod security_headers;
mod standings;
mod streams;
mod subject;
mod versions;

#[cfg(test)]
mod tests;

pub use body::{BodyError, InboundBody};
pub use client_address::Origination;
pub use config::{CsrfConfig, CsrfMode, GateConfig};
pub use context::Context;
pub use cookies::CookieName;
pub use cors::Cors;
pub use credential::{Principal, Via};
pub use csrf::CsrfTokens;
pub use explain::{Explanation, Rehearsal, RehearsedCaller, Step};
pub use gate::{Gate, GateParts, IssuedCsrf, Passage};
pub use head_fault::HeadFault;
pub use limits::{Limits, LimitsConfig};
pub use origin::Origin;
pub use path::{AmbiguousPath, normalise};
pub use permit::Permit;
pub use phase::Phase;
pub use refusal::{CsrfReason, Malformation, Refusal};
pub use refusals::RefusalRecord;
pub use request_id::{RequestId, TraceContext};
pub use route_table::{Destination, EndpointId, Route, RouteFault, RouteSpec, RouteTable};
pub use security_headers::{SecurityHeaderOptions, SecurityHeaders};
pub use standings::{LimitStanding, Whom};
pub use streams::{LiveStreams, StreamGuard};
pub use versions::{Version, Versions};
