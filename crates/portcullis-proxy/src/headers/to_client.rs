//! The header fields of an upstream's response that a client gets.

use http::header::{HeaderMap, HeaderName, HeaderValue, SET_COOKIE};
use portcullis_gate::CookieName;

use super::{is_hop_by_hop, named_by_connection};

/// Whether a field of an upstream's response is passed on: it is not a hop-by-hop field and sets none of our cookies.
pub(crate) fn is_passed_on(name: &HeaderName, value: &HeaderValue) -> bool {
    if *name == SET_COOKIE { !sets_our_cookie(value) } else { !is_hop_by_hop(name.as_str()) }
}

/// Removes the fields that `Connection` names.
pub(crate) fn remove_named<'a>(headers: &mut HeaderMap, connection: impl Iterator<Item = &'a HeaderValue>) {
    for name in named_by_connection(connection) {
        headers.remove(name);
    }
}

fn sets_our_cookie(cookie: &HeaderValue) -> bool {
    // A browser sends a cookie without a name (`=a=b`) back as `a=b` (RFC 6265bis §5.7).
    let start = cookie.as_bytes().iter().position(|b| *b != b'=' && !b.is_ascii_whitespace());
    let cookie = start.map_or(&[][..], |start| &cookie.as_bytes()[start..]);
    let name = cookie.split(|b| *b == b'=' || *b == b';').next().unwrap_or_default().trim_ascii();
    // Some browsers compare names and prefixes of cookies without regard to case.
    CookieName::all_spellings().any(|ours| name.eq_ignore_ascii_case(ours.as_bytes()))
}

#[cfg(test)]
mod tests {
    use http::header::CONNECTION;

    use super::*;

    fn headers(list: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in list {
            let value = HeaderValue::from_bytes(value.as_bytes()).expect("a value");
            headers.append(HeaderName::from_static(name), value);
        }
        headers
    }

    /// The fields of an upstream's response that are passed on.
    fn from_upstream(list: &[(&'static str, &str)]) -> HeaderMap {
        let all = headers(list);
        let mut map = HeaderMap::new();
        for (name, value) in all.iter().filter(|(name, value)| is_passed_on(name, value)) {
            map.append(name.clone(), value.clone());
        }
        remove_named(&mut map, all.get_all(CONNECTION).iter());
        map
    }

    #[test]
    fn sr_38_hop_by_hop_headers_and_those_they_name_are_removed() {
        let map = from_upstream(&[
            ("connection", "keep-alive, x-secret"),
            ("connection", "X-Other"),
            ("x-secret", "1"),
            ("x-other", "1"),
            ("keep-alive", "timeout=5"),
            ("te", "trailers"),
            ("upgrade", "h2c"),
            ("proxy-authorization", "x"),
            ("accept", "*/*"),
        ]);
        assert_eq!(map.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["accept"]);
    }

    #[test]
    fn sr_38_a_foreign_member_of_connection_hides_no_other() {
        let map = from_upstream(&[("connection", "é, x-secret"), ("x-secret", "1"), ("accept", "*/*")]);
        assert_eq!(map.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["accept"]);
    }

    #[test]
    fn sr_42_foreign_bytes_do_not_hide_a_cookie_that_is_set() {
        let map = from_upstream(&[
            ("set-cookie", "portcullis-session=é; Path=/"),
            ("set-cookie", "portcullis-csrf=x; Comment=é"),
            ("set-cookie", "theirs=é"),
        ]);
        let kept: Vec<&[u8]> = map.get_all(SET_COOKIE).iter().map(HeaderValue::as_bytes).collect();
        assert_eq!(kept, ["theirs=é".as_bytes()]);
    }

    #[test]
    fn sr_42_an_upstream_cannot_set_our_cookie_in_any_spelling() {
        let map = from_upstream(&[
            ("set-cookie", "portcullis-session=stolen; Path=/"),
            ("set-cookie", " __Host-Portcullis-CSRF = x"),
            ("set-cookie", "theirs=portcullis-session"),
        ]);
        assert_eq!(map.get_all(SET_COOKIE).iter().collect::<Vec<_>>(), ["theirs=portcullis-session"]);
    }
}
