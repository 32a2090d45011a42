//! What is known of a request from its first phase to its answer.

use std::net::IpAddr;
use std::sync::Arc;

use http::header::{ACCEPT, HeaderMap, HeaderName, HeaderValue, ORIGIN};
use http::request::Parts;
use http::{Method, Uri};
use portcullis_model::UserId;
use portcullis_telemetry::{InFlight, RouteMetrics};

use crate::asked::is_api;
use crate::config::GateConfig;
use crate::cors::Cors;
use crate::explain::Rehearsal;
use crate::head_fault::HeadFault;
use crate::limits::Standing;
use crate::phase::Watch;
use crate::request_id::RequestId;

// As a constant, because a name given as text is parsed at every look-up.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What is known of a request whether it is permitted or not.
pub struct Context {
    pub(crate) config: Arc<GateConfig>,
    pub(crate) request_id: RequestId,
    pub(crate) client_request_id: Option<HeaderValue>,
    pub(crate) uri: Uri,
    pub(crate) accept: Option<HeaderValue>,
    pub(crate) flight: Option<InFlight>,
    pub(crate) allowed_origin: Option<HeaderValue>,
    pub(crate) preflight: bool,
    pub(crate) ambiguous: bool,
    pub(crate) version: Option<usize>,
    pub(crate) standing: Option<Standing>,
    /// When it was judged, in Unix seconds: `standing` is of that moment.
    pub(crate) judged_at: i64,
    /// Whether the answer gets the headers that tell browsers to be careful.
    pub(crate) careful: bool,
    /// Whether the answer depends on the request's origin.
    pub(crate) vary_origin: bool,
    /// The client's address, once it is known.
    pub(crate) client: Option<IpAddr>,
    /// Who calls, once that is known.
    pub(crate) user: Option<UserId>,
}

impl Context {
    pub(crate) fn new(request_id: RequestId, parts: &Parts, config: Arc<GateConfig>) -> Self {
        let headers = &parts.headers;
        Self {
            client_request_id: headers.get(REQUEST_ID).filter(|id| is_client_request_id(id)).cloned(),
            accept: headers.get(ACCEPT).cloned(),
            ambiguous: parts.extensions.get::<HeadFault>().is_some(),
            ..Self::bare(request_id, parts.uri.clone(), config)
        }
    }

    /// Of something that was no request. What follows on its connection cannot be told from it.
    pub(crate) fn no_request(request_id: RequestId, flight: InFlight, config: Arc<GateConfig>) -> Self {
        Self { ambiguous: true, flight: Some(flight), ..Self::bare(request_id, Uri::from_static("/"), config) }
    }

    pub(crate) fn rehearsed(request_id: RequestId, rehearsal: &Rehearsal, config: Arc<GateConfig>) -> Self {
        Self::bare(request_id, rehearsal.uri.clone(), config)
    }

    fn bare(request_id: RequestId, uri: Uri, config: Arc<GateConfig>) -> Self {
        Self {
            request_id,
            client_request_id: None,
            // Until the path is known to be something else: every answer under /api names its version.
            version: is_api(uri.path()).then(|| config.versions.default_index()),
            uri,
            accept: None,
            flight: None,
            allowed_origin: None,
            preflight: false,
            ambiguous: false,
            standing: None,
            judged_at: 0,
            careful: true,
            vary_origin: false,
            client: None,
            user: None,
            config,
        }
    }

    /// Whether the page at the request's origin may read the answer, by the rules in force.
    pub(crate) fn look_at_origin(&mut self, cors: &Cors, headers: &HeaderMap) {
        self.vary_origin = !cors.is_off();
        self.allowed_origin =
            headers.get(ORIGIN).filter(|origin| origin.to_str().is_ok_and(|o| cors.allows(o))).cloned();
    }

    /// Counts the request as under way, unless it is a rehearsal.
    pub(crate) fn begin<W: Watch>(&mut self, metrics: &Arc<RouteMetrics>, method: &Method) {
        if !W::REHEARSAL {
            self.flight = Some(metrics.begin(method));
        }
    }

    /// The version of the API that is asked for.
    pub(crate) fn version_name(&self) -> Option<&str> {
        self.version.map(|index| self.config.versions.get(index).name.as_str())
    }

    /// What was found out about the request's origin, in words.
    pub(crate) fn describe_origin(&self, headers: &HeaderMap) -> String {
        match (headers.contains_key(ORIGIN), &self.allowed_origin) {
            (false, _) => "no Origin".to_owned(),
            (true, Some(_)) => "pages of this origin may read the answer".to_owned(),
            (true, None) => "pages of this origin may not read the answer".to_owned(),
        }
    }

    /// The path as the client wrote it.
    pub fn raw_path(&self) -> &str {
        self.uri.path()
    }

    /// Our name for the request.
    pub fn request_id(&self) -> &RequestId {
        &self.request_id
    }

    /// The client's own name for it, for logs.
    pub fn client_request_id(&self) -> Option<&str> {
        self.client_request_id.as_ref().and_then(|value| value.to_str().ok())
    }

    /// The route's template, or `unmatched`.
    pub fn route(&self) -> &str {
        self.flight.as_ref().map_or("unmatched", InFlight::template)
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

/// A client's own request id, if it is one that can be logged (contract §1).
pub(crate) fn is_client_request_id(value: &HeaderValue) -> bool {
    let bytes = value.as_bytes();
    (1..=64).contains(&bytes.len()) && bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_request_id_is_kept_only_if_it_can_be_logged() {
        for (id, kept) in [
            ("abc-1.2_3", true),
            ("", false),
            ("a b", false),
            ("a\tb", false),
            (&"x".repeat(64), true),
            (&"x".repeat(65), false),
        ] {
            assert_eq!(is_client_request_id(&HeaderValue::from_str(id).expect("a value")), kept, "{id:?}");
        }
    }
}
