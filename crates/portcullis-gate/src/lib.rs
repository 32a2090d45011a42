//! The gate that every request passes, whether it is for a built-in endpoint or for a service behind the gateway.
//!
//! The phases stand in one plain function, `decision/phases.rs`, in the order in which a request passes them. They end
//! in a [`Permit`], which only this crate makes and without which no destination accepts a request, in a preflight, or
//! in a [`Refusal`]. The gate knows neither SQL nor how a token is signed: it looks up sessions and tokens through the
//! traits of `portcullis-model`.

mod access_log;
mod config;
mod credential;
mod csrf;
mod decimal;
mod decision;
mod gate;
mod limits;
mod live_streams;
mod request;
mod response;
mod routes;

#[cfg(test)]
mod tests;

pub use access_log::{AccessLog, AccessRecord, TunnelRecord};
pub use config::GateConfig;
pub use credential::{CredentialKind, Principal};
pub use csrf::check::CsrfReason;
pub use csrf::config::{CsrfConfig, CsrfMode};
pub use csrf::tokens::{CsrfTokens, IssuedCsrf};
pub use decision::context::{RequestContext, cut_off_requests};
pub use decision::dry_run::{DryRun, DryRunCaller, Explanation, Step};
pub use decision::permit::Permit;
pub use decision::phase::Phase;
pub use decision::refusal::{Malformation, Refusal};
pub use decision::refusal_log::RefusalRecord;
pub use decision::verdict::Verdict;
pub use gate::{Gate, GateParts};
pub use limits::inspection::{RateLimitReset, RateLimitUsage};
pub use limits::key::RateLimitKey;
pub use limits::rules::{Limits, LimitsConfig};
pub use live_streams::{LiveStreams, StreamEnd, StreamGuard};
pub use request::body::{BodyError, InboundBody};
pub use request::client_address::{Peer, RequestSource};
pub use request::cookies::CookieName;
pub use request::head_fault::HeadFault;
pub use request::origin::{AllowedOrigins, Origin};
pub use request::path::{AmbiguousPath, normalise};
pub use request::propagation::Propagation;
pub use request::request_id::RequestId;
pub use request::trace_context::{TraceContext, is_b3_field};
pub use request::upgrade::asks_for_web_socket;
pub use response::security_headers::{SecurityHeaderOptions, SecurityHeaders};
pub use routes::route::{Destination, EndpointId, Route, RouteError, RouteSpec};
pub use routes::table::RouteTable;
pub use routes::versions::{NoDefaultVersion, Version, VersionStage, Versions, VersionsAt};
