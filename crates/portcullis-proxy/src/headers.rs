//! What an upstream is told, and what it is not (requirements 38 and 42).

use std::collections::HashSet;
use std::io::Write as _;
use std::net::IpAddr;

use http::header::{CONNECTION, COOKIE, HOST, HeaderMap, HeaderName, HeaderValue, SET_COOKIE};
use portcullis_gate::{CookieName, Permit};
use portcullis_model::policy::{CsrfPolicy, Forwarding};
use portcullis_model::{ApiKeyScopes, Permission, SessionState};

use crate::http1::RequestHead;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// Headers of ours that a client must not send in any spelling, with `-` for every separator.
const OURS: &str = "x-portcullis-";
/// What tells of the hops before us.
const FORWARDED_PREFIX: &str = "x-forwarded-";
/// Headers that, with those of [`FORWARDED_PREFIX`], only count in their own
/// spelling: another one would pass us and be read by a server that takes `_` for `-`.
const EXACT_ONLY: [&str; 4] = ["x-api-key", "x-csrf-token", "x-request-id", "x-real-ip"];

/// What `Connection` says concerns this hop only (RFC 9110 §7.6.1), beside what always does. A set, because a client may
/// name as much as a head holds.
fn named_by_connection<'a>(fields: impl Iterator<Item = &'a HeaderValue>) -> HashSet<HeaderName> {
    fields
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

/// Whether a header is written for each upstream anew, whatever the client says.
fn is_written_anew(name: &str) -> bool {
    matches!(
        name,
        "host"
            | "content-length"
            | "x-request-id"
            | "traceparent"
            | "x-forwarded-for"
            | "x-forwarded-proto"
            | "x-forwarded-host"
    )
}

/// Writes a client's headers as an upstream gets them: hop-by-hop left out first, identity added last. What frames the
/// body is not among them.
pub(crate) fn for_upstream(
    head: &mut RequestHead,
    theirs: &HeaderMap,
    permit: &Permit,
    forwarding: &Forwarding,
    authority: &HeaderValue,
) {
    let (hands_over, believed) = (forwarding.forward_authorization, permit.source().peer_trusted);
    let reads_csrf = permit.route().policy.csrf != CsrfPolicy::Exempt;
    let left_out = |name: &str| {
        is_hop_by_hop(name)
            || is_written_anew(name)
            || is_impostor(name)
            || (!hands_over && matches!(name, "authorization" | "x-api-key" | "cookie"))
            || (!believed && tells_of_hops(name))
            || (reads_csrf && name == "x-csrf-token")
    };
    let named = named_by_connection(theirs.get_all(CONNECTION).iter());
    head.field(&HOST, authority);
    for (name, value) in theirs {
        if !left_out(name.as_str()) && !named.contains(name) {
            head.field(name, value);
        }
    }
    if !hands_over && !named.contains(&COOKIE) {
        add_cookies(head, theirs);
    }
    add_origination(head, if named.contains(&FORWARDED_FOR) { None } else { Some(theirs) }, permit);
    head.ours("x-request-id", permit.request_id().as_str());
    head.written("traceparent", |out| out.extend_from_slice(&permit.trace().traceparent()));
    if let Some(principal) = permit.principal() {
        let session = &principal.session;
        head.ours("x-portcullis-user", session.user_id.0.hyphenated().encode_lower(&mut [0; 36]));
        // A key that is held to scopes has no role that an upstream may go by.
        if let Some(role) = session.role_in_force() {
            head.ours("x-portcullis-role", role.as_str());
        }
        let by = if session.is_signed_in() { "x-portcullis-session" } else { "x-portcullis-api-key" };
        head.ours(by, session.id.0.hyphenated().encode_lower(&mut [0; 36]));
        if let Some(ApiKeyScopes::Only(_)) = &session.api_key {
            head.ours("x-portcullis-scopes", &scopes(session));
        }
    }
}

/// What a key may do of what its owner may, between spaces.
fn scopes(session: &SessionState) -> String {
    let names: Vec<&str> = session.permissions.iter().map(Permission::as_str).collect();
    names.join(" ")
}

/// Whether a field of an upstream's answer goes on to the client: it concerns not only this hop, and sets no cookie of
/// our names.
pub(crate) fn is_for_client(name: &HeaderName, value: &HeaderValue) -> bool {
    if *name == SET_COOKIE { !sets_ours(value) } else { !is_hop_by_hop(name.as_str()) }
}

/// Takes out what `Connection` named.
pub(crate) fn remove_named<'a>(headers: &mut HeaderMap, connection: impl Iterator<Item = &'a HeaderValue>) {
    for name in named_by_connection(connection) {
        headers.remove(name);
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

/// A client's cookies without ours.
fn add_cookies(head: &mut RequestHead, theirs: &HeaderMap) {
    let ours =
        |value: &HeaderValue| value.as_bytes().windows(10).any(|window| window.eq_ignore_ascii_case(b"portcullis"));
    if !theirs.get_all(COOKIE).iter().any(ours) {
        for value in theirs.get_all(COOKIE) {
            head.field(&COOKIE, value);
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
        head.field(&COOKIE, &HeaderValue::try_from(kept.join("; ")).expect("parts of a header value are one"));
    }
}

/// `X-Forwarded-*`: appended to for a trusted peer, replaced for any other (contract §8).
fn add_origination(head: &mut RequestHead, theirs: Option<&HeaderMap>, permit: &Permit) {
    let from = permit.source();
    let chain = theirs.filter(|_| from.peer_trusted).into_iter().flat_map(|theirs| theirs.get_all(&FORWARDED_FOR));
    head.written("x-forwarded-for", |out| {
        for before in chain.filter_map(|value| value.to_str().ok()) {
            out.extend_from_slice(before.as_bytes());
            out.extend_from_slice(b", ");
        }
        push_address(out, from.peer);
    });
    head.ours("x-forwarded-proto", from.scheme());
    if let Some(host) = &from.host {
        head.field(&FORWARDED_HOST, host);
    }
}

/// An address as text. `Display` pads, which costs more than the digits.
fn push_address(out: &mut Vec<u8>, address: IpAddr) {
    let IpAddr::V4(v4) = address else {
        return write!(out, "{address}").expect("memory takes whatever is written");
    };
    for (n, octet) in v4.octets().into_iter().enumerate() {
        if n > 0 {
            out.push(b'.');
        }
        if octet >= 100 {
            out.push(b'0' + octet / 100);
        }
        if octet >= 10 {
            out.push(b'0' + octet / 10 % 10);
        }
        out.push(b'0' + octet % 10);
    }
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

    /// What comes through of an upstream's fields.
    fn from_upstream(list: &[(&'static str, &'static str)]) -> HeaderMap {
        let all = headers(list);
        let mut map = HeaderMap::new();
        for (name, value) in all.iter().filter(|(name, value)| is_for_client(name, value)) {
            map.append(name.clone(), value.clone());
        }
        remove_named(&mut map, all.get_all(CONNECTION).iter());
        map
    }

    #[test]
    fn sr_38_hop_by_hop_headers_go_first_and_take_what_they_name_along() {
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
    fn sr_38_identity_headers_are_removed_in_every_spelling() {
        for name in [
            "x-portcullis-user",
            "x_portcullis_role",
            "x.portcullis.session",
            "x-portcullis_user",
            "x_forwarded_for",
            "x_api_key",
        ] {
            assert!(is_impostor(name), "{name}");
        }
        for name in ["x-forwarded-for", "x_custom", "portcullis"] {
            assert!(!is_impostor(name), "{name}");
        }
    }

    #[test]
    fn an_address_reads_as_anybody_would_write_it() {
        for text in ["0.0.0.0", "9.10.99.100", "127.0.0.1", "203.0.113.255", "2001:db8::7", "::1"] {
            let mut out = Vec::new();
            push_address(&mut out, text.parse().expect("an address"));
            assert_eq!(out, text.as_bytes());
        }
    }

    #[test]
    fn sr_42_our_cookies_reach_no_upstream_and_come_from_none() {
        let passed_on = |cookies: &[(&'static str, &'static str)]| {
            let mut head = RequestHead::new(Vec::new(), &http::Method::GET, &["/"]);
            add_cookies(&mut head, &headers(cookies));
            let head = String::from_utf8(head.end()).expect("text");
            head.lines().filter_map(|line| line.strip_prefix("cookie: ")).map(str::to_owned).collect::<Vec<_>>()
        };
        let mixed = [
            ("cookie", "a=1; portcullis-session=s; __Host-portcullis-csrf=c"),
            ("cookie", "b=2; PORTCULLIS-REFRESH=r"),
        ];
        assert_eq!(passed_on(&mixed), ["a=1; b=2"]);
        assert!(passed_on(&[("cookie", "portcullis-pre=1")]).is_empty());
        assert_eq!(passed_on(&[("cookie", "a=1"), ("cookie", "b=2")]), ["a=1", "b=2"], "theirs stay as they are");
        let map = from_upstream(&[
            ("set-cookie", "portcullis-session=stolen; Path=/"),
            ("set-cookie", " __Host-Portcullis-CSRF = x"),
            ("set-cookie", "theirs=portcullis-session"),
        ]);
        assert_eq!(map.get_all(SET_COOKIE).iter().collect::<Vec<_>>(), ["theirs=portcullis-session"]);
    }
}
