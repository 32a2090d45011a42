//! What is known of a request from its first phase to its response.

use std::net::IpAddr;
use std::sync::Arc;

use http::header::{ACCEPT, HeaderValue};
use http::request::Parts;
use http::{Response, Uri};
use portcullis_model::UserId;
use portcullis_telemetry::InFlight;

use crate::config::GateConfig;
use crate::request::head_fault::HeadFault;
use crate::request::request_id::RequestId;
use crate::response::plan::ResponsePlan;
use crate::routes::requested_path::is_api;

/// What is known of a request, whether it is permitted or not.
pub struct RequestContext {
    pub(crate) config: Arc<GateConfig>,
    pub(crate) request_id: RequestId,
    pub(crate) uri: Uri,
    pub(crate) accept: Option<HeaderValue>,
    /// Counts the request as in progress, from the moment its route is known.
    pub(crate) in_flight: Option<InFlight>,
    pub(crate) response: ResponsePlan,
    /// The client's address, once it is known.
    pub(crate) client: Option<IpAddr>,
    /// The authenticated user, once the credential has been classified.
    pub(crate) user: Option<UserId>,
}

impl RequestContext {
    pub(crate) fn new(request_id: RequestId, parts: &Parts, config: Arc<GateConfig>) -> Self {
        let mut context = Self::of_target(request_id, parts.uri.clone(), config);
        context.accept = parts.headers.get(ACCEPT).cloned();
        context.response.close_connection = parts.extensions.get::<HeadFault>().is_some();
        context
    }

    /// Returns the context of bytes that could not be read as a request. The connection ends with the response, because
    /// it is unknown where the next request begins.
    pub(crate) fn unparsed(request_id: RequestId, in_flight: InFlight, config: Arc<GateConfig>) -> Self {
        let mut context = Self::of_target(request_id, Uri::from_static("/"), config);
        context.response.close_connection = true;
        context.in_flight = Some(in_flight);
        context
    }

    pub(crate) fn of_target(request_id: RequestId, uri: Uri, config: Arc<GateConfig>) -> Self {
        // Every response under /api names a version: the default one, until the request's own is known.
        let version = is_api(uri.path()).then(|| config.versions.default_index());
        Self {
            request_id,
            uri,
            accept: None,
            in_flight: None,
            response: ResponsePlan::new(version),
            client: None,
            user: None,
            config,
        }
    }

    /// Adds the gate's headers to the response, and counts the request as finished.
    pub(crate) fn finish<B>(self, response: &mut Response<B>) {
        self.response.apply(&self.request_id, &self.config.versions, &self.config.security_headers, response);
        if let Some(in_flight) = self.in_flight {
            in_flight.finish(response.status().as_u16());
        }
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
        &self.request_id
    }

    /// Returns the route's template, or `unmatched`.
    pub fn route(&self) -> &str {
        self.in_flight.as_ref().map_or("unmatched", InFlight::template)
    }

    /// Whether the client prefers a problem document (RFC 9457) to the envelope.
    pub fn prefers_problem(&self) -> bool {
        let Some(accept) = self.accept.as_ref().and_then(|value| value.to_str().ok()) else { return false };
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
