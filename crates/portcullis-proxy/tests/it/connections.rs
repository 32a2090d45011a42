//! Connections to upstreams: when they are kept, closed and opened again.

use crate::gateway::{Gateway, Setup};
use crate::peer::{Peer, Upstream};

const GET: &str = "GET /api/v1/things HTTP/1.1\r\nHost: gate\r\n\r\n";
const POST: &str = "POST /api/v1/things HTTP/1.1\r\nHost: gate\r\nContent-Length: 4\r\n\r\nbody";
const EMPTY: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

async fn start() -> (Upstream, Gateway, Peer) {
    let upstream = Upstream::listen().await;
    let gateway = Gateway::start(Setup::to([upstream.address()])).await;
    let client = gateway.connect().await;
    (upstream, gateway, client)
}

async fn body(peer: &mut Peer, head: &str) -> String {
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).expect("a length");
    let mut body = String::new();
    while body.len() < length.parse().expect("digits") {
        body.push_str(&peer.any().await);
    }
    body
}

#[tokio::test]
async fn a_connection_is_reused_after_every_kind_of_framing() {
    let (upstream, gateway, mut client) = start().await;
    client.write(GET).await;
    let mut service = upstream.accept().await;
    service.head().await;
    service.write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi").await;
    client.until("\r\n\r\nhi").await;
    // `head` returns only if each further request arrives on the first connection.
    client.write(GET).await;
    service.head().await;
    service.write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n").await;
    client.until("\r\n0\r\n\r\n").await;
    client.write(POST).await;
    service.until("body").await;
    service.write(EMPTY).await;
    assert!(client.head().await.starts_with("http/1.1 200"));
    let mut other = gateway.connect().await;
    other.write(GET).await;
    service.head().await;
    service.write(EMPTY).await;
    assert!(other.head().await.starts_with("http/1.1 200"));
    assert!(upstream.stays_alone());
    assert_eq!(gateway.outcomes("answered"), 4);
    assert_eq!(gateway.status(), "healthy");
}

#[tokio::test]
async fn two_requests_at_once_use_two_connections() {
    let (upstream, gateway, mut client) = start().await;
    client.write(GET).await;
    let mut first = upstream.accept().await;
    first.head().await;
    let mut other = gateway.connect().await;
    other.write(GET).await;
    let mut second = upstream.accept().await;
    second.head().await;
    second.write(EMPTY).await;
    assert!(other.head().await.starts_with("http/1.1 200"));
    first.write(EMPTY).await;
    assert!(client.head().await.starts_with("http/1.1 200"));
}

#[tokio::test]
async fn a_connection_that_the_upstream_closed_is_not_reused() {
    let (upstream, _gateway, mut client) = start().await;
    client.write(GET).await;
    let mut service = upstream.accept().await;
    service.head().await;
    service.write("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n").await;
    assert!(client.head().await.starts_with("http/1.1 200"));
    assert_eq!(service.rest().await, "", "the gateway closes its end too");
    client.write(POST).await;
    let mut service = upstream.accept().await;
    service.until("body").await;
    service.write(EMPTY).await;
    assert!(client.head().await.starts_with("http/1.1 200"));
}

#[tokio::test]
async fn a_response_that_breaks_off_never_looks_complete() {
    let (upstream, _gateway, mut client) = start().await;
    client.write(GET).await;
    let mut service = upstream.accept().await;
    service.head().await;
    service.write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\npart\r\n").await;
    client.until("part\r\n").await;
    drop(service);
    assert!(!client.rest().await.contains("0\r\n\r\n"));
}

#[tokio::test]
async fn a_target_that_refuses_connections_is_skipped() {
    let closed = Upstream::listen().await.address();
    let upstream = Upstream::listen().await;
    let gateway = Gateway::start(Setup::to([closed, upstream.address()])).await;
    let mut client = gateway.connect().await;
    client.write(POST).await;
    let mut service = upstream.accept().await;
    service.until("body").await;
    service.write(EMPTY).await;
    assert!(client.head().await.starts_with("http/1.1 200"));
}

#[tokio::test]
async fn requests_are_balanced_round_robin() {
    let (first, second) = (Upstream::listen().await, Upstream::listen().await);
    let gateway = Gateway::start(Setup::to([first.address(), second.address()])).await;
    let mut client = gateway.connect().await;
    for upstream in [&first, &second] {
        client.write(GET).await;
        let mut service = upstream.accept().await;
        service.head().await;
        service.write(EMPTY).await;
        client.head().await;
    }
}

#[tokio::test]
async fn an_unreachable_upstream_has_its_own_error() {
    let gateway = Gateway::start(Setup::to([Upstream::listen().await.address()])).await;
    assert_eq!(gateway.status(), "unknown");
    let mut client = gateway.connect().await;
    client.write(GET).await;
    let head = client.head().await;
    let text = body(&mut client, &head).await;
    assert!(text.starts_with("connection_refused: Connect"), "{text}");
    assert_eq!((gateway.status(), gateway.outcomes("unreachable")), ("unhealthy", 1));
}
