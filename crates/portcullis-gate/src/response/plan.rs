//! What the gate adds to a response, collected while the request passes the phases.

use http::header::{CONNECTION, HeaderMap, HeaderName, HeaderValue, ORIGIN};
use http::{Response, StatusCode};

use crate::limits::state::RateLimitState;
use crate::request::origin::AllowedOrigins;
use crate::request::request_id::RequestId;
use crate::response::security_headers::SecurityHeaders;
use crate::response::{cors, rate_limit_headers, version_headers};
use crate::routes::versions::Versions;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The headers that a response gets, whether it is a refusal, a built-in endpoint's or an upstream's.
pub(crate) struct ResponsePlan {
    /// The request's origin, if its pages may read the response.
    pub(crate) allowed_origin: Option<HeaderValue>,
    /// Whether the response depends on the request's origin.
    pub(crate) vary_origin: bool,
    pub(crate) is_preflight: bool,
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
    pub(crate) fn new(version: Option<usize>) -> Self {
        Self {
            allowed_origin: None,
            vary_origin: false,
            is_preflight: false,
            close_connection: false,
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
        if self.is_preflight {
            *response.status_mut() = StatusCode::NO_CONTENT;
        }
        let headers = response.headers_mut();
        let id = HeaderValue::from_str(request_id.as_str()).expect("hexadecimal digits are a header value");
        headers.insert(REQUEST_ID, id);
        if self.close_connection {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        if self.has_security_headers {
            security.add_to(headers);
        }
        if self.vary_origin {
            cors::add_vary(headers);
        }
        if let Some(origin) = &self.allowed_origin {
            cors::add_headers(headers, origin);
            if self.is_preflight {
                cors::add_preflight_headers(headers);
            }
        }
        if let Some(version) = self.version {
            version_headers::add_headers(headers, versions.get(version));
        }
        if let Some(state) = &self.rate_limit {
            rate_limit_headers::add_headers(headers, state, self.decided_at);
        }
    }
}
