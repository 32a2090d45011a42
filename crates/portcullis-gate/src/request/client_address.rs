//! The client's address and scheme when proxies stand in front of the gateway (SR-37).

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderName, HeaderValue};
use ipnet::IpNet;

pub(crate) const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// Who a connection comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The socket's other end, or the client that the PROXY protocol names.
    pub address: SocketAddr,
    /// Whether the client speaks TLS, as the PROXY protocol says of it.
    pub https: bool,
}

impl From<SocketAddr> for Peer {
    /// Returns a peer that speaks plain HTTP.
    fn from(address: SocketAddr) -> Self {
        Self { address, https: false }
    }
}

/// The client that sent a request, and the scheme and host that it used.
#[derive(Clone, Debug)]
pub struct RequestSource {
    /// The client's address: the first one from the right that is not a trusted proxy's.
    pub client: IpAddr,
    /// The address that connected to us.
    pub peer: IpAddr,
    /// Whether the peer is a trusted proxy, whose `X-Forwarded-*` headers are believed.
    pub peer_trusted: bool,
    /// Whether the client speaks TLS, to us or to the outermost trusted proxy.
    pub https: bool,
    /// The host that the client asked for.
    pub host: Option<HeaderValue>,
}

impl RequestSource {
    /// Reads `X-Forwarded-*` from right to left, as far as the hops are trusted. `host` is the request's own. A
    /// scheme in `X-Forwarded-Proto` counts before that of the connection.
    pub(crate) fn find(peer: Peer, host: Option<&HeaderValue>, headers: &HeaderMap, trusted: &[IpNet]) -> Self {
        let (peer, peer_https) = (peer.address.ip().to_canonical(), peer.https);
        let is_trusted = |address: IpAddr| trusted.iter().any(|net| net.contains(&address));
        let peer_trusted = !trusted.is_empty() && is_trusted(peer);
        if !peer_trusted {
            return Self { client: peer, peer, peer_trusted, https: peer_https, host: host.cloned() };
        }
        let mut client = peer;
        'hops: for value in headers.get_all(FORWARDED_FOR).iter().rev() {
            // Bytes, because a client may write anything to the left of what the proxies add.
            for hop in value.as_bytes().rsplit(|byte| *byte == b',') {
                // A hop that is not an address ends the chain: nothing vouches for the entries to its left.
                let hop = std::str::from_utf8(hop.trim_ascii()).ok();
                let Some(address) = hop.and_then(parse_hop) else { break 'hops };
                client = address;
                if !is_trusted(address) {
                    break 'hops;
                }
            }
        }
        let last = |name: HeaderName| headers.get_all(name).iter().next_back();
        let https = last(FORWARDED_PROTO).map_or(peer_https, |value| {
            let word = value.as_bytes().rsplit(|byte| *byte == b',').next().unwrap_or_default();
            word.trim_ascii().eq_ignore_ascii_case(b"https")
        });
        let host = last(FORWARDED_HOST).or(host).cloned();
        Self { client, peer, peer_trusted, https, host }
    }

    /// Returns `http` or `https`, as the client sees it.
    pub fn scheme(&self) -> &'static str {
        if self.https { "https" } else { "http" }
    }
}

/// Reads an address, perhaps with a port or in brackets.
fn parse_hop(text: &str) -> Option<IpAddr> {
    let address = text
        .parse::<IpAddr>()
        .ok()
        .or_else(|| text.parse::<SocketAddr>().ok().map(|socket| socket.ip()))
        .or_else(|| text.strip_prefix('[')?.strip_suffix(']')?.parse().ok())?;
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(peer: &str, chain: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for value in chain {
            headers.append(FORWARDED_FOR, HeaderValue::from_str(value).expect("a value"));
        }
        let trusted = ["10.0.0.0/8".parse().expect("a net"), "fd00::/8".parse().expect("a net")];
        let peer = Peer::from(SocketAddr::new(peer.parse().expect("an address"), 80));
        RequestSource::find(peer, None, &headers, &trusted).client.to_string()
    }

    #[test]
    fn the_connection_tells_the_scheme_unless_a_trusted_proxy_does() {
        let scheme = |address: &str, https: bool, forwarded: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            headers.extend(forwarded.map(|scheme| (FORWARDED_PROTO, HeaderValue::from_static(scheme))));
            let peer = Peer { address: address.parse().expect("an address"), https };
            RequestSource::find(peer, None, &headers, &["10.0.0.0/8".parse().expect("a net")]).scheme()
        };
        assert_eq!(scheme("203.0.113.5:1", true, None), "https");
        assert_eq!(scheme("203.0.113.5:1", true, Some("http")), "https", "a client cannot deny its TLS");
        assert_eq!(scheme("203.0.113.5:1", false, Some("https")), "http");
        assert_eq!(scheme("10.0.0.1:1", true, None), "https");
        assert_eq!(scheme("10.0.0.1:1", true, Some("http")), "http");
        assert_eq!(scheme("10.0.0.1:1", false, Some("https")), "https");
    }

    #[test]
    fn sr_37_forwarded_addresses_of_an_untrusted_peer_are_ignored() {
        assert_eq!(find("203.0.113.5", &["1.2.3.4"]), "203.0.113.5");
    }

    #[test]
    fn sr_37_forwarded_addresses_are_read_from_the_right() {
        for (chain, client) in [
            (&["1.2.3.4"][..], "1.2.3.4"),
            (&["6.6.6.6, 1.2.3.4"], "1.2.3.4"),
            (&["6.6.6.6, 1.2.3.4, 10.9.9.9"], "1.2.3.4"),
            (&["6.6.6.6", "1.2.3.4, 10.9.9.9"], "1.2.3.4"),
            (&["1.2.3.4, nonsense, 10.9.9.9"], "10.9.9.9"),
            (&["10.2.2.2, 10.3.3.3"], "10.2.2.2"),
            (&[], "10.0.0.1"),
        ] {
            assert_eq!(find("10.0.0.1", chain), client, "{chain:?}");
        }
    }

    #[test]
    fn sr_37_foreign_bytes_of_a_client_hide_no_proxy() {
        let mut headers = HeaderMap::new();
        headers.append(FORWARDED_FOR, HeaderValue::from_bytes(b"\xe9, 1.2.3.4").expect("a value"));
        let trusted = ["10.0.0.0/8".parse().expect("a net")];
        let peer = Peer::from(SocketAddr::from(([10, 0, 0, 1], 80)));
        assert_eq!(RequestSource::find(peer, None, &headers, &trusted).client.to_string(), "1.2.3.4");
    }

    #[test]
    fn addresses_are_compared_in_canonical_form() {
        assert_eq!(find("::ffff:10.0.0.1", &["1.2.3.4:5678"]), "1.2.3.4");
        assert_eq!(find("fd00::1", &["[2001:db8::7]:443"]), "2001:db8::7");
    }
}
