//! The header fields that an upstream gets.

use std::io::Write as _;
use std::net::IpAddr;

use http::header::{CONNECTION, COOKIE, HeaderMap, HeaderName, HeaderValue};
use portcullis_gate::Permit;
use portcullis_model::policy::{CsrfPolicy, Forwarding};
use portcullis_model::{ApiKeyScopes, Permission, SessionState};

use super::{client_cookies, is_hop_by_hop, named_by_connection};
use crate::http1::RequestHead;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// Identity headers, which a client must not send in any spelling. Separators are folded to `-`.
const IDENTITY_PREFIX: &str = "x-portcullis-";
/// Fields about the proxies before us.
const FORWARDED_PREFIX: &str = "x-forwarded-";
/// Fields that, like those of [`FORWARDED_PREFIX`], count only in their own spelling. Another spelling would pass the gate
/// and be read by a server that takes `_` for `-`.
const EXACT_ONLY: [&str; 4] = ["x-api-key", "x-csrf-token", "x-request-id", "x-real-ip"];

/// Whether a field describes the proxies before us.
fn describes_earlier_hops(name: &str) -> bool {
    // Servers read `X-Forwarded-Port`, `-Prefix` and others too.
    matches!(name, "forwarded" | "x-real-ip") || name.starts_with(FORWARDED_PREFIX)
}

/// Whether the gateway writes the field itself, whatever the client sent.
fn is_written_by_us(name: &str) -> bool {
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

/// Writes the fields of a request for its upstream. Hop-by-hop fields are left out first, and the identity is added last.
/// The fields that frame the body are not written here.
pub(crate) fn write_headers(
    head: &mut RequestHead,
    client_headers: &HeaderMap,
    permit: &Permit,
    forwarding: &Forwarding,
    authority: &HeaderValue,
) {
    let forwards_credentials = forwarding.forward_authorization;
    let trusts_peer = permit.source().peer_trusted;
    let reads_csrf = permit.route().policy.csrf != CsrfPolicy::Exempt;
    let left_out = |name: &str| {
        is_hop_by_hop(name)
            || is_written_by_us(name)
            || is_forged(name)
            || (!forwards_credentials && matches!(name, "authorization" | "x-api-key" | "cookie"))
            || (!trusts_peer && describes_earlier_hops(name))
            || (reads_csrf && name == "x-csrf-token")
    };
    let named = named_by_connection(client_headers.get_all(CONNECTION).iter());
    head.host_of_target(authority);
    for (name, value) in client_headers {
        if !left_out(name.as_str()) && !named.contains(name) {
            head.field(name, value);
        }
    }
    if !forwards_credentials && !named.contains(&COOKIE) {
        client_cookies::write(head, client_headers);
    }
    let forwarded = if named.contains(&FORWARDED_FOR) { None } else { Some(client_headers) };
    write_forwarded(head, forwarded, permit);
    head.literal_field("x-request-id", permit.request_id().as_str());
    head.field_with("traceparent", |out| out.extend_from_slice(&permit.trace().traceparent()));
    if let Some(principal) = permit.principal() {
        let session = &principal.session;
        head.literal_field("x-portcullis-user", session.user_id.0.hyphenated().encode_lower(&mut [0; 36]));
        // An API key with scopes has no role.
        if let Some(role) = session.role_in_force() {
            head.literal_field("x-portcullis-role", role.as_str());
        }
        let id_field = if session.is_signed_in() { "x-portcullis-session" } else { "x-portcullis-api-key" };
        head.literal_field(id_field, session.id.0.hyphenated().encode_lower(&mut [0; 36]));
        if let Some(ApiKeyScopes::Only(_)) = &session.api_key {
            head.literal_field("x-portcullis-scopes", &scopes(session));
        }
    }
}

/// The permissions of an API key with scopes, separated by spaces.
fn scopes(session: &SessionState) -> String {
    let names: Vec<&str> = session.permissions.iter().map(Permission::as_str).collect();
    names.join(" ")
}

/// Whether a client's field is an identity header, or another spelling of a field that counts.
fn is_forged(name: &str) -> bool {
    if !name.starts_with('x') || !(name.contains("portcullis") || name.contains(['_', '.'])) {
        return false;
    }
    let folded = name.replace(['_', '.'], "-");
    let exact_only = folded.starts_with(FORWARDED_PREFIX) || EXACT_ONLY.contains(&folded.as_str());
    folded.starts_with(IDENTITY_PREFIX) || (exact_only && folded != name)
}

/// Writes `X-Forwarded-*`. The chain of a trusted peer is continued, that of any other peer is replaced
/// (`docs/contract.md`, "Settings and environment").
fn write_forwarded(head: &mut RequestHead, client_headers: Option<&HeaderMap>, permit: &Permit) {
    let from = permit.source();
    let trusted = client_headers.filter(|_| from.peer_trusted);
    let chain = trusted.into_iter().flat_map(|headers| headers.get_all(&FORWARDED_FOR));
    head.field_with("x-forwarded-for", |out| {
        for before in chain {
            out.extend_from_slice(before.as_bytes());
            out.extend_from_slice(b", ");
        }
        push_address(out, from.peer);
    });
    head.literal_field("x-forwarded-proto", from.scheme());
    if let Some(host) = &from.host {
        head.field(&FORWARDED_HOST, host);
    }
}

/// Writes an address as text. `Display` costs more, because it can pad.
fn push_address(out: &mut Vec<u8>, address: IpAddr) {
    let IpAddr::V4(v4) = address else {
        return write!(out, "{address}").expect("writing to memory does not fail");
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
            assert!(is_forged(name), "{name}");
        }
        for name in ["x-forwarded-for", "x_custom", "portcullis"] {
            assert!(!is_forged(name), "{name}");
        }
    }

    #[test]
    fn an_address_is_written_in_its_usual_form() {
        for text in ["0.0.0.0", "9.10.99.100", "127.0.0.1", "203.0.113.255", "2001:db8::7", "::1"] {
            let mut out = Vec::new();
            push_address(&mut out, text.parse().expect("an address"));
            assert_eq!(out, text.as_bytes());
        }
    }
}
