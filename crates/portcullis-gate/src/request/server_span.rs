//! The span of a request, by OpenTelemetry's stable conventions for HTTP.

use http::header::{HeaderName, USER_AGENT};
use http::{Request, Version};
use portcullis_telemetry::InFlight;
use portcullis_telemetry::traces::{Span, SpanKind, Tracer};

use crate::decision::context::RequestContext;
use crate::request::trace_context::TraceContext;

/// The longest text of a client that a span holds, in bytes.
const MAX_TEXT: usize = 512;
/// The `error.type` of a response that ended before it was complete, because its client or the gateway ended it.
pub(crate) const CUT_OFF: &str = "response_cut_off";

/// Begins the span of a request that is recorded.
pub(crate) fn begin<B>(tracer: &'static Tracer, trace: &TraceContext, request: &Request<B>) -> Span {
    let mut span = unparsed(tracer, trace);
    span.set("url.path", shortened(request.uri().path()));
    let version = match request.version() {
        Version::HTTP_2 => "2",
        Version::HTTP_10 => "1.0",
        _ => "1.1",
    };
    span.set("network.protocol.version", version);
    let header = |name: HeaderName| request.headers().get(name).and_then(|value| value.to_str().ok());
    if let Some(agent) = header(USER_AGENT) {
        span.set("user_agent.original", shortened(agent));
    }
    span
}

/// Begins the span of bytes that could not be read as a request.
pub(crate) fn unparsed(tracer: &'static Tracer, trace: &TraceContext) -> Span {
    tracer.span_with_id(trace.span_id(), trace.lineage(), "HTTP", SpanKind::Server)
}

/// Begins the span of a request that is not recorded and failed: its error is kept all the same.
pub(crate) fn of_error(context: &RequestContext, in_flight: &InFlight, status: u16) -> Option<Span> {
    if status < 500 {
        return None;
    }
    let mut span = unparsed(Tracer::get()?, &context.names.trace);
    span.begun_at(in_flight.begun());
    span.set("url.path", shortened(context.uri.path()));
    Some(span)
}

/// Adds what is known once a response begins.
pub(crate) fn respond(span: &mut Span, context: &RequestContext, in_flight: &InFlight, status: u16) {
    let method = in_flight.method();
    span.set("http.request.method", method);
    // The conventions: a method that is not known is called HTTP.
    let shown = if method == "_OTHER" { "HTTP" } else { method };
    match in_flight.template() {
        "unmatched" => span.rename(shown),
        route => {
            span.rename(format!("{shown} {route}"));
            span.set("http.route", route.to_owned());
        }
    }
    span.set("http.response.status_code", status);
    span.set("url.scheme", if context.is_https { "https" } else { "http" });
    if let Some(client) = context.client {
        span.set("client.address", client.to_string());
    }
    span.set("portcullis.request_id", context.names.id.as_str().to_owned());
    if status >= 500 {
        span.fail(status.to_string());
    }
}

/// Ends the span with its response. `received` and `sent` are the bytes of both bodies, as far as they were counted.
pub(crate) fn end(mut span: Span, received: Option<u64>, sent: u64, is_cut_off: bool) {
    if let Some(received) = received {
        span.set("http.request.body.size", received);
    }
    span.set("http.response.body.size", sent);
    if is_cut_off {
        span.fail(CUT_OFF);
    }
}

/// Returns the beginning of a client's text.
fn shortened(text: &str) -> String {
    let end = (0..=MAX_TEXT.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or_default();
    text[..end].to_owned()
}
