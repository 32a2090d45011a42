//! The header fields that an upstream gets.

use std::collections::HashSet;
use std::io::Write as _;
use std::net::IpAddr;

use http::Method;
use http::header::{CONNECTION, COOKIE, FORWARDED, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use portcullis_gate::{Permit, is_b3_field};
use portcullis_model::policy::{CsrfPolicy, Forwarding};
use portcullis_model::{ApiKeyScopes, Permission, SessionState};
use portcullis_telemetry::traces::SpanId;

use super::reserved_names::{Reserved, reserved};
use super::{b3, client_cookies, is_hop_by_hop, named_by_connection};
use crate::http1::RequestHead;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Whether the gateway writes the field itself, whatever the client sent.
fn is_written_by_us(name: &str) -> bool {
    matches!(
        name,
        "host"
            | "content-length"
            | "x-request-id"
            | "traceparent"
            | "tracestate"
            | "forwarded"
            | "x-forwarded-for"
            | "x-forwarded-proto"
            | "x-forwarded-host"
    )
}

/// Writes the fields of a request for its upstream. Hop-by-hop fields are left out first, and the identity is added last.
/// The fields that frame the body are not written here. `span` is the gateway's span of the attempt, if it is recorded.
pub(crate) fn write_headers(
    head: &mut RequestHead,
    Parts { method, headers: client_headers, .. }: &Parts,
    permit: &Permit,
    forwarding: &Forwarding,
    authority: &HeaderValue,
    span: Option<SpanId>,
) {
    let forwards_credentials = forwarding.forward_authorization;
    let trusts_peer = permit.source().peer_trusted;
    let reads_csrf = permit.route().policy.csrf != CsrfPolicy::Exempt;
    let propagation = permit.propagation();
    let reads_b3 = propagation.reads_b3();
    let allows_override = forwarding.method_override && *method == Method::POST;
    let left_out = |name: &str| {
        is_hop_by_hop(name)
            || is_written_by_us(name)
            || (!forwards_credentials && matches!(name, "authorization" | "x-api-key" | "cookie"))
            || (reads_csrf && name == "x-csrf-token")
            || (reads_b3 && is_b3_field(name))
            || match reserved(name) {
                None => false,
                Some(Reserved::Never) => true,
                Some(Reserved::FromTrustedProxy) => !trusts_peer,
                Some(Reserved::MethodOverride) => !allows_override,
            }
    };
    let named = named_by_connection(client_headers.get_all(CONNECTION).iter());
    head.host_of_target(authority);
    let mut has_cookies = false;
    for (name, value) in client_headers {
        if !left_out(name.as_str()) && !named.contains(name) {
            head.field(name, value);
        }
        has_cookies |= name == COOKIE;
    }
    if has_cookies && !forwards_credentials && !named.contains(&COOKIE) {
        client_cookies::write(head, client_headers);
    }
    write_forwarded(head, client_headers, &named, permit);
    head.field_with("x-request-id", |out| out.extend_from_slice(permit.request_id().as_bytes()));
    let trace = permit.trace();
    let traceparent = span.map_or_else(|| trace.traceparent(), |span| trace.traceparent_in(span));
    head.field_with("traceparent", |out| out.extend_from_slice(&traceparent));
    if !named.contains(&TRACESTATE)
        && let Some(state) = trace.tracestate(client_headers)
    {
        head.field_with("tracestate", |out| out.extend_from_slice(&state));
    }
    if reads_b3 {
        b3::write(head, trace, span.unwrap_or(trace.span_id()), propagation);
    }
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

/// Writes `X-Forwarded-*`, and continues `Forwarded`. The chains of a trusted peer are continued, those of any other peer
/// are replaced (`docs/contract.md`, "Settings and environment").
fn write_forwarded(head: &mut RequestHead, client_headers: &HeaderMap, named: &HashSet<HeaderName>, permit: &Permit) {
    let from = permit.source();
    let chain = |name: &HeaderName| {
        let counts = from.peer_trusted && !named.contains(name);
        counts.then(|| client_headers.get_all(name)).into_iter().flatten()
    };
    head.field_with("x-forwarded-for", |out| {
        for before in chain(&FORWARDED_FOR) {
            out.extend_from_slice(before.as_bytes());
            out.extend_from_slice(b", ");
        }
        push_address(out, from.peer);
    });
    head.literal_field("x-forwarded-proto", from.scheme());
    if let Some(host) = &from.host {
        head.field(&FORWARDED_HOST, host);
    }
    // Untrusted peers have no chain, and of the others few send this one.
    if from.peer_trusted && chain(&FORWARDED).next().is_some() {
        head.field_with("forwarded", |out| {
            for before in chain(&FORWARDED) {
                out.extend_from_slice(before.as_bytes());
                out.extend_from_slice(b", ");
            }
            match from.peer {
                IpAddr::V4(v4) => write!(out, "for={v4}"),
                IpAddr::V6(v6) => write!(out, "for=\"[{v6}]\""),
            }
            .expect("writing to memory does not fail");
        });
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
    fn an_address_is_written_in_its_usual_form() {
        for text in ["0.0.0.0", "9.10.99.100", "127.0.0.1", "203.0.113.255", "2001:db8::7", "::1"] {
            let mut out = Vec::new();
            push_address(&mut out, text.parse().expect("an address"));
            assert_eq!(out, text.as_bytes());
        }
    }
}
