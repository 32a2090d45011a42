//! Whether a request came from a page of ours (requirement 27).

use http::HeaderMap;
use http::header::{HeaderName, ORIGIN, REFERER};

use crate::client_address::Origination;
use crate::config::GateConfig;
use crate::cors::Cors;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// An origin as a browser writes it: scheme, host, and the port unless it is the default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin(Box<str>);

impl Origin {
    /// From a URL; `None` when it has no host.
    pub fn of(url: &url::Url) -> Option<Self> {
        let origin = url.origin();
        origin.is_tuple().then(|| Self(origin.ascii_serialization().into()))
    }

    /// The text a browser sends.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether `origin` is ours: `PUBLIC_URL`'s, or without one the scheme and host of the request.
fn is_ours(origin: &str, config: &GateConfig, from: &Origination) -> bool {
    match &config.public_origin {
        Some(ours) => ours.as_str() == origin,
        None => {
            let host = from.host.as_ref().and_then(|host| host.to_str().ok());
            let rest = origin.strip_prefix(from.scheme()).and_then(|rest| rest.strip_prefix("://"));
            host.zip(rest).is_some_and(|(host, rest)| host.eq_ignore_ascii_case(rest))
        }
    }
}

/// Whether the request carries an `Origin` that is ours or allowed; without one it does not.
pub(crate) fn origin_allowed(headers: &HeaderMap, config: &GateConfig, cors: &Cors, from: &Origination) -> bool {
    let Some(origin) = single(headers, ORIGIN) else { return false };
    cors.allows(origin) || is_ours(origin, config, from)
}

/// Whether an unsafe request by cookie came from us or an allowed origin.
pub(crate) fn same_site(headers: &HeaderMap, config: &GateConfig, cors: &Cors, from: &Origination) -> bool {
    if single(headers, ORIGIN).is_some_and(|origin| cors.allows(origin)) {
        return true;
    }
    let site = headers.get(SEC_FETCH_SITE).map(http::HeaderValue::as_bytes);
    if matches!(site, Some(b"cross-site" | b"same-site")) {
        return false;
    }
    if headers.contains_key(ORIGIN) {
        return single(headers, ORIGIN).is_some_and(|origin| is_ours(origin, config, from));
    }
    if let Some(referer) = headers.get(REFERER) {
        let url = referer.to_str().ok().and_then(|text| url::Url::parse(text).ok());
        let origin = url.as_ref().and_then(Origin::of);
        return origin.is_some_and(|origin| cors.allows(origin.as_str()) || is_ours(origin.as_str(), config, from));
    }
    matches!(site, Some(b"same-origin" | b"none"))
}

fn single(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    }
}
