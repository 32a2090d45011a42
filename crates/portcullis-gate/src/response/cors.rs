//! The CORS headers of responses (docs/contract.md, "CORS"; SR-29).

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, HeaderMap, HeaderValue, VARY,
};

const REQUEST_HEADERS: &str = "Content-Type, Authorization, X-CSRF-Token, X-Requested-With, X-API-Version, \
     Accept-Version, X-API-Key, X-Request-Id, Idempotency-Key, traceparent, tracestate";
const EXPOSED: &str = "X-Request-Id, X-API-Version, RateLimit, RateLimit-Policy, Retry-After, Deprecation, Sunset";
const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";
/// How long a browser may remember a preflight, in seconds.
const MAX_AGE: u32 = 600;

/// Adds the headers that let the page at `origin` read the response.
pub(crate) fn add_headers(headers: &mut HeaderMap, origin: &HeaderValue) {
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
}

/// Adds the headers that a preflight asks for.
pub(crate) fn add_preflight_headers(headers: &mut HeaderMap) {
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(METHODS));
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(REQUEST_HEADERS));
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from(MAX_AGE));
}

/// Tells caches that the response depends on the request's origin.
pub(crate) fn add_vary(headers: &mut HeaderMap) {
    headers.append(VARY, HeaderValue::from_static("Origin"));
}
