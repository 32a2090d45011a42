//! Header fields on their way to upstreams and to clients (SR-38, SR-42).

pub(crate) mod to_client;
pub(crate) mod to_upstream;

mod b3;
mod client_cookies;
mod reserved_names;

use std::collections::HashSet;

use http::header::{HeaderName, HeaderValue};

/// The fields that `Connection` names: they concern this hop only (RFC 9110 §7.6.1). A set, because a client may name as
/// many as fit into a head.
fn named_by_connection<'a>(fields: impl Iterator<Item = &'a HeaderValue>) -> HashSet<HeaderName> {
    fields
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        // Usually it names nothing else. Then the set is empty, and looking into it costs nothing.
        .filter(|token| !token.eq_ignore_ascii_case(b"keep-alive") && !token.eq_ignore_ascii_case(b"close"))
        // A member that is no name spoils none of the others.
        .filter_map(|token| HeaderName::from_bytes(token).ok())
        .collect()
}

/// Whether a field concerns this hop only, whatever `Connection` names.
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
