//! Where spans are sent and what is recorded.

use std::fmt;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Uri};

use super::{CollectorTls, Sampler};

/// The settings of the export of traces, as OpenTelemetry names them.
#[derive(Clone)]
pub struct TraceOptions {
    /// The collector's address: for HTTP the whole URL, for gRPC scheme and authority.
    pub endpoint: Uri,
    /// How spans are sent.
    pub protocol: OtlpProtocol,
    /// How the spans of a request are compressed.
    pub compression: Compression,
    /// Fields of every request to the collector. Their values are secrets.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The longest time of one request to the collector.
    pub timeout: Duration,
    /// TLS towards a collector whose address begins with `https`.
    pub tls: CollectorTls,
    /// How spans are gathered.
    pub batching: Batching,
    /// The attributes of the process, such as `service.name`.
    pub resource: Vec<(String, String)>,
    /// Which traces are recorded.
    pub sampler: Sampler,
}

/// How finished spans are gathered and sent (OpenTelemetry's batch span processor).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batching {
    /// How long a span waits for others at most.
    pub delay: Duration,
    /// The most spans that wait. A span takes about 1 KB.
    pub queue: usize,
    /// The most spans of one request to the collector.
    pub batch: usize,
    /// The longest time that a batch is tried for.
    pub timeout: Duration,
}

impl Default for Batching {
    fn default() -> Self {
        Self { delay: Duration::from_secs(1), queue: 8192, batch: 512, timeout: Duration::from_secs(30) }
    }
}

/// A protocol of OTLP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OtlpProtocol {
    /// Protobuf over HTTP.
    Http,
    /// gRPC over HTTP/2.
    Grpc,
}

/// A compression of OTLP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// None.
    #[default]
    None,
    /// gzip (RFC 1952).
    Gzip,
}

impl fmt::Debug for TraceOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let headers: Vec<&HeaderName> = self.headers.iter().map(|(name, _)| name).collect();
        f.debug_struct("TraceOptions")
            .field("endpoint", &self.endpoint)
            .field("protocol", &self.protocol)
            .field("compression", &self.compression)
            .field("headers", &headers)
            .field("timeout", &self.timeout)
            .field("tls", &self.tls)
            .field("batching", &self.batching)
            .field("resource", &self.resource)
            .field("sampler", &self.sampler)
            .finish()
    }
}
