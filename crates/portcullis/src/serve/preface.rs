//! What a client speaks: HTTP/2 begins with a preface (RFC 9113 §3.4) that no request of HTTP/1.1 begins with.

use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::lingering::Lingering;

const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// How long to wait for the rest of a preface that came in pieces.
const PIECE_PAUSE: Duration = Duration::from_millis(100);
/// SETTINGS, and GOAWAY with HTTP_1_1_REQUIRED (RFC 9113 §7).
const REFUSAL: &[u8; 26] = b"\0\0\0\x04\0\0\0\0\0\
    \0\0\x08\x07\0\0\0\0\0\0\0\0\0\0\0\0\x0d";

/// The two protocols.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spoken {
    /// Or what is to be treated as such.
    Http1,
    Http2,
}

/// Waits for the first bytes, and takes none.
pub(super) async fn spoken(stream: &TcpStream) -> Spoken {
    let mut begin = [0; PREFACE.len()];
    loop {
        match stream.peek(&mut begin).await {
            Ok(seen) if seen == PREFACE.len() && begin == *PREFACE => return Spoken::Http2,
            Ok(seen @ 1..) if seen < PREFACE.len() && PREFACE.starts_with(&begin[..seen]) => {
                // The kernel says "readable" as long as these bytes lie there.
                tokio::time::sleep(PIECE_PAUSE).await;
            }
            // Whatever is wrong with it, its parser says.
            Ok(_) | Err(_) => return Spoken::Http1,
        }
    }
}

/// Says that HTTP/2 is not spoken here, in its own words.
pub(super) async fn refuse(stream: TcpStream) {
    // A client that is gone needs no refusal.
    let _ = Lingering::new(stream).write_all(REFUSAL).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn told(pieces: &[&[u8]]) -> Spoken {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let mut client = TcpStream::connect(address).await.expect("it listens");
        let (server, _) = listener.accept().await.expect("a client");
        let saying = async {
            for piece in pieces {
                client.write_all(piece).await.expect("it is there");
                tokio::task::yield_now().await;
            }
            client.shutdown().await.expect("it is there");
        };
        tokio::join!(spoken(&server), saying).0
    }

    #[tokio::test]
    async fn the_preface_is_known_in_pieces_and_nothing_else_is_taken_for_it() {
        assert_eq!(told(&[PREFACE]).await, Spoken::Http2);
        assert_eq!(told(&[b"PRI * HTTP/2.0\r\n", b"\r\nSM\r\n\r\n", b"more"]).await, Spoken::Http2);
        assert_eq!(told(&[b"GET / HTTP/1.1\r\n\r\n and more"]).await, Spoken::Http1);
        assert_eq!(told(&[b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r!"]).await, Spoken::Http1);
        assert_eq!(told(&[b"P", b"OST"]).await, Spoken::Http1);
        assert_eq!(told(&[]).await, Spoken::Http1);
    }
}
