//! Who the client is when proxies stand in front (requirement 37).

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue};
use ipnet::IpNet;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// Where a request comes from and how it was asked for.
#[derive(Clone, Debug)]
pub struct Origination {
    /// The client: the first address from the right that is no trusted proxy.
    pub client: IpAddr,
    /// Who connected to us.
    pub peer: IpAddr,
    /// Whether the peer's `X-Forwarded-*` count.
    pub peer_trusted: bool,
    /// Whether the client speaks TLS to the outermost trusted proxy.
    pub https: bool,
    /// The host the client asked for.
    pub host: Option<HeaderValue>,
}

impl Origination {
    /// Reads `X-Forwarded-*` right to left, as far as the hops are trusted.
    pub(crate) fn find(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> Self {
        let peer = peer.to_canonical();
        let is_trusted = |address: IpAddr| trusted.iter().any(|net| net.contains(&address));
        let peer_trusted = !trusted.is_empty() && is_trusted(peer);
        let own_host = || headers.get(http::header::HOST).cloned();
        if !peer_trusted {
            return Self { client: peer, peer, peer_trusted, https: false, host: own_host() };
        }
        let mut client = peer;
        'hops: for value in headers.get_all(FORWARDED_FOR).iter().rev() {
            let Ok(text) = value.to_str() else { break };
            for hop in text.rsplit(',') {
                // A hop that is no address ends the chain: what lies left of it is unfounded.
                let Some(address) = parse_hop(hop.trim()) else { break 'hops };
                client = address;
                if !is_trusted(address) {
                    break 'hops;
                }
            }
        }
        let last = |name: HeaderName| headers.get_all(name).iter().next_back();
        let https = last(FORWARDED_PROTO)
            .and_then(|value| value.to_str().ok())
            .is_some_and(|text| text.rsplit(',').next().is_some_and(|word| word.trim().eq_ignore_ascii_case("https")));
        let host = last(FORWARDED_HOST).cloned().or_else(own_host);
        Self { client, peer, peer_trusted, https, host }
    }

    /// `http` or `https`, as the client sees it.
    pub fn scheme(&self) -> &'static str {
        if self.https { "https" } else { "http" }
    }
}

/// Whether somebody says that a request comes from somebody else.
pub(crate) fn is_forwarded(headers: &HeaderMap) -> bool {
    headers.contains_key(FORWARDED_FOR) || headers.contains_key(http::header::FORWARDED)
}

/// An address, perhaps with a port or in brackets.
fn parse_hop(text: &str) -> Option<IpAddr> {
    let address = text
        .parse::<IpAddr>()
        .ok()
        .or_else(|| text.parse::<std::net::SocketAddr>().ok().map(|socket| socket.ip()))
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
        Origination::find(peer.parse().expect("an address"), &headers, &trusted).client.to_string()
    }

    #[test]
    fn sr_37_forwarded_addresses_count_only_from_trusted_peers_right_to_left() {
        assert_eq!(find("203.0.113.5", &["1.2.3.4"]), "203.0.113.5");
        assert_eq!(find("10.0.0.1", &["1.2.3.4"]), "1.2.3.4");
        assert_eq!(find("10.0.0.1", &["6.6.6.6, 1.2.3.4"]), "1.2.3.4");
        assert_eq!(find("10.0.0.1", &["6.6.6.6, 1.2.3.4, 10.9.9.9"]), "1.2.3.4");
        assert_eq!(find("10.0.0.1", &["6.6.6.6", "1.2.3.4, 10.9.9.9"]), "1.2.3.4");
        assert_eq!(find("10.0.0.1", &["1.2.3.4, nonsense, 10.9.9.9"]), "10.9.9.9");
        assert_eq!(find("10.0.0.1", &["10.2.2.2, 10.3.3.3"]), "10.2.2.2");
        assert_eq!(find("10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(find("::ffff:10.0.0.1", &["1.2.3.4:5678"]), "1.2.3.4");
        assert_eq!(find("fd00::1", &["[2001:db8::7]:443"]), "2001:db8::7");
    }
}
