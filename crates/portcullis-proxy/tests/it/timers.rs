//! Each party is timed for itself: the upstream while the gateway waits for it, the client while it sends.

use std::time::Duration;

use portcullis_model::BodyLimit;

use crate::gateway::{Gateway, Setup};
use crate::peer::{Peer, Upstream};

const GET: &str = "GET /api/v1/things HTTP/1.1\r\nHost: gate\r\n\r\n";
const CHUNKED_POST: &str = "POST /api/v1/things HTTP/1.1\r\nHost: gate\r\nTransfer-Encoding: chunked\r\n\r\n";
/// Short enough to wait for.
const SHORT: Duration = Duration::from_millis(200);
/// Longer than a loaded machine delays a test.
const AMPLE: Duration = Duration::from_secs(2);
/// Far within [`AMPLE`]; ten of them are longer.
const PAUSE: Duration = Duration::from_millis(250);
/// Longer than any test.
const LONG: Duration = Duration::from_secs(60);

async fn start(adjust: impl FnOnce(Setup) -> Setup) -> (Upstream, Gateway, Peer) {
    let upstream = Upstream::listen().await;
    let setup = Setup { max_body: BodyLimit::Unlimited, ..Setup::to([upstream.address()]) };
    let gateway = Gateway::start(adjust(setup)).await;
    let client = gateway.connect().await;
    (upstream, gateway, client)
}

#[tokio::test]
async fn a_response_must_begin_within_the_routes_timeout() {
    let (upstream, gateway, mut client) = start(|setup| Setup { timeout: SHORT, ..setup }).await;
    client.write(GET).await;
    let mut service = upstream.accept().await;
    service.head().await;
    client.until("http_response_timeout").await;
    assert_eq!(service.rest().await, "", "the connection is closed, not kept");
    assert_eq!((gateway.status(), gateway.outcomes("timeout")), ("unhealthy", 1));
}

#[tokio::test]
async fn half_a_head_and_interim_responses_do_not_extend_the_timeout() {
    for begun in ["HTTP/1.1 200 OK\r\ncontent-", "HTTP/1.1 102 Processing\r\n\r\n"] {
        let (upstream, gateway, mut client) = start(|setup| Setup { timeout: SHORT, ..setup }).await;
        client.write(GET).await;
        let mut service = upstream.accept().await;
        service.head().await;
        service.write(begun).await;
        client.until("http_response_timeout").await;
        assert_eq!(gateway.outcomes("timeout"), 1, "{begun:?}");
    }
}

#[tokio::test]
async fn an_upload_may_take_longer_than_the_timeout() {
    let (upstream, gateway, mut client) = start(|setup| Setup { timeout: AMPLE, ..setup }).await;
    client.write(CHUNKED_POST).await;
    let mut service = upstream.accept().await;
    service.head().await;
    for piece in 0..10 {
        tokio::time::sleep(PAUSE).await;
        client.write("4\r\nmore\r\n").await;
        assert!(service.until("more\r\n").await.starts_with("4\r\n"), "piece {piece}");
    }
    client.write("0\r\n\r\n").await;
    service.until("0\r\n\r\n").await;
    service.write("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    assert!(client.head().await.starts_with("http/1.1 200"));
    assert_eq!((gateway.status(), gateway.outcomes("answered")), ("healthy", 1));
}

#[tokio::test]
async fn the_timeout_begins_at_the_end_of_the_upload() {
    let (upstream, gateway, mut client) = start(|setup| Setup { timeout: SHORT, ..setup }).await;
    client.write(CHUNKED_POST).await;
    client.write("4\r\nmore\r\n0\r\n\r\n").await;
    let mut service = upstream.accept().await;
    service.until("0\r\n\r\n").await;
    client.until("http_response_timeout").await;
    assert_eq!((gateway.status(), gateway.outcomes("timeout")), ("unhealthy", 1));
}

#[tokio::test]
async fn a_client_that_sends_nothing_is_no_fault_of_the_upstream() {
    let (upstream, gateway, mut client) =
        start(|setup| Setup { timeout: SHORT / 4, body_timeout: SHORT, ..setup }).await;
    client.write(CHUNKED_POST).await;
    client.write("4\r\nmore\r\n").await;
    let mut service = upstream.accept().await;
    service.until("more\r\n").await;
    client.until("http_request_error: BodyTooSlow").await;
    assert_eq!((gateway.status(), gateway.outcomes("client"), gateway.outcomes("timeout")), ("unknown", 1, 0));
}

#[tokio::test]
async fn an_upstream_that_takes_no_bytes_is_timed() {
    let (upstream, gateway, mut client) = start(|setup| Setup { timeout: SHORT, body_timeout: LONG, ..setup }).await;
    client.write(CHUNKED_POST).await;
    let mut service = upstream.accept().await;
    service.head().await;
    // More than the kernel's buffers hold, of which nobody reads a byte.
    let piece = [b"10000\r\n".as_slice(), &[b'x'; 1 << 16], b"\r\n"].concat();
    for _ in 0..1000 {
        client.write_while_read(&piece).await;
    }
    assert_eq!((gateway.status(), gateway.outcomes("timeout")), ("unhealthy", 1));
}

#[tokio::test]
async fn a_slow_upstream_is_not_charged_to_the_client() {
    let limits = |setup| Setup { timeout: LONG, body_timeout: AMPLE, ..setup };
    let (upstream, gateway, mut client) = start(limits).await;
    client.write(CHUNKED_POST).await;
    let mut service = upstream.accept().await;
    service.head().await;
    const PIECES: usize = 400;
    let piece = [b"10000\r\n".as_slice(), &[b'x'; 1 << 16], b"\r\n"].concat();
    let sending = async {
        for _ in 0..PIECES {
            client.write_bytes(&piece).await;
        }
        client.write("0\r\n\r\n").await;
        client
    };
    let reading = async {
        // Until then the client could send nothing, because the buffers in between are full.
        tokio::time::sleep(10 * PAUSE).await;
        service.bytes(PIECES * piece.len()).await;
        service.until("0\r\n\r\n").await;
        service.write("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
        service
    };
    let (mut client, _service) = tokio::join!(sending, reading);
    assert!(client.head().await.starts_with("http/1.1 200"));
    assert_eq!(gateway.outcomes("client"), 0);
}

#[tokio::test]
async fn silence_within_a_response_cuts_it_off() {
    for head in ["content-length: 100", "transfer-encoding: chunked", "x: until the end"] {
        let (upstream, gateway, mut client) = start(|setup| Setup { body_idle_timeout: Some(SHORT), ..setup }).await;
        client.write(GET).await;
        let mut service = upstream.accept().await;
        service.head().await;
        service.write(&format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n4\r\nwiki\r\n")).await;
        client.until("wiki").await;
        let rest = client.rest().await;
        assert!(!rest.contains("0\r\n\r\n"), "{head}: it does not look complete: {rest:?}");
        assert_eq!(service.rest().await, "", "{head}: the connection is closed");
        assert_eq!(gateway.body_failures(), 1, "{head}");
    }
}

#[tokio::test]
async fn each_piece_of_a_response_has_its_own_time() {
    let (upstream, gateway, mut client) = start(|setup| Setup { body_idle_timeout: Some(AMPLE), ..setup }).await;
    client.write(GET).await;
    let mut service = upstream.accept().await;
    service.head().await;
    service.write("HTTP/1.1 200 OK\r\ncontent-length: 40\r\n\r\n").await;
    for _ in 0..10 {
        tokio::time::sleep(PAUSE).await;
        service.write("wiki").await;
        client.until("wiki").await;
    }
    assert_eq!(gateway.body_failures(), 0);
}

#[tokio::test]
async fn streams_have_a_limit_of_their_own() {
    for kind in ["text/event-stream", "Text/Event-Stream; charset=utf-8", "application/grpc", "application/grpc+proto"]
    {
        let head =
            format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ntransfer-encoding: chunked\r\n\r\n4\r\nwiki\r\n");
        let unlimited = |setup| Setup { body_idle_timeout: Some(SHORT / 4), stream_idle_timeout: None, ..setup };
        let (upstream, _gateway, mut client) = start(unlimited).await;
        client.write(GET).await;
        let mut service = upstream.accept().await;
        service.head().await;
        service.write(&head).await;
        client.until("wiki").await;
        tokio::time::sleep(SHORT).await;
        service.write("4\r\nmore\r\n").await;
        client.until("more").await;
        let limited = |setup| Setup { body_idle_timeout: Some(LONG), stream_idle_timeout: Some(SHORT), ..setup };
        let (upstream, gateway, mut client) = start(limited).await;
        client.write(GET).await;
        let mut service = upstream.accept().await;
        service.head().await;
        service.write(&head).await;
        client.until("wiki").await;
        client.rest().await;
        assert_eq!(gateway.body_failures(), 1, "{kind}");
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_is_not_the_upstreams_silence() {
    const PIECE: usize = 1 << 16;
    const PIECES: usize = 400;
    let (upstream, gateway, mut client) = start(|setup| Setup { body_idle_timeout: Some(AMPLE), ..setup }).await;
    client.write(GET).await;
    let mut service = upstream.accept().await;
    service.head().await;
    service.write(&format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", PIECE * PIECES)).await;
    let sending = async {
        for _ in 0..PIECES {
            service.write_bytes(&[b'x'; PIECE]).await;
        }
        service
    };
    let reading = async {
        // The buffers are full meanwhile, so the upstream cannot send.
        tokio::time::sleep(10 * PAUSE).await;
        client.head().await;
        client.bytes(PIECE * PIECES).await;
    };
    tokio::join!(sending, reading);
    assert_eq!(gateway.body_failures(), 0);
}

#[tokio::test]
async fn an_upload_that_pauses_after_the_response_began_is_bounded() {
    let limits = |setup| Setup { body_timeout: AMPLE, body_idle_timeout: Some(LONG), ..setup };
    let (upstream, gateway, mut client) = start(limits).await;
    client.write(CHUNKED_POST).await;
    client.write("4\r\nmore\r\n").await;
    let mut service = upstream.accept().await;
    service.until("more\r\n").await;
    service.write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nwiki\r\n").await;
    client.until("wiki").await;
    assert!(!client.rest().await.contains("0\r\n\r\n"), "it is cut off");
    assert_eq!(service.rest().await, "");
    assert_eq!(gateway.body_failures(), 0, "it is the client's failure");
}

#[tokio::test]
async fn a_long_upload_is_not_silence_of_its_response() {
    let limits = |setup| Setup { body_timeout: LONG, body_idle_timeout: Some(AMPLE), ..setup };
    let (upstream, gateway, mut client) = start(limits).await;
    client.write(CHUNKED_POST).await;
    let mut service = upstream.accept().await;
    service.head().await;
    service.write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nwiki\r\n").await;
    client.until("wiki").await;
    for _ in 0..10 {
        tokio::time::sleep(PAUSE).await;
        client.write("4\r\nmore\r\n").await;
        service.until("more\r\n").await;
    }
    client.write("0\r\n\r\n").await;
    service.until("0\r\n\r\n").await;
    service.write("0\r\n\r\n").await;
    client.until("0\r\n\r\n").await;
    assert_eq!(gateway.body_failures(), 0);
}
