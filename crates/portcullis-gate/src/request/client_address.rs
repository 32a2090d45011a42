//! The client's address and scheme when proxies stand in front of the gateway (SR-37).

use std::net::{IpAddr, SocketAddr};

use http::header::FORWARDED;
use http::{HeaderMap, HeaderName, HeaderValue};
use ipnet::IpNet;

use crate::request::host;

mod forwarded;

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

/// What trusted proxies tell about the client.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Told<'h> {
    client: Option<IpAddr>,
    proto: Option<&'h str>,
    host: Option<&'h str>,
}

impl RequestSource {
    /// Reads `X-Forwarded-*`, or `Forwarded` (RFC 7239) where a request has none of them, from right to left, as far
    /// as the hops are trusted. `host` is the request's own.
    ///
    /// Each proxy appends what it saw to each list. So the entry about the client has the same number from the right in
    /// every list, and entries to its left are the client's own inventions. A scheme that a trusted proxy names counts
    /// before that of the connection.
    pub(crate) fn find(peer: Peer, host: Option<&HeaderValue>, headers: &HeaderMap, trusted: &[IpNet]) -> Self {
        let (peer, peer_https) = (peer.address.ip().to_canonical(), peer.https);
        let is_trusted = |address: IpAddr| trusted.iter().any(|net| net.contains(&address));
        let peer_trusted = !trusted.is_empty() && is_trusted(peer);
        if !peer_trusted {
            return Self { client: peer, peer, peer_trusted, https: peer_https, host: host.cloned() };
        }
        let is_older = |name: &HeaderName| [FORWARDED_FOR, FORWARDED_PROTO, FORWARDED_HOST].contains(name);
        let told = if headers.contains_key(FORWARDED) && !headers.keys().any(is_older) {
            forwarded::read(headers, is_trusted)
        } else {
            x_forwarded(headers, is_trusted)
        };
        // A proxy that names no valid host says nothing about it.
        let forwarded_host = told.host.filter(|host| host::is_valid(host.as_bytes()));
        let host = forwarded_host.and_then(|host| HeaderValue::from_str(host).ok()).or_else(|| host.cloned());
        let https = told.proto.map_or(peer_https, |proto| proto.eq_ignore_ascii_case("https"));
        Self { client: told.client.unwrap_or(peer), peer, peer_trusted, https, host }
    }

    /// Returns `http` or `https`, as the client sees it.
    pub fn scheme(&self) -> &'static str {
        if self.https { "https" } else { "http" }
    }
}

/// Reads `X-Forwarded-For`, and the entries of `-Proto` and `-Host` that are about the same hop.
fn x_forwarded(headers: &HeaderMap, is_trusted: impl Fn(IpAddr) -> bool) -> Told<'_> {
    let mut told = Told::default();
    // The number of the client's hop, counted from the right.
    let mut hop = 0;
    for (index, text) in from_right(headers, &FORWARDED_FOR).enumerate() {
        // A hop that is not an address ends the chain: nothing vouches for the entries to its left.
        let Some(address) = parse_hop(text) else { break };
        (told.client, hop) = (Some(address), index);
        if !is_trusted(address) {
            break;
        }
    }
    told.proto = entry_of_hop(headers, &FORWARDED_PROTO, hop);
    told.host = entry_of_hop(headers, &FORWARDED_HOST, hop);
    told
}

/// Returns the entry about a hop. A list that is shorter was not appended to by every proxy; then its leftmost entry is
/// what the outermost of those wrote.
fn entry_of_hop<'h>(headers: &'h HeaderMap, name: &HeaderName, hop: usize) -> Option<&'h str> {
    from_right(headers, name).take(hop + 1).last()
}

/// Returns the entries of a list from right to left, over all its lines. They are split as bytes, because a client may
/// write anything to the left of what the proxies add; an entry that is no text is empty.
fn from_right<'h>(headers: &'h HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'h str> {
    let lines = headers.get_all(name).iter().rev();
    let entries = lines.flat_map(|value| value.as_bytes().rsplit(|byte| *byte == b','));
    entries.map(|entry| std::str::from_utf8(entry.trim_ascii()).unwrap_or_default())
}

/// Reads an address, perhaps with a port or in brackets.
pub(crate) fn parse_hop(text: &str) -> Option<IpAddr> {
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

    fn source(peer: &str, fields: &[(HeaderName, &str)]) -> RequestSource {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(name, HeaderValue::from_bytes(value.as_bytes()).expect("a value"));
        }
        let trusted = ["10.0.0.0/8".parse().expect("a net"), "fd00::/8".parse().expect("a net")];
        let host = HeaderValue::from_static("gate.example");
        let peer = Peer::from(SocketAddr::new(peer.parse().expect("an address"), 80));
        RequestSource::find(peer, Some(&host), &headers, &trusted)
    }

    fn find(peer: &str, chain: &[&str]) -> String {
        let fields: Vec<_> = chain.iter().map(|value| (FORWARDED_FOR, *value)).collect();
        source(peer, &fields).client.to_string()
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

    #[test]
    fn sr_37_scheme_and_host_are_those_of_the_clients_hop() {
        for (chain, protos, https) in [
            ("1.2.3.4", "https", true),
            ("1.2.3.4", "http, https", true),
            ("1.2.3.4", "https, http", false),
            ("1.2.3.4, 10.9.9.9", "https, http", true),
            ("1.2.3.4, 10.9.9.9", "http, https", false),
            ("1.2.3.4, 10.9.9.9", "https, http, http", false),
            ("1.2.3.4, 10.9.9.9", "https", true),
            ("6.6.6.6, 1.2.3.4, 10.9.9.9", "https, http, http", false),
            ("10.2.2.2, 10.3.3.3", "https, http", true),
            ("1.2.3.4", "HTTPS", true),
            ("1.2.3.4", "https, ", false),
            ("1.2.3.4", "wss", false),
        ] {
            let fields = [(FORWARDED_FOR, chain), (FORWARDED_PROTO, protos)];
            assert_eq!(source("10.0.0.1", &fields).https, https, "{chain} and {protos}");
        }
        for (hosts, host) in [
            ("shop.example", "shop.example"),
            ("shop.example, inner.example", "shop.example"),
            ("evil.example, shop.example, inner.example", "shop.example"),
            ("a/../b@evil, inner.example", "gate.example"),
            ("", "gate.example"),
        ] {
            let fields = [(FORWARDED_FOR, "1.2.3.4, 10.9.9.9"), (FORWARDED_HOST, hosts)];
            assert_eq!(source("10.0.0.1", &fields).host.expect("a host"), host, "{hosts}");
        }
    }

    #[test]
    fn sr_37_lists_over_several_lines_are_one_list() {
        let lines = [
            (FORWARDED_FOR, "1.2.3.4"),
            (FORWARDED_FOR, "10.9.9.9"),
            (FORWARDED_PROTO, "https"),
            (FORWARDED_PROTO, "http"),
        ];
        let source = source("10.0.0.1", &lines);
        assert_eq!((source.client.to_string().as_str(), source.scheme()), ("1.2.3.4", "https"));
    }

    #[test]
    fn sr_37_forwarded_is_read_like_the_older_headers() {
        for (chain, client, scheme, host) in [
            ("for=1.2.3.4", "1.2.3.4", "http", "gate.example"),
            ("for=1.2.3.4;proto=https;host=shop.example", "1.2.3.4", "https", "shop.example"),
            ("For=\"[2001:db8::7]:4711\";Proto=HTTPS", "2001:db8::7", "https", "gate.example"),
            (
                "for=6.6.6.6;proto=http, for=1.2.3.4;proto=https, for=10.9.9.9;proto=http",
                "1.2.3.4",
                "https",
                "gate.example",
            ),
            (
                "for=6.6.6.6;proto=https, for=1.2.3.4;proto=http, for=10.9.9.9;proto=https",
                "1.2.3.4",
                "http",
                "gate.example",
            ),
            ("for=1.2.3.4, for=unknown, for=10.9.9.9", "10.9.9.9", "http", "gate.example"),
            ("for=\"a,b;for=1.2.3.4\", for=10.9.9.9", "10.9.9.9", "http", "gate.example"),
            ("for=1.2.3.4;host=\"a/../b@evil\"", "1.2.3.4", "http", "gate.example"),
            ("for=\"1.2.3.4", "10.0.0.1", "http", "gate.example"),
            ("for=\", for=1.2.3.4;proto=https", "1.2.3.4", "https", "gate.example"),
            ("for=\u{e9}, for=1.2.3.4", "1.2.3.4", "http", "gate.example"),
            ("for=1.2.3.4;for=5.6.7.8", "10.0.0.1", "http", "gate.example"),
            ("nonsense", "10.0.0.1", "http", "gate.example"),
        ] {
            let source = source("10.0.0.1", &[(FORWARDED, chain)]);
            let found = (source.client.to_string(), source.scheme(), source.host.expect("a host"));
            assert_eq!(found, (client.to_owned(), scheme, HeaderValue::from_static(host)), "{chain}");
        }
    }

    #[test]
    fn sr_37_forwarded_counts_only_without_the_older_headers() {
        let both = [(FORWARDED, "for=6.6.6.6;proto=https"), (FORWARDED_FOR, "1.2.3.4")];
        let source = source("10.0.0.1", &both);
        assert_eq!((source.client.to_string().as_str(), source.scheme()), ("1.2.3.4", "http"));
        assert_eq!(self::source("203.0.113.5", &both).client.to_string(), "203.0.113.5", "the peer is not trusted");
    }
}
