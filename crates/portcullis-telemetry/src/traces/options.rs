//! Where spans are sent and what is recorded.

use std::fmt;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Uri};

use super::Sampler;

/// The settings of the export of traces, as OpenTelemetry names them.
#[derive(Clone)]
pub struct TraceOptions {
    /// The collector's address: for HTTP the whole URL, for gRPC scheme and authority.
    pub endpoint: Uri,
    /// How spans are sent.
    pub protocol: OtlpProtocol,
    /// Fields of every request to the collector. Their values are secrets.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The longest time of one request to the collector.
    pub timeout: Duration,
    /// The attributes of the process, such as `service.name`.
    pub resource: Vec<(String, String)>,
    /// Which traces are recorded.
    pub sampler: Sampler,
}

/// A protocol of OTLP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OtlpProtocol {
    /// Protobuf over HTTP.
    Http,
    /// gRPC over HTTP/2.
    Grpc,
}

impl fmt::Debug for TraceOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let headers: Vec<&HeaderName> = self.headers.iter().map(|(name, _)| name).collect();
        f.debug_struct("TraceOptions")
            .field("endpoint", &self.endpoint)
            .field("protocol", &self.protocol)
            .field("headers", &headers)
            .field("timeout", &self.timeout)
            .field("resource", &self.resource)
            .field("sampler", &self.sampler)
            .finish()
    }
}
