//! The data plane: carries permitted requests to upstreams and their answers
//! back. Knows neither SQL nor identity nor settings files.

mod body;
mod carry;
mod error;
mod headers;
mod http1;
mod pool;
mod target;
mod tunnel;
mod upstream;
mod websocket;

pub use body::ProxyBody;
pub use carry::{Proxy, ProxyParts};
pub use error::ProxyError;
pub use http1::Broken;
pub use upstream::{Upstream, Upstreams};
