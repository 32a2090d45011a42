//! The CORS headers of responses (docs/contract.md, "CORS"; SR-29).

use http::Method;
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, HeaderMap, HeaderName,
    HeaderValue, VARY,
};
use portcullis_model::policy::CorsPolicy;

const REQUEST_HEADERS: &str = "Content-Type, Authorization, X-CSRF-Token, X-Requested-With, X-API-Version, \
     Accept-Version, X-API-Key, X-Request-Id, Idempotency-Key, traceparent, tracestate";
const EXPOSED: &str = "X-Request-Id, X-API-Version, RateLimit, RateLimit-Policy, Retry-After, Deprecation, Sunset";
const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";
/// How long a browser may remember a preflight, in seconds.
const MAX_AGE: u32 = 600;

/// The beginning of the names of every CORS header of a response.
const PREFIX: &str = "access-control-";

/// The lists of a route that has more than the gateway's own ones.
#[derive(Debug)]
pub(crate) struct RouteLists {
    request_headers: HeaderValue,
    exposed: HeaderValue,
}

impl RouteLists {
    /// Returns the lists of a policy; `None` if they are the gateway's. A name that is no header's is left out.
    pub(crate) fn of(policy: &CorsPolicy) -> Option<Self> {
        let CorsPolicy::Gateway { request_headers, expose_headers } = policy else { return None };
        let has_more = !request_headers.is_empty() || !expose_headers.is_empty();
        has_more.then(|| Self {
            request_headers: joined(REQUEST_HEADERS, request_headers.iter().map(String::as_str)),
            exposed: joined(EXPOSED, expose_headers.iter().map(String::as_str)),
        })
    }
}

/// Removes what an upstream says about CORS, because the gateway's policy is the only one, and returns the headers that it
/// exposes.
pub(crate) fn take_from_upstream(headers: &mut HeaderMap) -> Vec<HeaderValue> {
    // Few responses have any, and comparing names costs less than looking each of them up.
    let names = |headers: &HeaderMap| {
        headers.keys().filter(|name| name.as_str().starts_with(PREFIX)).cloned().collect::<Vec<HeaderName>>()
    };
    let mut exposed = Vec::new();
    for name in names(headers) {
        if name == ACCESS_CONTROL_EXPOSE_HEADERS {
            exposed.extend(headers.get_all(&name).iter().cloned());
        }
        headers.remove(name);
    }
    exposed
}

/// Adds the headers that let the page at `origin` read the response. `of_upstream` are the headers that the upstream exposes.
pub(crate) fn add_headers(
    headers: &mut HeaderMap,
    origin: &HeaderValue,
    lists: Option<&RouteLists>,
    of_upstream: &[HeaderValue],
) {
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    let ours = lists.map_or(HeaderValue::from_static(EXPOSED), |lists| lists.exposed.clone());
    let exposed = if of_upstream.is_empty() {
        ours
    } else {
        let theirs = of_upstream.iter().filter_map(|value| value.to_str().ok()).flat_map(|list| list.split(','));
        joined(ours.to_str().unwrap_or(EXPOSED), theirs)
    };
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
}

/// Adds the headers that a preflight for a method asks for.
pub(crate) fn add_preflight_headers(headers: &mut HeaderMap, method: &Method, lists: Option<&RouteLists>) {
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, joined(METHODS, [method.as_str()].into_iter()));
    let request_headers =
        lists.map_or(HeaderValue::from_static(REQUEST_HEADERS), |lists| lists.request_headers.clone());
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, request_headers);
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from(MAX_AGE));
}

/// Tells caches that the response depends on the request's origin, unless it says so already.
pub(crate) fn add_vary(headers: &mut HeaderMap) {
    let known: Vec<&str> = headers.get_all(VARY).iter().filter_map(|value| value.to_str().ok()).collect();
    let mut tokens = known.iter().flat_map(|list| list.split(',')).map(str::trim);
    if tokens.any(|token| token == "*" || token.eq_ignore_ascii_case("origin")) {
        return;
    }
    let joined = (!known.is_empty()).then(|| HeaderValue::try_from(format!("{}, Origin", known.join(", "))));
    headers.insert(VARY, joined.and_then(Result::ok).unwrap_or(HeaderValue::from_static("Origin")));
}

/// Joins a list of ours with further names. A name that is in the list already, and what is no name, is left out; `*` is
/// no wildcard for requests with credentials (Fetch §4.9).
fn joined<'n>(ours: &str, more: impl Iterator<Item = &'n str>) -> HeaderValue {
    let mut list = ours.to_owned();
    for name in more.map(str::trim) {
        let is_known = list.split(", ").any(|known| known.eq_ignore_ascii_case(name));
        if !is_known && name != "*" && HeaderName::from_bytes(name.as_bytes()).is_ok() {
            list.push_str(", ");
            list.push_str(name);
        }
    }
    HeaderValue::try_from(list).expect("names of headers, commas and spaces are a header value")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vary(lines: &[&'static str]) -> Vec<String> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(VARY, HeaderValue::from_static(line));
        }
        add_vary(&mut headers);
        headers.get_all(VARY).iter().map(|value| value.to_str().expect("text").to_owned()).collect()
    }

    #[test]
    fn vary_names_the_origin_exactly_once() {
        assert_eq!(vary(&[]), ["Origin"]);
        assert_eq!(vary(&["Accept-Encoding"]), ["Accept-Encoding, Origin"]);
        assert_eq!(vary(&["Accept", "Cookie"]), ["Accept, Cookie, Origin"]);
        for lines in [&["Origin"][..], &["Accept, origin"], &["Accept", "ORIGIN ,Cookie"], &["*"]] {
            assert_eq!(vary(lines), lines, "it stays as it is");
        }
    }

    #[test]
    fn lists_are_joined_without_repetition_and_wildcard() {
        let theirs = ["X-Total", " x-request-id", "*", "", "a b", "x-total"];
        assert_eq!(joined("X-Request-Id, RateLimit", theirs.into_iter()), "X-Request-Id, RateLimit, X-Total");
    }

    #[test]
    fn everything_that_an_upstream_says_about_cors_is_taken() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("access-control-allow-origin", "*"),
            ("access-control-allow-credentials", "true"),
            ("access-control-expose-headers", "X-Total"),
            ("access-control-expose-headers", "X-Page"),
            ("access-control-allow-private-network", "true"),
            ("content-type", "text/plain"),
        ] {
            headers.append(name, HeaderValue::from_static(value));
        }
        assert_eq!(take_from_upstream(&mut headers), ["X-Total", "X-Page"]);
        assert_eq!(headers.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["content-type"]);
    }
}
