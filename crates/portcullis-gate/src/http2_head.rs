//! The head of an HTTP/2 request as the same request would have it in HTTP/1.1, so that every phase and every upstream
//! reads one form (RFC 9113 §8).

use http::header::{COOKIE, HOST, HeaderMap, HeaderValue};
use http::{Method, Request, Uri, Version};

use crate::framing::BadHead;
use crate::head_scanner::{HeadFault, MAX_HEAD_BYTES};

/// The most header fields, as in HTTP/1.1.
const MAX_FIELDS: usize = 100;
/// What a field is counted for beside its name and value (RFC 9113 §6.5.2).
const FIELD_BYTES: usize = 32;

/// Gives a request of HTTP/2 the head of HTTP/1.1, and marks one that is too large; the gate refuses it then.
///
/// `:authority` becomes `Host` unless there is one: the gate compares the two. Cookies that came in crumbs become one
/// field. Lengths that disagree, fields of a connection and the like are refused by the parser already.
pub fn as_http1<B>(request: &mut Request<B>) {
    if request.headers().len() > MAX_FIELDS || size(request) > MAX_HEAD_BYTES {
        request.extensions_mut().insert(BadHead(HeadFault::TooLarge));
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

fn size<B>(request: &Request<B>) -> usize {
    let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    let fields = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + FIELD_BYTES);
    target + fields.sum::<usize>()
}

/// RFC 9113 §8.2.3: to be joined by "; " before they pass to something that is not HTTP/2.
fn join_cookies(headers: &mut HeaderMap) {
    let crumbs: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if crumbs.len() < 2 {
        return;
    }
    let whole = HeaderValue::from_bytes(&crumbs.join(&b"; "[..])).expect("values joined by a value are one");
    headers.insert(COOKIE, whole);
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
        as_http1(&mut request);
        request
    }

    #[test]
    fn the_authority_becomes_the_host_and_crumbs_become_one_field() {
        let made = request("http://gate.example/a?b=c", &[("cookie", "a=1"), ("cookie", "b=2"), ("accept", "*/*")]);
        assert_eq!((made.uri().to_string().as_str(), made.version()), ("/a?b=c", Version::HTTP_11));
        assert_eq!(made.headers()[HOST], "gate.example");
        assert_eq!(made.headers().get_all(COOKIE).iter().collect::<Vec<_>>(), ["a=1; b=2"]);
        assert!(made.extensions().get::<BadHead>().is_none());
    }

    #[test]
    fn a_host_that_says_something_else_is_left_for_the_gate_to_refuse() {
        let made = request("http://gate.example/a", &[("host", "other.example")]);
        assert_eq!(made.headers()[HOST], "other.example");
        assert_eq!(made.uri().authority().map(http::uri::Authority::as_str), Some("gate.example"));
        let made = request("/a", &[("host", "other.example")]);
        assert_eq!((made.uri().path(), made.headers()[HOST].as_bytes()), ("/a", &b"other.example"[..]));
    }

    #[test]
    fn sr_40_a_head_of_too_many_bytes_or_fields_is_marked() {
        let is_marked = |request: &Request<()>| request.extensions().get::<BadHead>().is_some();
        let large = |bytes: usize| {
            let mut made = Request::builder().uri("http://a/").header("x", "x".repeat(bytes)).body(()).expect("one");
            as_http1(&mut made);
            made
        };
        assert!(!is_marked(&large(MAX_HEAD_BYTES - FIELD_BYTES - 2)));
        assert!(is_marked(&large(MAX_HEAD_BYTES - FIELD_BYTES - 1)));
        let many = |fields: usize| {
            let mut made = Request::builder().uri("http://a/").body(()).expect("one");
            for n in 0..fields {
                made.headers_mut().append("x", HeaderValue::from(n));
            }
            as_http1(&mut made);
            made
        };
        assert!(!is_marked(&many(MAX_FIELDS)) && is_marked(&many(MAX_FIELDS + 1)));
    }
}
