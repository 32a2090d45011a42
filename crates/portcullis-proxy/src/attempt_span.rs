//! The span of one attempt to get a response from an upstream, by OpenTelemetry's stable conventions for HTTP clients.

use std::sync::Arc;

use http::{Method, StatusCode};
use portcullis_telemetry::traces::{Span, SpanId, SpanKind, span};

use crate::error::ProxyError;
use crate::upstreams::Target;

/// An attempt. It ends when it is dropped.
pub(crate) struct Attempt(Option<Span>);

impl Attempt {
    /// Begins an attempt, if the request is recorded. `repetition` is 0 for the first one.
    pub(crate) fn begin(method: &Method, upstream: &Arc<str>, repetition: u32) -> Self {
        let mut attempt = span("HTTP", SpanKind::Client);
        if let Some(span) = &mut attempt {
            span.rename(method.as_str().to_owned());
            span.set("http.request.method", method.as_str().to_owned());
            span.set("portcullis.upstream", Arc::clone(upstream));
            if repetition > 0 {
                span.set("http.request.resend_count", repetition);
            }
        }
        Self(attempt)
    }

    /// The id of the span, which the upstream's spans have as parent.
    pub(crate) fn id(&self) -> Option<SpanId> {
        self.0.as_ref().map(Span::id)
    }

    /// Names the target of the attempt.
    pub(crate) fn set_target(&mut self, target: &Target, path: &str) {
        let Some(span) = &mut self.0 else { return };
        let authority = target.authority.to_str().unwrap_or_default();
        span.set("url.full", format!("http://{authority}{path}"));
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().unwrap_or(80_u16)),
            _ => (authority, 80),
        };
        span.set("server.address", host.to_owned());
        span.set("server.port", port);
    }

    /// Marks the attempt as failed if the result is an error.
    pub(crate) fn note<T>(&mut self, result: Result<T, ProxyError>) -> Result<T, ProxyError> {
        if let (Some(span), Err(error)) = (&mut self.0, &result) {
            span.fail(error.proxy_status());
        }
        result
    }

    /// Ends the attempt with the head of the response.
    pub(crate) fn answered(mut self, status: StatusCode) {
        if let Some(span) = &mut self.0 {
            span.set("http.response.status_code", status.as_u16());
            // The conventions: for a client, 4xx are errors too.
            if status.is_client_error() || status.is_server_error() {
                span.fail(status.as_str().to_owned());
            }
        }
    }
}
