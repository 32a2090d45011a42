//! What an upstream is told, and what it is not (requirements 38 and 42).

use std::collections::HashSet;
use std::net::IpAddr;

use http::Request;
use http::header::{CONNECTION, COOKIE, HOST, HeaderMap, HeaderName, HeaderValue, SET_COOKIE, TRANSFER_ENCODING};
use http_body::Body;
use portcullis_gate::{CookieName, InboundBody, Permit};
use portcullis_model::policy::{CsrfPolicy, Forwarding};
use portcullis_model::{KeyReach, Permission, SessionState};

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const USER: HeaderName = HeaderName::from_static("x-portcullis-user");
const ROLE: HeaderName = HeaderName::from_static("x-portcullis-role");
const KEY_ID: HeaderName = HeaderName::from_static("x-portcullis-api-key");
const SCOPES: HeaderName = HeaderName::from_static("x-portcullis-scopes");
const SESSION: HeaderName = HeaderName::from_static("x-portcullis-session");

/// The most that are added beside a client's own.
const ADDED: usize = 10;
/// Headers of ours that a client must not send in any spelling, with `-` for every separator.
const OURS: &str = "x-portcullis-";
/// What tells of the hops before us.
const FORWARDED_PREFIX: &str = "x-forwarded-";
/// Headers that, with those of [`FORWARDED_PREFIX`], only count in their own
/// spelling: another one would pass us and be read by a server that takes `_` for `-`.
const EXACT_ONLY: [&str; 4] = ["x-api-key", "x-csrf-token", "x-request-id", "x-real-ip"];

/// What `Connection` says concerns this hop only (RFC 9110 §7.6.1), beside what always does. A set, because a client may
/// name as much as a head holds.
fn named_by_connection(headers: &HeaderMap) -> HashSet<HeaderName> {
    headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|text| text.split(','))
        .map(str::trim)
        // Nearly always it names nothing else: then the set is empty, and asking it costs nothing.
        .filter(|token| !token.eq_ignore_ascii_case("keep-alive") && !token.eq_ignore_ascii_case("close"))
        .filter_map(|token| token.parse().ok())
        .collect()
}

/// Whether a header concerns this hop only, whatever `Connection` says.
fn is_hop_by_hop(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "keep-alive"
            | "proxy-connection"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
    )
}

/// Whether a header says how a request came to its sender.
fn tells_of_hops(name: &str) -> bool {
    // The port, the prefix and whatever else servers read under this name, too.
    matches!(name, "forwarded" | "x-real-ip") || name.starts_with(FORWARDED_PREFIX)
}

/// A client's headers as an upstream gets them: hop-by-hop left out first, identity added last. The client's own stay as
/// they are, for a second try.
pub(crate) fn for_upstream(
    theirs: &HeaderMap,
    permit: &Permit,
    forwarding: &Forwarding,
    authority: &HeaderValue,
) -> HeaderMap {
    let (hands_over, believed) = (forwarding.forward_authorization, permit.origination().peer_trusted);
    let reads_csrf = permit.route().policy.csrf != CsrfPolicy::Exempt;
    let left_out = |name: &str| {
        is_hop_by_hop(name)
            || is_impostor(name)
            || (!hands_over && matches!(name, "authorization" | "x-api-key" | "cookie"))
            || (!believed && tells_of_hops(name))
            || (reads_csrf && name == "x-csrf-token")
    };
    let named = named_by_connection(theirs);
    let mut headers = HeaderMap::with_capacity(theirs.len() + ADDED);
    for (name, value) in theirs {
        if !left_out(name.as_str()) && !named.contains(name) {
            headers.append(name.clone(), value.clone());
        }
    }
    if !hands_over && !named.contains(&COOKIE) {
        add_cookies(&mut headers, theirs);
    }
    add_origination(&mut headers, permit);
    headers.insert(HOST, authority.clone());
    headers.insert(REQUEST_ID, value(permit.request_id().as_str()));
    let traceparent = HeaderValue::from_bytes(&permit.trace().traceparent()).expect("hexadecimal digits and hyphens");
    headers.insert(TRACEPARENT, traceparent);
    if let Some(principal) = permit.principal() {
        let session = &principal.session;
        headers.insert(USER, value(session.user_id.0.hyphenated().encode_lower(&mut [0; 36])));
        // A key that is held to scopes has no role that an upstream may go by.
        if let Some(role) = session.role_in_force() {
            headers.insert(ROLE, HeaderValue::from_static(role.as_str()));
        }
        let by = if session.is_signed_in() { SESSION } else { KEY_ID };
        headers.insert(by, value(session.id.0.hyphenated().encode_lower(&mut [0; 36])));
        if let Some(KeyReach::Scopes(_)) = &session.api_key {
            headers.insert(SCOPES, scopes(session));
        }
    }
    headers
}

/// What a key may do of what its owner may, between spaces.
fn scopes(session: &SessionState) -> HeaderValue {
    let names: Vec<&str> = session.permissions.iter().map(Permission::as_str).collect();
    value(&names.join(" "))
}

/// Frames a body of unknown length. Hyper does so too, but not for methods that
/// rarely have one: there it would drop the body without a word.
pub(crate) fn frame(request: &mut Request<InboundBody>) {
    if !request.body().is_end_stream() && request.body().size_hint().exact().is_none() {
        request.headers_mut().insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
}

/// Makes an upstream's headers into ours: nothing of this hop, and no cookie of our names.
pub(crate) fn from_upstream(headers: &mut HeaderMap) {
    if headers.contains_key(CONNECTION) {
        for name in named_by_connection(headers) {
            headers.remove(name);
        }
        headers.remove(CONNECTION);
    }
    remove_all(headers, is_hop_by_hop);
    if headers.contains_key(SET_COOKIE) {
        let kept: Vec<HeaderValue> =
            headers.get_all(SET_COOKIE).iter().filter(|cookie| !sets_ours(cookie)).cloned().collect();
        headers.remove(SET_COOKIE);
        for cookie in kept {
            headers.append(SET_COOKIE, cookie);
        }
    }
}

fn sets_ours(cookie: &HeaderValue) -> bool {
    // A cookie without a name (`=a=b`) is sent back as `a=b` (RFC 6265bis §5.7), so
    // that it would have the name that its value begins with.
    let start = cookie.as_bytes().iter().position(|b| *b != b'=' && !b.is_ascii_whitespace());
    let cookie = start.map_or(&[][..], |start| &cookie.as_bytes()[start..]);
    let name = cookie.split(|b| *b == b'=' || *b == b';').next().unwrap_or_default().trim_ascii();
    // Prefixes and names of cookies are compared without case by some browsers.
    CookieName::all_spellings().any(|ours| name.eq_ignore_ascii_case(ours.as_bytes()))
}

/// Whether it is an identity header, or an odd spelling of one that counts.
fn is_impostor(name: &str) -> bool {
    if !name.starts_with('x') || !(name.contains("portcullis") || name.contains(['_', '.'])) {
        return false;
    }
    let folded = name.replace(['_', '.'], "-");
    let exact_only = folded.starts_with(FORWARDED_PREFIX) || EXACT_ONLY.contains(&folded.as_str());
    folded.starts_with(OURS) || (exact_only && folded != name)
}

/// In one pass: most headers stay, and looking for each unwanted one would cost a hash of each.
fn remove_all(headers: &mut HeaderMap, unwanted: impl Fn(&str) -> bool) {
    let names: Vec<HeaderName> = headers.keys().filter(|name| unwanted(name.as_str())).cloned().collect();
    for name in names {
        headers.remove(name);
    }
}

/// A client's cookies without ours.
fn add_cookies(headers: &mut HeaderMap, theirs: &HeaderMap) {
    let ours =
        |value: &HeaderValue| value.as_bytes().windows(10).any(|window| window.eq_ignore_ascii_case(b"portcullis"));
    if !theirs.get_all(COOKIE).iter().any(ours) {
        for value in theirs.get_all(COOKIE) {
            headers.append(COOKIE, value.clone());
        }
        return;
    }
    let mut kept: Vec<&str> = Vec::new();
    for line in theirs.get_all(COOKIE) {
        // A line that is not text might hide one of ours: none of it is passed on.
        let Ok(line) = line.to_str() else { continue };
        kept.extend(line.split(';').map(str::trim).filter(|pair| {
            let name = pair.split('=').next().unwrap_or_default().trim();
            !pair.is_empty() && !CookieName::all_spellings().any(|ours| name.eq_ignore_ascii_case(ours))
        }));
    }
    if !kept.is_empty() {
        headers.insert(COOKIE, HeaderValue::try_from(kept.join("; ")).expect("parts of a header value are one"));
    }
}

/// `X-Forwarded-*`: appended to for a trusted peer, replaced for any other (contract §8).
fn add_origination(headers: &mut HeaderMap, permit: &Permit) {
    let from = permit.origination();
    let chain = if from.peer_trusted { joined(headers, &FORWARDED_FOR) } else { None };
    let for_value = match chain {
        Some(chain) => {
            HeaderValue::try_from(format!("{chain}, {}", from.peer)).expect("values joined by a value are one")
        }
        None => address(from.peer),
    };
    headers.insert(FORWARDED_FOR, for_value);
    headers.insert(FORWARDED_PROTO, HeaderValue::from_static(from.scheme()));
    match &from.host {
        Some(host) => headers.insert(FORWARDED_HOST, host.clone()),
        None => headers.remove(FORWARDED_HOST),
    };
}

fn joined(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let values: Vec<&str> = headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect();
    (!values.is_empty()).then(|| values.join(", "))
}

/// An address as text. `Display` pads, which costs more than the digits.
fn address(address: IpAddr) -> HeaderValue {
    let IpAddr::V4(v4) = address else { return value(&address.to_string()) };
    let mut text = Vec::with_capacity("255.255.255.255".len());
    for octet in v4.octets() {
        if !text.is_empty() {
            text.push(b'.');
        }
        if octet >= 100 {
            text.push(b'0' + octet / 100);
        }
        if octet >= 10 {
            text.push(b'0' + octet / 10 % 10);
        }
        text.push(b'0' + octet % 10);
    }
    HeaderValue::from_bytes(&text).expect("digits and dots")
}

fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).expect("ids and addresses are printable ASCII")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(list: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in list {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn sr_38_hop_by_hop_headers_go_first_and_take_what_they_name_along() {
        let mut map = headers(&[
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
        from_upstream(&mut map);
        assert_eq!(map.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["accept"]);
    }

    #[test]
    fn sr_38_identity_headers_are_removed_in_every_spelling() {
        let mut map = headers(&[
            ("x-portcullis-user", "a"),
            ("x_portcullis_role", "a"),
            ("x.portcullis.session", "a"),
            ("x-portcullis_user", "a"),
            ("x_forwarded_for", "a"),
            ("x_api_key", "a"),
            ("x-forwarded-for", "kept until it is judged"),
            ("x_custom", "kept"),
        ]);
        remove_all(&mut map, is_impostor);
        let mut left: Vec<_> = map.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["x-forwarded-for", "x_custom"]);
    }

    #[test]
    fn an_address_reads_as_anybody_would_write_it() {
        for text in ["0.0.0.0", "9.10.99.100", "127.0.0.1", "203.0.113.255", "2001:db8::7", "::1"] {
            assert_eq!(address(text.parse().expect("an address")), text);
        }
    }

    #[test]
    fn sr_42_our_cookies_reach_no_upstream_and_come_from_none() {
        let passed_on = |cookies: &[(&'static str, &'static str)]| {
            let mut map = HeaderMap::new();
            add_cookies(&mut map, &headers(cookies));
            map.get_all(COOKIE).iter().map(|value| value.to_str().expect("text").to_owned()).collect::<Vec<_>>()
        };
        let mixed = [
            ("cookie", "a=1; portcullis-session=s; __Host-portcullis-csrf=c"),
            ("cookie", "b=2; PORTCULLIS-REFRESH=r"),
        ];
        assert_eq!(passed_on(&mixed), ["a=1; b=2"]);
        assert!(passed_on(&[("cookie", "portcullis-pre=1")]).is_empty());
        assert_eq!(passed_on(&[("cookie", "a=1"), ("cookie", "b=2")]), ["a=1", "b=2"], "theirs stay as they are");
        let mut map = headers(&[
            ("set-cookie", "portcullis-session=stolen; Path=/"),
            ("set-cookie", " __Host-Portcullis-CSRF = x"),
            ("set-cookie", "theirs=portcullis-session"),
        ]);
        from_upstream(&mut map);
        assert_eq!(map.get_all(SET_COOKIE).iter().collect::<Vec<_>>(), ["theirs=portcullis-session"]);
    }
}
