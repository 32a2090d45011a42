//! What is known of a request from its first phase to its response.

use std::net::IpAddr;
use std::sync::Arc;

use http::header::{ACCEPT, HeaderMap, HeaderValue};
use http::{Method, Request, Response, Uri};
use portcullis_model::{Clock, UserId};
use portcullis_telemetry::{InFlight, RequestScope};

use crate::config::GateConfig;
use crate::request::head_fault::HeadFault;
use crate::request::request_id::RequestId;
use crate::request::trace_context::TraceContext;
use crate::response::plan::ResponsePlan;
use crate::routes::requested_path::is_api;

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
    /// The authenticated user, once the credential has been classified.
    pub(crate) user: Option<UserId>,
}

impl RequestContext {
    pub(crate) fn new<B>(names: RequestNames, request: &Request<B>, config: Arc<GateConfig>, clock: &Clock) -> Self {
        let mut context = Self::of_target(names, request.uri().clone(), config, clock);
        context.accept = accept(request.headers());
        context.response.close_connection = request.extensions().get::<HeadFault>().is_some();
        context
    }

    /// Returns the context of bytes that could not be read as a request. The connection ends with the response, because
    /// it is unknown where the next request begins.
    pub(crate) fn unparsed(names: RequestNames, config: Arc<GateConfig>, clock: &Clock) -> Self {
        let mut context = Self::of_target(names, Uri::from_static("/"), config, clock);
        context.response.close_connection = true;
        context
    }

    pub(crate) fn of_target(names: RequestNames, uri: Uri, config: Arc<GateConfig>, clock: &Clock) -> Self {
        // Every response under /api names a version: the default one, until the request's own is known.
        let version = is_api(uri.path()).then(|| config.versions.default_index(clock));
        Self {
            names,
            uri,
            accept: None,
            in_flight: None,
            response: ResponsePlan::new(version),
            is_proxied: false,
            client: None,
            user: None,
            config,
        }
    }

    /// Adds the gate's headers to the response, and counts the request as finished.
    pub(crate) fn finish<B>(&mut self, response: &mut Response<B>) {
        self.response.apply(&self.names.id, &self.config.versions, &self.config.security_headers, response);
        let in_flight =
            self.in_flight.take().unwrap_or_else(|| self.config.routes.unmatched().begin(&unknown_method()));
        in_flight.finish(response.status().as_u16());
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
        self.names.scope
    }

    /// Returns the route's template, or `unmatched`.
    pub fn route(&self) -> &str {
        self.in_flight.as_ref().map_or("unmatched", InFlight::template)
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

/// The value of `Accept`; of several fields, all of them as one list.
fn accept(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut fields = headers.get_all(ACCEPT).iter();
    match (fields.next()?, fields.next()) {
        (only, None) => Some(only.clone()),
        _ => {
            let all: Vec<&[u8]> = headers.get_all(ACCEPT).iter().map(HeaderValue::as_bytes).collect();
            HeaderValue::from_bytes(&all.join(&b", "[..])).ok()
        }
    }
}
