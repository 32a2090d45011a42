//! Upstreams that break the rules or their connection at any point. The client gets an error while there can be one, and
//! after that a response that visibly breaks off. The next request is served.

use portcullis_model::BodyLimit;

use crate::gateway::{Gateway, Setup};
use crate::peer::{Peer, Upstream};

const GET: &str = "GET /api/v1/things HTTP/1.1\r\nHost: gate\r\n\r\n";
/// A request that is never repeated.
const POST: &str = "POST /api/v1/things HTTP/1.1\r\nHost: gate\r\nContent-Length: 4\r\n\r\nbody";

async fn start() -> (Upstream, Gateway) {
    let upstream = Upstream::listen().await;
    let setup = Setup { max_body: BodyLimit::Unlimited, ..Setup::to([upstream.address()]) };
    let gateway = Gateway::start(setup).await;
    (upstream, gateway)
}

/// Sends a request, which the upstream has received on return.
async fn received(gateway: &Gateway, upstream: &Upstream) -> (Peer, Peer) {
    let mut client = gateway.connect().await;
    client.write(POST).await;
    let mut service = upstream.accept().await;
    service.until("body").await;
    (client, service)
}

/// Whether a further request is answered by its own response.
async fn still_serves(gateway: &Gateway, upstream: &Upstream) {
    let mut client = gateway.connect().await;
    client.write(GET).await;
    let mut service = upstream.accept().await;
    service.head().await;
    service.write("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nright").await;
    assert!(client.until("right").await.starts_with("HTTP/1.1 200"));
    service.end(true);
}

#[tokio::test]
async fn what_is_no_response_is_an_error() {
    let (upstream, gateway) = start().await;
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(101));
    let large = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "x".repeat(64 << 10));
    let interim = "HTTP/1.1 100 Continue\r\n\r\n".repeat(65);
    for (garbage, error) in [
        ("\x16\x03\x01\x02\0\x01\0\x01\x7c\x03\x03", "http_protocol_error"),
        ("<html>oops</html>\r\n\r\n", "http_protocol_error"),
        ("HTTP/2.0 200 OK\r\n\r\n", "http_protocol_error"),
        ("HTTP/1.1 20 OK\r\n\r\n", "http_protocol_error"),
        ("HTTP/1.1 2000 OK\r\n\r\n", "http_protocol_error"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 3, 4\r\n\r\nabc", "http_protocol_error"),
        ("HTTP/1.1 200 OK\r\nname: va\0lue\r\n\r\n", "http_protocol_error"),
        ("HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n", "http_upgrade_failed"),
        (&interim, "http_protocol_error"),
        (&many, "http_response_header_section_size"),
        (&large, "http_response_header_section_size"),
    ] {
        let (mut client, mut service) = received(&gateway, &upstream).await;
        // The gateway may close before it has read all.
        service.write_while_read(garbage.as_bytes()).await;
        let told = client.until(": ").await + &client.until(error).await;
        assert!(told.starts_with("HTTP/1.1 502"), "{told}");
        still_serves(&gateway, &upstream).await;
    }
}

#[tokio::test]
async fn a_connection_that_breaks_before_the_body_is_an_error() {
    let (upstream, gateway) = start().await;
    for begun in ["", "H", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 200 OK\r\nx: y\r\n\r"] {
        for reset in [false, true] {
            let (mut client, mut service) = received(&gateway, &upstream).await;
            service.write(begun).await;
            service.end(reset);
            let told = client.until("Broken").await;
            assert!(told.starts_with("HTTP/1.1 502"), "{begun:?}, {reset}: {told}");
            still_serves(&gateway, &upstream).await;
        }
    }
    assert_eq!(gateway.outcomes("broken"), 10);
}

#[tokio::test]
async fn a_body_that_breaks_off_never_looks_complete() {
    let (upstream, gateway) = start().await;
    let heads = ["content-length: 100", "transfer-encoding: chunked"];
    let bodies =
        ["5\r\nfirst\r\n", "5\r\nfirst", "5\r\nfirst\r\n5", "5\r\nfirst\r\n5\r\nab", "5\r\nfirst\r\n0\r\nx: y\r\n"];
    let mut count = 0;
    for head in heads {
        for body in bodies {
            for reset in [false, true] {
                let (mut client, mut service) = received(&gateway, &upstream).await;
                service.write(&format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n{body}")).await;
                client.until("first").await;
                service.end(reset);
                let rest = client.rest().await;
                assert!(!rest.ends_with("0\r\n\r\n"), "{head}, {body:?}, {reset}: {rest:?}");
                count += 1;
                assert_eq!(gateway.body_failures(), count, "{head}, {body:?}, {reset}");
                still_serves(&gateway, &upstream).await;
            }
        }
    }
}

#[tokio::test]
async fn a_reset_is_no_end_of_a_body_without_length() {
    let (upstream, gateway) = start().await;
    let (mut client, mut service) = received(&gateway, &upstream).await;
    service.write("HTTP/1.1 200 OK\r\n\r\nfirst").await;
    client.until("first").await;
    service.end(true);
    assert!(!client.rest().await.contains("0\r\n\r\n"));
    assert_eq!(gateway.body_failures(), 1);
    still_serves(&gateway, &upstream).await;
}

#[tokio::test]
async fn a_response_that_ends_with_a_reset_is_whole() {
    let (upstream, gateway) = start().await;
    let (mut client, mut service) = received(&gateway, &upstream).await;
    service.write("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nwhole").await;
    client.until("\r\n\r\nwhole").await;
    service.end(true);
    still_serves(&gateway, &upstream).await;
    assert_eq!((gateway.outcomes("broken"), gateway.body_failures()), (0, 0));
}

#[tokio::test]
async fn a_204_with_a_length_has_none_for_the_client() {
    let (upstream, gateway) = start().await;
    let (mut client, mut service) = received(&gateway, &upstream).await;
    service.write("HTTP/1.1 204 No Content\r\ncontent-length: 5\r\n\r\nwrong").await;
    let head = client.head().await;
    assert!(head.starts_with("http/1.1 204") && !head.contains("content-length"), "{head}");
    client.write(GET).await;
    let mut service = upstream.accept().await;
    service.head().await;
    service.write("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nright").await;
    assert!(client.until("right").await.starts_with("HTTP/1.1 200"));
}
