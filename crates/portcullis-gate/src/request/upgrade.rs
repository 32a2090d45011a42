//! What a request asks to switch its connection to (RFC 9110 §7.8).

use http::HeaderMap;
use http::header::{CONNECTION, HeaderName, UPGRADE};

/// Whether the request asks for a WebSocket (RFC 6455 §4.1): `Upgrade` names `websocket` and `Connection` names `Upgrade`,
/// in any case and at any place of their lists.
///
/// A foreign byte elsewhere in these fields changes nothing.
pub fn asks_for_web_socket(headers: &HeaderMap) -> bool {
    has_member(headers, UPGRADE, b"websocket") && has_member(headers, CONNECTION, b"upgrade")
}

fn has_member(headers: &HeaderMap, name: HeaderName, member: &[u8]) -> bool {
    headers.get_all(name).iter().any(|value| {
        let mut members = value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        members.any(|known| known.eq_ignore_ascii_case(member))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn asks(connection: &[&'static [u8]], upgrade: &[&'static [u8]]) -> bool {
        let mut headers = HeaderMap::new();
        for (name, values) in [(CONNECTION, connection), (UPGRADE, upgrade)] {
            for value in values {
                headers.append(&name, HeaderValue::from_bytes(value).expect("a value"));
            }
        }
        asks_for_web_socket(&headers)
    }

    #[test]
    fn a_handshake_is_found_in_any_case_list_and_field() {
        assert!(asks(&[b"Upgrade"], &[b"websocket"]));
        assert!(asks(&[b"keep-alive , UPGRADE"], &[b"WebSocket"]));
        assert!(asks(&[b"keep-alive", b"x, upgrade"], &[b"h2c, websocket"]));
        assert!(asks(&[b"\xe9, upgrade"], &[b"\xe9", b"websocket"]));
        for (connection, upgrade) in
            [(&b"keep-alive"[..], &b"websocket"[..]), (b"upgrade", b"h2c"), (b"upgrade", b"websocket2"), (b"", b"")]
        {
            assert!(!asks(&[connection], &[upgrade]), "{connection:?} {upgrade:?}");
        }
        assert!(!asks(&[], &[b"websocket"]) && !asks(&[b"upgrade"], &[]));
    }
}
