//! Detects the protocol of a connection: HTTP/2 begins with a preface (RFC 9113 §3.4) that is not a valid HTTP/1.1
//! request.

use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::lingering_close::LingeringStream;

const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Pause before looking for the rest of a preface that arrived in pieces.
const PIECE_PAUSE: Duration = Duration::from_millis(100);
/// SETTINGS, then GOAWAY with HTTP_1_1_REQUIRED (RFC 9113 §7).
const HTTP_1_1_REQUIRED: &[u8; 26] = b"\0\0\0\x04\0\0\0\0\0\
    \0\0\x08\x07\0\0\0\0\0\0\0\0\0\0\0\0\x0d";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// HTTP/1.1, or bytes that the HTTP/1.1 parser will reject.
    Http1,
    Http2,
}

/// Waits for the first bytes of a connection without consuming them.
pub(crate) async fn detect(stream: &TcpStream) -> Protocol {
    let mut start = [0; PREFACE.len()];
    loop {
        match stream.peek(&mut start).await {
            Ok(seen) if seen == PREFACE.len() && start == *PREFACE => return Protocol::Http2,
            Ok(seen @ 1..) if seen < PREFACE.len() && PREFACE.starts_with(&start[..seen]) => {
                // The socket stays readable while these bytes are not consumed, so waiting for readiness would spin.
                tokio::time::sleep(PIECE_PAUSE).await;
            }
            // The HTTP/1.1 parser reports whatever is wrong with the bytes.
            Ok(_) | Err(_) => return Protocol::Http1,
        }
    }
}

/// Tells an HTTP/2 client to use HTTP/1.1, for `server.http2 = false`.
pub(crate) async fn refuse_http2(mut stream: LingeringStream) {
    // The client may have gone.
    let _ = stream.write_all(HTTP_1_1_REQUIRED).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn detected(pieces: &[&[u8]]) -> Protocol {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let mut client = TcpStream::connect(address).await.expect("it listens");
        let (server, _) = listener.accept().await.expect("a client");
        let sending = async {
            for piece in pieces {
                client.write_all(piece).await.expect("the server is connected");
                tokio::task::yield_now().await;
            }
            client.shutdown().await.expect("the server is connected");
        };
        tokio::join!(detect(&server), sending).0
    }

    #[tokio::test]
    async fn the_preface_is_detected_as_http_2() {
        assert_eq!(detected(&[PREFACE]).await, Protocol::Http2);
    }

    #[tokio::test]
    async fn a_preface_in_pieces_is_detected_as_http_2() {
        assert_eq!(detected(&[b"PRI * HTTP/2.0\r\n", b"\r\nSM\r\n\r\n", b"more"]).await, Protocol::Http2);
    }

    #[tokio::test]
    async fn other_first_bytes_are_detected_as_http_1() {
        assert_eq!(detected(&[b"GET / HTTP/1.1\r\n\r\n and more"]).await, Protocol::Http1);
        assert_eq!(detected(&[b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r!"]).await, Protocol::Http1);
        assert_eq!(detected(&[b"P", b"OST"]).await, Protocol::Http1);
        assert_eq!(detected(&[]).await, Protocol::Http1);
    }
}
