//! CORS by exact origin (contract §6, requirement 29).

use std::collections::HashSet;

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, HeaderMap, HeaderValue, VARY,
};

/// The origins whose pages may read answers.
#[derive(Clone, Debug, Default)]
pub struct Cors {
    allowed: HashSet<Box<str>>,
}

const REQUEST_HEADERS: &str = "Content-Type, Authorization, X-CSRF-Token, X-Requested-With, X-API-Version, \
     Accept-Version, X-API-Key, X-Request-Id, Idempotency-Key, traceparent, tracestate";
const EXPOSED: &str = "X-Request-Id, X-API-Version, RateLimit, RateLimit-Policy, Retry-After, Deprecation, Sunset";
const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";
/// How long a browser may remember a preflight, in seconds.
const MAX_AGE: u32 = 600;

impl Cors {
    /// With exact origins, as browsers send them.
    pub fn new(origins: impl IntoIterator<Item = String>) -> Self {
        Self { allowed: origins.into_iter().map(Into::into).collect() }
    }

    /// Whether this very origin is allowed. `null` never is.
    pub fn allows(&self, origin: &str) -> bool {
        !self.allowed.is_empty() && self.allowed.contains(origin)
    }

    pub(crate) fn is_off(&self) -> bool {
        self.allowed.is_empty()
    }
}

/// Adds what lets the page at `origin` read the answer.
pub(crate) fn add_headers(headers: &mut HeaderMap, origin: &HeaderValue) {
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
}

/// Adds what a preflight asks for.
pub(crate) fn add_preflight_headers(headers: &mut HeaderMap) {
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(METHODS));
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(REQUEST_HEADERS));
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from(MAX_AGE));
}

/// Tells caches that the answer depends on who asks.
pub(crate) fn vary(headers: &mut HeaderMap) {
    headers.append(VARY, HeaderValue::from_static("Origin"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sr_29_origins_are_compared_exactly() {
        let cors = Cors::new(["https://app.example.com".to_owned()]);
        assert!(cors.allows("https://app.example.com"));
        for other in
            ["http://app.example.com", "https://app.example.com:443", "https://app.example.com.evil", "null", "", "*"]
        {
            assert!(!cors.allows(other), "{other}");
        }
        assert!(!Cors::default().allows("null"));
    }
}
