//! What the gate adds to a response, collected while the request passes the phases.

use std::sync::Arc;

use http::header::{CONNECTION, HeaderMap, HeaderName, HeaderValue, ORIGIN};
use http::{Method, Response, StatusCode};

use crate::limits::state::RateLimitState;
use crate::request::origin::AllowedOrigins;
use crate::request::request_id::RequestId;
use crate::response::security_headers::SecurityHeaders;
use crate::response::{cors, rate_limit_headers, version_headers};
use crate::routes::route::Route;
use crate::routes::versions::Versions;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The headers that a response gets, whether it is a refusal, a built-in endpoint's or an upstream's.
pub(crate) struct ResponsePlan {
    /// The request's origin, if its pages may read the response.
    pub(crate) allowed_origin: Option<HeaderValue>,
    /// Whether the response depends on the request's origin.
    pub(crate) vary_origin: bool,
    /// Whether the response is an upstream's on a route that leaves CORS to it.
    pub(crate) leaves_cors: bool,
    /// The route, if it has CORS lists of its own.
    pub(crate) cors_of_route: Option<Arc<Route>>,
    /// The method that a preflight asks about, if the gate answers it.
    pub(crate) preflight: Option<Method>,
    /// Whether the connection must not be used again: the bytes after the request may be the rest of its body.
    pub(crate) close_connection: bool,
    pub(crate) has_security_headers: bool,
    /// The version that the response names, as an index into the versions.
    pub(crate) version: Option<usize>,
    /// The state of the tightest limit.
    pub(crate) rate_limit: Option<RateLimitState>,
    /// When the request was decided on, in Unix seconds: `rate_limit` is of that moment.
    pub(crate) decided_at: i64,
}

impl ResponsePlan {
    pub(crate) fn new(version: Option<usize>, close_connection: bool) -> Self {
        Self {
            allowed_origin: None,
            vary_origin: false,
            leaves_cors: false,
            cors_of_route: None,
            preflight: None,
            close_connection,
            has_security_headers: true,
            version,
            rate_limit: None,
            decided_at: 0,
        }
    }

    /// Decides whether the page at the request's origin may read the response.
    pub(crate) fn check_origin(&mut self, allowed: &AllowedOrigins, headers: &HeaderMap) {
        self.vary_origin = !allowed.is_empty();
        let is_allowed = |origin: &&HeaderValue| origin.to_str().is_ok_and(|origin| allowed.allows(origin));
        let origin = if allowed.is_empty() { None } else { headers.get(ORIGIN) };
        self.allowed_origin = origin.filter(is_allowed).cloned();
    }

    /// Leaves the CORS headers of the response to the upstream.
    pub(crate) fn leave_cors(&mut self) {
        (self.leaves_cors, self.vary_origin, self.allowed_origin) = (true, false, None);
    }

    /// Keeps the state if it is tighter than the one known so far. A limit that refused stays.
    pub(crate) fn tighten(&mut self, state: RateLimitState) {
        let is_tighter = |known: &RateLimitState| known.retry.is_none() && state.remaining <= known.remaining;
        if self.rate_limit.as_ref().is_none_or(is_tighter) {
            self.rate_limit = Some(state);
        }
    }

    /// Adds the headers.
    pub(crate) fn apply<B>(
        &self,
        request_id: &RequestId,
        versions: &Versions,
        security: &SecurityHeaders,
        response: &mut Response<B>,
    ) {
        if self.preflight.is_some() {
            *response.status_mut() = StatusCode::NO_CONTENT;
        }
        let headers = response.headers_mut();
        let id = HeaderValue::from_bytes(request_id.as_bytes()).expect("hexadecimal digits are a header value");
        headers.insert(REQUEST_ID, id);
        if self.close_connection {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        if self.has_security_headers {
            security.add_to(headers);
        }
        if !self.leaves_cors {
            self.add_cors(headers);
        }
        if let Some(version) = self.version {
            version_headers::add_headers(headers, versions.get(version));
        }
        if let Some(state) = &self.rate_limit {
            rate_limit_headers::add_headers(headers, state, self.decided_at);
        }
    }

    fn add_cors(&self, headers: &mut HeaderMap) {
        let exposed_by_upstream = cors::take_from_upstream(headers);
        if self.vary_origin {
            cors::add_vary(headers);
        }
        if let Some(origin) = &self.allowed_origin {
            let lists = self.cors_of_route.as_ref().and_then(|route| route.cors_lists.as_ref());
            cors::add_headers(headers, origin, lists, &exposed_by_upstream);
            if let Some(method) = &self.preflight {
                cors::add_preflight_headers(headers, method, lists);
            }
        }
    }
}
