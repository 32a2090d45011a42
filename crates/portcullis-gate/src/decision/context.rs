//! What is known of a request from its first phase to its response.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use http::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{Method, Response, StatusCode, Uri};
use portcullis_model::{Clock, UserId};
use portcullis_telemetry::errors::HandledRequest;
use portcullis_telemetry::traces::Span;
use portcullis_telemetry::{CLIENT_CLOSED_REQUEST, InFlight, RequestScope};

use crate::access_log::{AccessLog, AccessRecord, ReceivedBytes, Shown, TunnelRecord};
use crate::config::GateConfig;
use crate::request::request_id::RequestId;
use crate::request::server_span;
use crate::request::trace_context::TraceContext;
use crate::response::plan::ResponsePlan;
use crate::routes::requested_path::is_api;

/// Whether open requests are cut off because the process ends. The process has one, as it ends once, and a request looks at
/// it only when it is dropped unfinished.
static CUTS_OFF: AtomicBool = AtomicBool::new(false);
/// The `error.type` of a request that the end of the drain cut off.
const DRAIN_TIMEOUT: &str = "drain_timeout";

const EVENT_STREAM: &[u8] = b"text/event-stream";

/// A method that no client can send. Metrics count it as `_OTHER`.
fn unknown_method() -> Method {
    Method::from_bytes(b"MALFORMED").expect("a token")
}

/// What a request is called in responses, traces and logs. It is known before the first phase.
pub(crate) struct RequestNames {
    pub(crate) id: RequestId,
    pub(crate) trace: TraceContext,
    pub(crate) scope: RequestScope,
}

/// What is known of a request, whether it is permitted or not.
pub struct RequestContext {
    pub(crate) config: Arc<GateConfig>,
    pub(crate) names: RequestNames,
    pub(crate) uri: Uri,
    pub(crate) accept: Option<HeaderValue>,
    /// Counts the request as in progress, from the moment its route is known. A request that never got so far, because
    /// it could not be parsed or a phase panicked, is counted when it is finished.
    pub(crate) in_flight: Option<InFlight>,
    pub(crate) response: ResponsePlan,
    /// Whether the request's route leads to an upstream, once the route is known.
    pub(crate) is_proxied: bool,
    /// The client's address, once it is known.
    pub(crate) client: Option<IpAddr>,
    /// The request's method; `None` for bytes that were no request.
    pub(crate) method: Option<Method>,
    /// Who connected to us.
    pub(crate) peer: IpAddr,
    /// The call to the upstream, for the access log.
    upstream: Option<UpstreamCall>,
    /// Counts the bytes of the request's body, for the access log.
    pub(crate) received: Option<ReceivedBytes>,
    /// The authenticated user, once the credential has been classified.
    pub(crate) user: Option<UserId>,
    /// Whether the client speaks TLS, once its address is known; before, whether the peer does.
    pub(crate) is_https: bool,
    /// The request's span, if it is recorded.
    pub(crate) span: Option<Span>,
}

/// A call to an upstream, and how long it took until the head of its response came or it failed.
struct UpstreamCall {
    name: Arc<str>,
    begun: Instant,
    took: Option<Duration>,
}

/// What is known of a request when its context is made.
pub(crate) struct RequestStart {
    pub(crate) names: RequestNames,
    pub(crate) peer: IpAddr,
    pub(crate) is_https: bool,
    pub(crate) uri: Uri,
    pub(crate) method: Option<Method>,
    pub(crate) accept: Option<HeaderValue>,
    /// Whether the connection ends with the response.
    pub(crate) close_connection: bool,
    pub(crate) span: Option<Span>,
    pub(crate) config: Arc<GateConfig>,
}

impl RequestContext {
    /// Makes the context in one expression: one that is changed before it is returned is copied as a whole, each time.
    #[inline]
    pub(crate) fn new(start: RequestStart, clock: &Clock) -> Self {
        // Every response under /api names a version: the default one, until the request's own is known.
        let version = is_api(start.uri.path()).then(|| start.config.versions.default_index(clock));
        Self {
            names: start.names,
            uri: start.uri,
            accept: start.accept,
            in_flight: None,
            response: ResponsePlan::new(version, start.close_connection),
            is_proxied: false,
            client: None,
            method: start.method,
            peer: start.peer.to_canonical(),
            upstream: None,
            received: None,
            user: None,
            is_https: start.is_https,
            span: start.span,
            config: start.config,
        }
    }

    /// Notes that the request goes to an upstream now, if the access log may show it.
    pub fn upstream_begins(&mut self, name: &Arc<str>) {
        if self.may_be_shown() {
            self.upstream = Some(UpstreamCall { name: Arc::clone(name), begun: Instant::now(), took: None });
        }
    }

    /// Notes that the head of the upstream's response came, or that the upstream failed.
    pub fn upstream_ended(&mut self) {
        if let Some(call) = &mut self.upstream {
            call.took = Some(call.begun.elapsed());
        }
    }

    /// Adds the gate's headers to the response, and counts the request as finished. Returns what its line of the access log
    /// and its span will show of the response, unless a tunnel holds that.
    pub(crate) fn finish<B>(&mut self, response: &mut Response<B>) -> Option<AccessRecord> {
        self.response.apply(&self.names.id, &self.config.versions, &self.config.security_headers, response);
        let in_flight =
            self.in_flight.take().unwrap_or_else(|| self.config.routes.unmatched().begin(&unknown_method()));
        let mut record = self.close(in_flight, response.status().as_u16())?;
        if record.has_span() && is_event_stream(response.headers()) {
            record.is_ended_by_client();
        }
        if response.status() == StatusCode::SWITCHING_PROTOCOLS
            && let Some(tunnel) = response.extensions_mut().remove::<Arc<TunnelRecord>>()
        {
            tunnel.hold(record);
            return None;
        }
        // Nobody asks the body of a response to HEAD for its end.
        if self.method == Some(Method::HEAD) {
            record.complete();
        }
        Some(record)
    }

    /// Whether the access log may show the request.
    pub(crate) fn may_be_shown(&self) -> bool {
        self.config.access_log != AccessLog::Off
    }

    /// Counts the request as finished with this status. Returns what the access log and its span will show of the response.
    fn close(&mut self, in_flight: InFlight, status: u16) -> Option<AccessRecord> {
        let mut span = self.span.take().or_else(|| server_span::of_error(self, &in_flight, status));
        if let Some(span) = &mut span {
            server_span::respond(span, self, &in_flight, status);
        } else if !self.may_be_shown() {
            in_flight.finish(status);
            return None;
        }
        let (begun, route) = (in_flight.begun(), in_flight.route());
        let until_head = in_flight.finish_in(status, span.as_ref());
        let has_line = self.config.access_log.shows(&self.names.id, status, until_head);
        if !has_line && span.is_none() {
            return None;
        }
        let upstream = self.upstream.take().map(|call| (call.name, call.took.unwrap_or_else(|| call.begun.elapsed())));
        Some(AccessRecord::new(Shown {
            has_line,
            span,
            is_open_ended: false,
            scope: self.names.scope.clone(),
            target: self.method.clone().map(|method| (method, self.uri.clone())),
            route,
            status,
            begun,
            upstream,
            user: self.user,
            client: self.client.unwrap_or(self.peer),
            received: self.received.take(),
            sent: 0,
            is_complete: false,
        }))
    }

    /// Returns the version of the API that the response names.
    pub(crate) fn version_name(&self) -> Option<&str> {
        self.response.version.map(|index| self.config.versions.get(index).name.as_str())
    }

    /// Returns the path as the client wrote it.
    pub fn raw_path(&self) -> &str {
        self.uri.path()
    }

    /// Returns the id that the gateway gave the request.
    pub fn request_id(&self) -> &RequestId {
        &self.names.id
    }

    /// Returns the scope that puts the request's ids on the log lines of all work for it.
    pub fn scope(&self) -> RequestScope {
        self.names.scope.clone()
    }

    /// Returns the route's template, or `unmatched`.
    pub fn route(&self) -> &str {
        self.in_flight.as_ref().map_or("unmatched", InFlight::template)
    }

    /// Returns the request as it is reported once it has been answered with this status; `None` before its route is known.
    pub fn handled(&self, status: u16) -> Option<HandledRequest<'_>> {
        let in_flight = self.in_flight.as_ref()?;
        Some(HandledRequest {
            scope: &self.names.scope,
            span_id: self.names.trace.span_id(),
            method: in_flight.method(),
            route: in_flight.template(),
            status,
            took: in_flight.begun().elapsed(),
        })
    }

    /// Whether the request's route leads to an upstream.
    pub fn is_proxied(&self) -> bool {
        self.is_proxied
    }

    /// Whether the client prefers a problem document (RFC 9457) to the envelope.
    pub fn prefers_problem(&self) -> bool {
        let Some(accept) = self.accept.as_ref().map(|value| String::from_utf8_lossy(value.as_bytes())) else {
            return false;
        };
        let quality = |wanted: &str| {
            accept
                .split(',')
                .filter_map(|range| {
                    let mut parts = range.split(';').map(str::trim);
                    parts.next().filter(|kind| kind.eq_ignore_ascii_case(wanted))?;
                    let q = parts.find_map(|p| p.strip_prefix("q=")).and_then(|q| q.parse::<f32>().ok());
                    Some(q.unwrap_or(1.0))
                })
                .fold(0.0f32, f32::max)
        };
        let problem = quality("application/problem+json");
        problem > 0.0 && problem >= quality("application/json")
    }
}

impl Drop for RequestContext {
    /// A request that was not finished has lost its client, or the process ends. It is counted and shown as such.
    fn drop(&mut self) {
        let Some(in_flight) = self.in_flight.take() else { return };
        if !CUTS_OFF.load(Ordering::Relaxed) {
            drop(self.close(in_flight, CLIENT_CLOSED_REQUEST));
            return;
        }
        let status = StatusCode::SERVICE_UNAVAILABLE.as_u16();
        self.span = self.span.take().or_else(|| server_span::of_error(self, &in_flight, status));
        if let Some(span) = &mut self.span {
            span.fail(DRAIN_TIMEOUT);
        }
        drop(self.close(in_flight, status));
    }
}

/// Shows each request that is dropped unfinished from now on as one that the gateway cut off, and not its client.
pub fn cut_off_requests() {
    CUTS_OFF.store(true, Ordering::Relaxed);
}

/// Whether the response is an event stream, which the client ends when it has read enough (HTML §9.2).
fn is_event_stream(headers: &HeaderMap) -> bool {
    let media_type = headers.get(CONTENT_TYPE).map_or(&[][..], HeaderValue::as_bytes);
    media_type.get(..EVENT_STREAM.len()).is_some_and(|start| start.eq_ignore_ascii_case(EVENT_STREAM))
}

/// The value of `Accept`; of several fields, all of them as one list.
pub(crate) fn accept(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut fields = headers.get_all(ACCEPT).iter();
    match (fields.next()?, fields.next()) {
        (only, None) => Some(only.clone()),
        _ => {
            let all: Vec<&[u8]> = headers.get_all(ACCEPT).iter().map(HeaderValue::as_bytes).collect();
            HeaderValue::from_bytes(&all.join(&b", "[..])).ok()
        }
    }
}
