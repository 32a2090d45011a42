//! Valid and invalid responses of upstreams.

use portcullis_model::BodyLimit;

use crate::gateway::{Gateway, Setup};
use crate::peer::{Peer, Upstream};

const GET: &str = "GET /api/v1/things HTTP/1.1\r\nHost: gate\r\n\r\n";
const EMPTY: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

async fn start() -> (Upstream, Gateway, Peer) {
    let upstream = Upstream::listen().await;
    let setup = Setup { max_body: BodyLimit::Unlimited, ..Setup::to([upstream.address()]) };
    let gateway = Gateway::start(setup).await;
    let client = gateway.connect().await;
    (upstream, gateway, client)
}

/// Sends a request, which the upstream has received on return.
async fn received(request: &str) -> (Upstream, Gateway, Peer, Peer) {
    let (upstream, gateway, mut client) = start().await;
    client.write(request).await;
    let mut service = upstream.accept().await;
    service.head().await;
    (upstream, gateway, client, service)
}

#[tokio::test]
async fn sr_39_an_ambiguous_response_is_not_passed_on() {
    for response in [
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 5\r\n\r\nhi",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nx: folded\r\n line\r\ncontent-length: 2\r\n\r\nhi",
        "220 mail.example ESMTP\r\n\r\n",
        "\0\0\0\0",
    ] {
        let (_upstream, gateway, mut client, mut service) = received(GET).await;
        service.write(response).await;
        let told = client.until("http_protocol_error: Broken").await;
        assert!(told.starts_with("HTTP/1.1 502") && !told.contains("hi"), "{response:?}: {told}");
        assert_eq!(service.rest().await, "", "the upstream gets nothing more");
        assert_eq!((gateway.outcomes("broken"), gateway.status()), (1, "unhealthy"), "{response:?}");
    }
}

#[tokio::test]
async fn malformed_chunks_cut_the_response_off() {
    for chunks in ["zz\r\nhi\r\n", "2\r\nhi!\r\n", "-2\r\nhi\r\n"] {
        let (_upstream, _gateway, mut client, mut service) = received(GET).await;
        service.write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n").await;
        client.until("first").await;
        service.write(chunks).await;
        assert!(!client.rest().await.contains("0\r\n\r\n"), "{chunks:?}");
        assert_eq!(service.rest().await, "", "{chunks:?}");
    }
}

#[tokio::test]
async fn a_body_shorter_than_its_length_is_cut_off() {
    let (_upstream, _gateway, mut client, mut service) = received(GET).await;
    service.write("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf").await;
    client.until("half").await;
    drop(service);
    assert_eq!(client.rest().await, "");
}

#[tokio::test]
async fn an_interim_response_is_dropped() {
    let (_upstream, _gateway, mut client, mut service) = received(GET).await;
    service.write("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n").await;
    service.write("HTTP/1.1 200 Fine\r\ncontent-length: 2\r\n\r\nhi").await;
    let told = client.until("\r\n\r\nhi").await;
    assert!(told.starts_with("HTTP/1.1 200 Fine\r\n") && !told.contains("link"), "{told}");
    client.write(GET).await;
    service.head().await;
}

#[tokio::test]
async fn a_response_may_arrive_byte_by_byte() {
    let (_upstream, _gateway, mut client, mut service) = received(GET).await;
    let response =
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4;x=y\r\nbyte\r\n3\r\n by\r\n0\r\na: b\r\n\r\n";
    for byte in response.bytes() {
        service.write_bytes(&[byte]).await;
        tokio::task::yield_now().await;
    }
    client.head().await;
    let body = client.until_bytes(b"\r\n0\r\n\r\n").await;
    assert_eq!(unchunked(&body), b"byte by");
    client.write(GET).await;
    service.head().await;
}

#[tokio::test]
async fn a_response_may_end_with_its_connection() {
    let (upstream, _gateway, mut client, mut service) = received(GET).await;
    service.write("HTTP/1.0 200 OK\r\n\r\nuntil ").await;
    client.until("until ").await;
    service.write("the end").await;
    client.until("the end").await;
    drop(service);
    client.until("0\r\n\r\n").await;
    client.write(GET).await;
    let mut service = upstream.accept().await;
    service.head().await;
    service.write(EMPTY).await;
    assert!(client.head().await.starts_with("http/1.1 200"));
}

#[tokio::test]
async fn a_response_without_a_body_ends_with_its_head() {
    let (upstream, _gateway, mut client, mut service) =
        received("HEAD /api/v1/things HTTP/1.1\r\nHost: gate\r\n\r\n").await;
    service.write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await;
    assert!(client.head().await.starts_with("http/1.1 200"));
    for head in ["HTTP/1.1 304 Not Modified\r\ncontent-length: 9\r\n\r\n", "HTTP/1.1 204 No Content\r\n\r\n"] {
        client.write(GET).await;
        let mut service = upstream.accept().await;
        service.head().await;
        service.write(head).await;
        assert!(client.head().await.starts_with(&head[..12].to_ascii_lowercase()));
    }
}

#[tokio::test]
async fn an_upload_that_is_refused_early_gets_a_response() {
    let (_upstream, _gateway, mut client, mut service) =
        received("POST /api/v1/things HTTP/1.1\r\nHost: gate\r\nContent-Length: 100000000\r\n\r\n").await;
    service.write("HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\n\r\nno").await;
    // The rest of the upload is written to a closed connection.
    drop(service);
    client.write_while_read(&[b'x'; 100_000]).await;
    assert!(client.until("\r\n\r\nno").await.starts_with("HTTP/1.1 413"));
}

#[tokio::test]
async fn an_empty_post_has_a_length_of_zero() {
    let (upstream, _gateway, mut client) = start().await;
    client.write("POST /api/v1/things HTTP/1.1\r\nHost: gate\r\n\r\n").await;
    let mut service = upstream.accept().await;
    assert!(service.head().await.contains("\r\ncontent-length: 0\r\n"));
    service.write(EMPTY).await;
    client.head().await;
    client.write(GET).await;
    assert!(!service.head().await.contains("content-length"), "a GET has no body");
}

/// Bytes that show whether a piece was lost, doubled or moved.
fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|n| (n % 251) as u8).collect()
}

fn chunked(body: &[u8]) -> Vec<u8> {
    let mut wire = Vec::new();
    for (n, chunk) in body.chunks(10_007).enumerate() {
        // Small ones between the large.
        for part in [&chunk[..n.min(chunk.len())], &chunk[n.min(chunk.len())..]] {
            if !part.is_empty() {
                wire.extend_from_slice(format!("{:x}\r\n", part.len()).as_bytes());
                wire.extend_from_slice(part);
                wire.extend_from_slice(b"\r\n");
            }
        }
    }
    wire.extend_from_slice(b"0\r\n\r\n");
    wire
}

fn unchunked(mut wire: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let end = wire.windows(2).position(|two| two == b"\r\n").expect("a size");
        let size = usize::from_str_radix(std::str::from_utf8(&wire[..end]).expect("digits"), 16).expect("a size");
        if size == 0 {
            return body;
        }
        body.extend_from_slice(&wire[end + 2..end + 2 + size]);
        wire = &wire[end + 2 + size + 2..];
    }
}

#[tokio::test]
async fn large_bodies_arrive_unchanged_both_ways() {
    const LENGTH: usize = 3_000_000;
    let body = pattern(LENGTH);
    for upload_chunked in [false, true] {
        for answer_chunked in [false, true] {
            let framed = |chunks: bool| {
                if chunks {
                    ("transfer-encoding: chunked".to_owned(), chunked(&body))
                } else {
                    (format!("content-length: {LENGTH}"), body.clone())
                }
            };
            let (upstream, _gateway, mut client) = start().await;
            let (field, wire) = framed(upload_chunked);
            client
                .write(&format!("PUT /api/v1/things HTTP/1.1\r\nHost: gate\r\nConnection: close\r\n{field}\r\n\r\n"))
                .await;
            let mut service = upstream.accept().await;
            service.head().await;
            let sending = async {
                client.write_bytes(&wire).await;
                client
            };
            let receiving = async {
                let arrived = if upload_chunked {
                    unchunked(&service.until_bytes(b"\r\n0\r\n\r\n").await)
                } else {
                    service.bytes(LENGTH).await
                };
                (service, arrived)
            };
            let (mut client, (mut service, arrived)) = tokio::join!(sending, receiving);
            assert!(arrived == body, "the upload came through whole, chunked: {upload_chunked}");
            let (field, wire) = framed(answer_chunked);
            let answering = async {
                service.write(&format!("HTTP/1.1 200 OK\r\n{field}\r\n\r\n")).await;
                service.write_bytes(&wire).await;
                service
            };
            let reading = async {
                client.head().await;
                client.rest_bytes().await
            };
            let (_service, response) = tokio::join!(answering, reading);
            let response = if answer_chunked { unchunked(&response) } else { response };
            assert!(response == body, "the response came through whole, chunked: {answer_chunked}");
        }
    }
}
