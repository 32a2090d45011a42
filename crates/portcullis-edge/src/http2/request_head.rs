//! Converts the head of an HTTP/2 request to the form that the same request has in HTTP/1.1, so that the gate and every
//! upstream read one form (RFC 9113 §8).

use http::header::{COOKIE, HOST, HeaderMap, HeaderValue};
use http::{Method, Request, Uri, Version};
use portcullis_gate::HeadFault;

use crate::MAX_HEAD_BYTES;

/// Largest number of header fields, as in HTTP/1.1.
const MAX_FIELDS: usize = 100;
/// Bytes counted for each field in addition to its name and value (RFC 9113 §6.5.2).
const FIELD_OVERHEAD: usize = 32;

/// Converts the head of an HTTP/2 request, and marks a head that is too large with a [`HeadFault`].
///
/// `:authority` becomes `Host` unless the request has one: the gate compares the two. Cookies split into several fields
/// become one field. The parser has already refused contradicting lengths and fields of a connection.
pub(super) fn convert_to_http1<B>(request: &mut Request<B>) {
    if request.headers().len() > MAX_FIELDS || size(request) > MAX_HEAD_BYTES {
        request.extensions_mut().insert(HeadFault::TooLarge);
    }
    *request.version_mut() = Version::HTTP_11;
    let authority = request.uri().authority().map(|authority| HeaderValue::from_str(authority.as_str()));
    if let Some(Ok(authority)) = authority
        && !request.headers().contains_key(HOST)
    {
        request.headers_mut().insert(HOST, authority);
    }
    let names_same_host = request.headers().get(HOST).map(HeaderValue::as_bytes).is_some_and(|host| {
        request.uri().authority().is_some_and(|authority| host.eq_ignore_ascii_case(authority.as_str().as_bytes()))
    });
    if names_same_host && *request.method() != Method::CONNECT {
        let target = request.uri().path_and_query().cloned();
        *request.uri_mut() = target.map_or_else(|| Uri::from_static("/"), Uri::from);
    }
    join_cookies(request.headers_mut());
}

/// The head's size in bytes, as RFC 9113 §6.5.2 counts it.
fn size<B>(request: &Request<B>) -> usize {
    let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    let fields = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + FIELD_OVERHEAD);
    target + fields.sum::<usize>()
}

/// Joins cookie fields with "; ", as RFC 9113 §8.2.3 requires before they leave HTTP/2.
fn join_cookies(headers: &mut HeaderMap) {
    let fields: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if fields.len() < 2 {
        return;
    }
    let joined =
        HeaderValue::from_bytes(&fields.join(&b"; "[..])).expect("valid values joined by \"; \" are a valid value");
    headers.insert(COOKIE, joined);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(uri: &str, fields: &[(&'static str, &'static str)]) -> Request<()> {
        let mut request = Request::builder().version(Version::HTTP_2).uri(uri);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let mut request = request.body(()).expect("a request");
        convert_to_http1(&mut request);
        request
    }

    #[test]
    fn the_authority_becomes_host_and_cookies_one_field() {
        let converted =
            request("http://gate.example/a?b=c", &[("cookie", "a=1"), ("cookie", "b=2"), ("accept", "*/*")]);
        assert_eq!((converted.uri().to_string().as_str(), converted.version()), ("/a?b=c", Version::HTTP_11));
        assert_eq!(converted.headers()[HOST], "gate.example");
        assert_eq!(converted.headers().get_all(COOKIE).iter().collect::<Vec<_>>(), ["a=1; b=2"]);
        assert!(converted.extensions().get::<HeadFault>().is_none());
    }

    #[test]
    fn a_host_that_differs_from_the_authority_is_kept() {
        let converted = request("http://gate.example/a", &[("host", "other.example")]);
        assert_eq!(converted.headers()[HOST], "other.example");
        assert_eq!(converted.uri().authority().map(http::uri::Authority::as_str), Some("gate.example"));
        let converted = request("/a", &[("host", "other.example")]);
        assert_eq!((converted.uri().path(), converted.headers()[HOST].as_bytes()), ("/a", &b"other.example"[..]));
    }

    #[test]
    fn sr_40_too_many_bytes_or_fields_are_marked() {
        let is_marked = |request: &Request<()>| request.extensions().get::<HeadFault>().is_some();
        let large = |bytes: usize| {
            let mut converted =
                Request::builder().uri("http://a/").header("x", "x".repeat(bytes)).body(()).expect("a request");
            convert_to_http1(&mut converted);
            converted
        };
        assert!(!is_marked(&large(MAX_HEAD_BYTES - FIELD_OVERHEAD - 2)));
        assert!(is_marked(&large(MAX_HEAD_BYTES - FIELD_OVERHEAD - 1)));
        let many = |fields: usize| {
            let mut converted = Request::builder().uri("http://a/").body(()).expect("a request");
            for n in 0..fields {
                converted.headers_mut().append("x", HeaderValue::from(n));
            }
            convert_to_http1(&mut converted);
            converted
        };
        assert!(!is_marked(&many(MAX_FIELDS)) && is_marked(&many(MAX_FIELDS + 1)));
    }
}
