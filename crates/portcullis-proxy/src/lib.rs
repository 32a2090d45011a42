//! The data plane: forwards permitted requests to upstreams and their responses to clients. It knows neither SQL nor
//! identity nor the settings file.

mod attempt_span;
mod body;
mod diagnosis;
mod error;
mod forward;
mod headers;
mod http1;
mod request_target;
mod tunnel;
mod upstreams;

pub use body::ProxyBody;
pub use diagnosis::diagnose;
pub use error::{ProxyError, UpstreamFault};
pub use forward::{Proxy, ProxyParts};
pub use upstreams::{ConnectError, FailedAttempts, TargetLimits, Upstream, Upstreams};
