//! Whether a request comes from a page of ours (docs/contract.md, "CSRF"; SR-27).

use http::HeaderMap;
use http::header::{HeaderName, ORIGIN, REFERER};

use crate::request::client_address::RequestSource;
use crate::request::origin::{AllowedOrigins, Origin};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The origins whose pages may send requests by cookie: the gateway's own, and the allowed ones.
pub(crate) struct SiteRules<'a> {
    /// The origin of `PUBLIC_URL`. Without it the gateway's own origin is the scheme and host of the request.
    pub(crate) public_origin: Option<&'a Origin>,
    pub(crate) allowed: &'a AllowedOrigins,
    pub(crate) source: &'a RequestSource,
}

impl SiteRules<'_> {
    /// Whether the request has an `Origin`, and that origin is our own or allowed.
    pub(crate) fn allow_origin_of(&self, headers: &HeaderMap) -> bool {
        single(headers, ORIGIN).is_some_and(|origin| self.allow(origin))
    }

    /// Whether an unsafe request or a WebSocket handshake by cookie was sent by a page of ours or of an allowed origin. `Sec-Fetch-Site` counts
    /// before `Origin`, and `Origin` before `Referer`; a request with none of them is refused.
    pub(crate) fn allow_cookie_request(&self, headers: &HeaderMap) -> bool {
        if single(headers, ORIGIN).is_some_and(|origin| self.allowed.allows(origin)) {
            return true;
        }
        let site = headers.get(SEC_FETCH_SITE).map(http::HeaderValue::as_bytes);
        if matches!(site, Some(b"cross-site" | b"same-site")) {
            return false;
        }
        if headers.contains_key(ORIGIN) {
            return single(headers, ORIGIN).is_some_and(|origin| self.is_ours(origin));
        }
        if let Some(referer) = headers.get(REFERER) {
            // Only its origin counts. Some browsers send the path in UTF-8 or in the encoding of the page.
            let url = url::Url::parse(&String::from_utf8_lossy(referer.as_bytes())).ok();
            return url.as_ref().and_then(Origin::of).is_some_and(|origin| self.allow(origin.as_str()));
        }
        matches!(site, Some(b"same-origin" | b"none"))
    }

    fn allow(&self, origin: &str) -> bool {
        self.allowed.allows(origin) || self.is_ours(origin)
    }

    fn is_ours(&self, origin: &str) -> bool {
        if let Some(ours) = self.public_origin {
            return ours.as_str() == origin;
        }
        let host = self.source.host.as_ref().and_then(|host| host.to_str().ok());
        let rest = origin.strip_prefix(self.source.scheme()).and_then(|rest| rest.strip_prefix("://"));
        host.zip(rest).is_some_and(|(host, rest)| host.eq_ignore_ascii_case(rest))
    }
}

/// Returns a header's value if the header is sent once and is text.
fn single(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    }
}
