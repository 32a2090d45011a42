//! A request's head as the phases read it, and the checks of its framing.

use http::header::{CONTENT_LENGTH, EXPECT, HOST, HeaderMap, HeaderValue, ORIGIN, TRANSFER_ENCODING, UPGRADE};
use http::{Method, Uri};

use crate::request::client_address::Peer;
use crate::request::head_fault::HeadFault;
use crate::request::host;

/// The longest request target, in bytes (RFC 9110 §4.1 recommends at least 8000).
const MAX_TARGET_BYTES: usize = 16 * 1024;

/// The head that the gate decides by.
pub(crate) struct RequestHead<'a> {
    /// Who connected to us, be it a client or a proxy.
    pub(crate) peer: Peer,
    pub(crate) method: &'a Method,
    pub(crate) uri: &'a Uri,
    pub(crate) headers: &'a HeaderMap,
    /// What the edge found wrong with the head's bytes.
    pub(crate) fault: Option<HeadFault>,
    /// Whether the request's version of HTTP requires a `Host` header.
    pub(crate) needs_host: bool,
}

/// The fields that must be readable in one way only (SR-39).
pub(crate) struct Framing<'a> {
    /// The declared length of the body in bytes.
    pub(crate) length: Option<u64>,
    pub(crate) host: Option<&'a HeaderValue>,
}

/// Two parsers could read the request differently.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ambiguous;

impl<'a> RequestHead<'a> {
    /// Reads length and host, and checks that they and the framing can be read in one way only (SR-39).
    pub(crate) fn framing(&self) -> Result<Framing<'a>, Ambiguous> {
        if self.fault == Some(HeadFault::Ambiguous) {
            return Err(Ambiguous);
        }
        Ok(Framing { length: only_length(self.headers)?.and_then(length_of), host: self.only_host()? })
    }

    /// Whether the host that the request names is one (SR-63). An upstream would be told it in `X-Forwarded-Host`.
    pub(crate) fn has_valid_host(&self, framing: &Framing<'_>) -> bool {
        match (framing.host, self.uri.authority()) {
            // `only_host` has compared the two.
            (Some(host), _) => host::is_valid(host.as_bytes()),
            (None, Some(authority)) => host::is_valid(authority.as_str().as_bytes()),
            (None, None) => true,
        }
    }

    /// Whether path and query together are longer than the gate accepts.
    pub(crate) fn is_target_too_long(&self) -> bool {
        self.uri.path_and_query().is_some_and(|target| target.as_str().len() > MAX_TARGET_BYTES)
    }

    /// Whether the client expects something other than `100-continue` (RFC 9110 §10.1.1).
    pub(crate) fn has_unknown_expectation(&self) -> bool {
        self.headers.get(EXPECT).is_some_and(|expected| !expected.as_bytes().eq_ignore_ascii_case(b"100-continue"))
    }

    /// RFC 9112 §3.2: HTTP/1.1 names a host exactly once, and a host in the target must be the same one.
    fn only_host(&self) -> Result<Option<&'a HeaderValue>, Ambiguous> {
        let mut hosts = self.headers.get_all(HOST).iter();
        let host = hosts.next();
        let agrees = match (host, hosts.next(), self.uri.authority()) {
            (Some(host), None, Some(authority)) => host.as_bytes().eq_ignore_ascii_case(authority.as_str().as_bytes()),
            (Some(_), None, None) => true,
            (None, ..) => !self.needs_host,
            (Some(_), Some(_), _) => false,
        };
        agrees.then_some(host).ok_or(Ambiguous)
    }

    /// The method that a CORS preflight asks about; `None` for every other request. No preflight asks to switch protocols:
    /// one that an upstream answers passes without credential and must not open a tunnel.
    pub(crate) fn preflight_method(&self) -> Option<Method> {
        if *self.method != Method::OPTIONS || !self.headers.contains_key(ORIGIN) || self.headers.contains_key(UPGRADE) {
            return None;
        }
        Method::from_bytes(self.headers.get("access-control-request-method")?.as_bytes()).ok()
    }
}

/// Whether a method may change something. Every method but `GET`, `HEAD` and `OPTIONS` may, an unknown one too.
pub(crate) fn is_unsafe(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// The declared length of the body in bytes.
pub(crate) fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH).and_then(length_of)
}

fn length_of(value: &HeaderValue) -> Option<u64> {
    value.to_str().ok()?.parse().ok()
}

/// SR-39 for a parser that keeps both headers. hyper's parser drops one of them without an error; the edge finds those
/// heads and marks the request with a [`HeadFault`].
fn only_length(headers: &HeaderMap) -> Result<Option<&HeaderValue>, Ambiguous> {
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let Some(length) = lengths.next() else { return Ok(None) };
    let is_only = lengths.next().is_none() && !headers.contains_key(TRANSFER_ENCODING);
    is_only.then_some(Some(length)).ok_or(Ambiguous)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lengths: &[&'static str], is_chunked: bool) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for length in lengths {
            headers.append(CONTENT_LENGTH, HeaderValue::from_static(length));
        }
        if is_chunked {
            headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
        headers
    }

    #[test]
    fn sr_39_a_second_length_is_ambiguous_even_if_it_is_equal() {
        assert_eq!(only_length(&headers(&[], false)), Ok(None));
        assert_eq!(only_length(&headers(&["5"], false)), Ok(Some(&HeaderValue::from_static("5"))));
        assert_eq!(only_length(&headers(&["5", "5"], false)), Err(Ambiguous));
    }

    #[test]
    fn sr_39_a_length_beside_chunks_is_ambiguous() {
        assert_eq!(only_length(&headers(&[], true)), Ok(None));
        assert_eq!(only_length(&headers(&["5"], true)), Err(Ambiguous));
    }
}
