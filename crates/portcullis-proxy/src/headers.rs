//! Header fields on their way to upstreams and to clients (SR-38, SR-42).

pub(crate) mod to_client;
pub(crate) mod to_upstream;

mod client_cookies;

use std::collections::HashSet;

use http::header::{HeaderName, HeaderValue};

/// The fields that `Connection` names: they concern this hop only (RFC 9110 §7.6.1). A set, because a client may name as
/// many as fit into a head.
fn named_by_connection<'a>(fields: impl Iterator<Item = &'a HeaderValue>) -> HashSet<HeaderName> {
    fields
        .filter_map(|value| value.to_str().ok())
        .flat_map(|text| text.split(','))
        .map(str::trim)
        // Usually it names nothing else. Then the set is empty, and looking into it costs nothing.
        .filter(|token| !token.eq_ignore_ascii_case("keep-alive") && !token.eq_ignore_ascii_case("close"))
        .filter_map(|token| token.parse().ok())
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
