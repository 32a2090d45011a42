//! The authority that a request names: a host and perhaps a port (RFC 9110 §7.2).

use std::net::Ipv6Addr;

/// The longest name of a host, in bytes (RFC 1035 §2.3.4).
const MAX_NAME: usize = 255;

/// Whether a value of `Host` is a host and perhaps a port, and nothing else.
///
/// The grammar of RFC 3986 allows more: escapes, `!`, `,` and `;`. No host in use has them, and upstreams build links and
/// choose tenants by the value, so what they might read differently is refused.
pub(crate) fn is_valid(value: &[u8]) -> bool {
    if let [b'[', rest @ ..] = value {
        let Some(end) = rest.iter().position(|byte| *byte == b']') else { return false };
        let address = std::str::from_utf8(&rest[..end]).ok().and_then(|text| text.parse::<Ipv6Addr>().ok());
        return address.is_some() && is_port_or_end(&rest[end + 1..]);
    }
    let end = value.iter().position(|byte| !IS_IN_LABEL[usize::from(*byte)]).unwrap_or(value.len());
    let (mut name, mut rest) = value.split_at(end);
    // A final dot is the root of the name; an empty label is none.
    while let [b'.', after @ ..] = rest
        && !name.is_empty()
    {
        let label = after.iter().position(|byte| !IS_IN_LABEL[usize::from(*byte)]).unwrap_or(after.len());
        (name, rest) = after.split_at(label);
    }
    let length = value.len() - rest.len();
    (1..=MAX_NAME).contains(&length) && is_port_or_end(rest)
}

/// Whether a byte may be in a label of a name: a letter, a digit, `-` or `_`. A table, because every byte of every `Host` is
/// looked up in it.
static IS_IN_LABEL: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0u8;
    while byte < 128 {
        table[byte as usize] = byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        byte += 1;
    }
    table
};

/// Whether what follows a host is nothing, or a colon and a port.
fn is_port_or_end(rest: &[u8]) -> bool {
    match rest {
        [] => true,
        [b':', digits @ ..] => {
            let value = |port: u32, digit: &u8| digit.is_ascii_digit().then(|| port * 10 + u32::from(digit - b'0'));
            (1..=5).contains(&digits.len())
                && digits.iter().try_fold(0, value).is_some_and(|port| port <= u32::from(u16::MAX))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_a_name_or_an_address_perhaps_with_a_port() {
        for good in [
            "gate.example",
            "GATE.example:8000",
            "localhost",
            "my_service:80",
            "xn--bcher-kva.example",
            "example.com.",
            "127.0.0.1:65535",
            "[::1]",
            "[2001:db8::7]:443",
            "[::ffff:10.0.0.1]",
        ] {
            assert!(is_valid(good.as_bytes()), "{good}");
        }
    }

    #[test]
    fn everything_else_is_no_host() {
        for bad in [
            "",
            " ",
            "a b",
            "a/../b@evil",
            "a@b",
            "user:password@gate",
            "a,b",
            "a;b",
            "a%2eb",
            "a?b",
            "a#b",
            "a\\b",
            "a\"b",
            "a<b",
            "http://a",
            "gate:",
            "gate:http",
            "gate:65536",
            "gate:000080",
            "gate:+80",
            "gate:80:80",
            ":80",
            ".",
            "..",
            ".a",
            "a..b",
            "a.:80..",
            "[::1",
            "[]",
            "[::1]x",
            "[::1%eth0]",
            "[v1.x]",
            "::1",
            "bücher.example",
            "a\u{0}b",
            "a\tb",
        ] {
            assert!(!is_valid(bad.as_bytes()), "{bad:?}");
        }
        assert!(is_valid("a".repeat(255).as_bytes()) && !is_valid("a".repeat(256).as_bytes()));
        assert!(!is_valid(format!("{}:80", "a".repeat(256)).as_bytes()));
    }
}
