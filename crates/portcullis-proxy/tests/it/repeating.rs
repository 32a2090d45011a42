//! Which requests are sent again when their connection breaks, and where.

use crate::gateway::{Gateway, Setup};
use crate::peer::{Peer, Upstream};

const GET: &str = "GET /api/v1/things HTTP/1.1\r\nHost: gate\r\n\r\n";
const EMPTY_POST: &str = "POST /api/v1/things HTTP/1.1\r\nHost: gate\r\nContent-Length: 0\r\n\r\n";
const POST: &str = "POST /api/v1/things HTTP/1.1\r\nHost: gate\r\nContent-Length: 4\r\n\r\nbody";
const PUT: &str = "PUT /api/v1/things HTTP/1.1\r\nHost: gate\r\nContent-Length: 4\r\n\r\nbody";
const EMPTY: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

async fn start() -> (Upstream, Gateway, Peer) {
    let upstream = Upstream::listen().await;
    let gateway = Gateway::start(Setup::to([upstream.address()])).await;
    let client = gateway.connect().await;
    (upstream, gateway, client)
}

/// A client whose next request is sent on a connection that the upstream is about to close.
async fn kept_alive() -> (Upstream, Gateway, Peer, Peer) {
    let (upstream, gateway, mut client) = start().await;
    client.write(GET).await;
    let mut service = upstream.accept().await;
    service.head().await;
    service.write(EMPTY).await;
    client.head().await;
    (upstream, gateway, client, service)
}

#[tokio::test]
async fn an_idempotent_request_is_repeated_once() {
    let (upstream, gateway, mut client, mut service) = kept_alive().await;
    client.write(GET).await;
    service.head().await;
    drop(service);
    let mut service = upstream.accept().await;
    service.head().await;
    service.write(EMPTY).await;
    assert!(client.head().await.starts_with("http/1.1 200"));
    assert_eq!(gateway.outcomes("answered"), 2);
}

#[tokio::test]
async fn a_request_on_a_new_connection_is_repeated_too() {
    // No byte of a response has gone to the client, even if half of its head has arrived.
    for begun in ["", "HTTP/1.1 103 Early Hints\r\n\r\n", "HTTP/1.1 200 OK\r\ncontent-le"] {
        for reset in [false, true] {
            let (upstream, gateway, mut client) = start().await;
            client.write(GET).await;
            let mut service = upstream.accept().await;
            service.head().await;
            service.write(begun).await;
            service.end(reset);
            let mut service = upstream.accept().await;
            service.head().await;
            service.write(EMPTY).await;
            assert!(client.head().await.starts_with("http/1.1 200"), "{begun:?}, {reset}");
            assert_eq!((gateway.outcomes("answered"), gateway.outcomes("broken")), (1, 0));
        }
    }
}

#[tokio::test]
async fn a_request_is_not_repeated_twice() {
    let (upstream, gateway, mut client, mut service) = kept_alive().await;
    client.write(GET).await;
    service.head().await;
    drop(service);
    let mut service = upstream.accept().await;
    service.head().await;
    drop(service);
    assert!(client.until("Broken").await.contains("connection_terminated"));
    assert!(upstream.stays_alone());
    assert_eq!(gateway.status(), "unhealthy");
}

#[tokio::test]
async fn a_written_request_is_repeated_only_if_idempotent_and_empty() {
    for request in [POST, EMPTY_POST, PUT] {
        let (upstream, _gateway, mut client, mut service) = kept_alive().await;
        client.write(request).await;
        service.head().await;
        drop(service);
        client.until("Broken").await;
        assert!(upstream.stays_alone(), "{request}");
    }
}

#[tokio::test]
async fn a_response_that_reached_the_client_is_not_begun_again() {
    let (upstream, _gateway, mut client) = start().await;
    client.write(GET).await;
    let mut service = upstream.accept().await;
    service.head().await;
    service.write("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf").await;
    client.until("half").await;
    service.end(true);
    assert_eq!(client.rest().await, "");
    assert!(upstream.stays_alone());
}

#[tokio::test]
async fn a_response_that_breaks_the_rules_is_not_asked_for_again() {
    let (upstream, _gateway, mut client) = start().await;
    client.write(GET).await;
    let mut service = upstream.accept().await;
    service.head().await;
    service.write("220 mail.example ESMTP\r\n\r\n").await;
    client.until("Broken").await;
    assert!(upstream.stays_alone());
}

#[tokio::test]
async fn a_request_is_repeated_at_another_target() {
    let (first, second) = (Upstream::listen().await, Upstream::listen().await);
    let addresses = [first.address(), second.address()];
    let gateway = Gateway::start(Setup::to(addresses)).await;
    let mut client = gateway.connect().await;
    client.write(GET).await;
    let mut service = first.accept().await;
    assert!(service.head().await.contains(&format!("\r\nhost: {}\r\n", addresses[0])));
    drop(service);
    let mut service = second.accept().await;
    let head = service.head().await;
    assert!(head.contains(&format!("\r\nhost: {}\r\n", addresses[1])), "{head}");
    service.write(EMPTY).await;
    assert!(client.head().await.starts_with("http/1.1 200"));
    assert!(first.stays_alone());
}
