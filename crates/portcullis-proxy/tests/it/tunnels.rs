//! Upgraded connections.

use crate::gateway::{Gateway, Setup};
use crate::peer::{Peer, Upstream};

const ASKS: &str = "GET /api/v1/things/socket HTTP/1.1\r\nHost: gate\r\nConnection: keep-alive, Upgrade\r\n\
     Upgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
const AGREES: &str = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
     sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

async fn start() -> (Upstream, Gateway, Peer) {
    let upstream = Upstream::listen().await;
    let gateway = Gateway::start(Setup::to([upstream.address()])).await;
    let client = gateway.connect().await;
    (upstream, gateway, client)
}

#[tokio::test]
async fn bytes_pass_both_ways_after_the_upgrade() {
    let (upstream, _gateway, mut client) = start().await;
    client.write(ASKS).await;
    let mut service = upstream.accept().await;
    let head = service.head().await;
    assert!(head.contains("upgrade: websocket") && head.contains("connection: upgrade"), "{head}");
    assert!(head.contains("sec-websocket-key: dghlihnhbxbszsbub25jzq=="), "{head}");
    service.write(AGREES).await;
    let head = client.head().await;
    assert!(head.starts_with("http/1.1 101") && head.contains("sec-websocket-accept: "), "{head}");
    client.write("ping").await;
    service.until("ping").await;
    service.write("pong").await;
    client.until("pong").await;
    drop(service);
    assert_eq!(client.rest().await, "");
}

#[tokio::test]
async fn a_tunnel_takes_one_connection() {
    let (upstream, _gateway, mut client) = start().await;
    client.write(ASKS).await;
    let mut service = upstream.accept().await;
    service.head().await;
    service.write(AGREES).await;
    client.head().await;
    assert!(upstream.stays_alone());
}

#[tokio::test]
async fn sr_38_nothing_is_tunnelled_before_the_upgrade() {
    let (upstream, _gateway, mut client) = start().await;
    client.write(&format!("{ASKS}GET /internal HTTP/1.1\r\nHost: x\r\n\r\n")).await;
    let mut service = upstream.accept().await;
    service.head().await;
    service.write("HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno").await;
    client.until("\r\n\r\nno").await;
    // The early bytes are the client's next request, and pass the gate as one.
    assert!(client.until("NotFound").await.starts_with("HTTP/1.1 403"), "the gate refuses it");
    drop(client);
    assert_eq!(service.rest().await, "");
}

#[tokio::test]
async fn sr_38_early_bytes_wait_for_the_upgrade() {
    let (upstream, _gateway, mut client) = start().await;
    client.write(&format!("{ASKS}early")).await;
    let mut service = upstream.accept().await;
    assert!(service.head().await.ends_with("\r\n\r\n"));
    service.write(AGREES).await;
    client.head().await;
    assert_eq!(service.until("early").await, "early");
}

#[tokio::test]
async fn an_upgrade_that_was_not_requested_is_refused() {
    let (upstream, gateway, mut client) = start().await;
    client.write("GET /api/v1/things HTTP/1.1\r\nHost: gate\r\n\r\n").await;
    let mut service = upstream.accept().await;
    service.head().await;
    service.write(AGREES).await;
    client.until("http_upgrade_failed").await;
    assert_eq!(service.rest().await, "");
    assert_eq!(gateway.outcomes("broken"), 1);
}

#[tokio::test]
async fn sr_38_the_rest_of_a_body_never_becomes_the_new_protocol() {
    let (upstream, gateway, mut client) = start().await;
    client.write(&ASKS.replace("Sec-WebSocket-Version: 13\r\n", "Content-Length: 9\r\n")).await;
    client.write("half").await;
    let mut service = upstream.accept().await;
    service.until("half").await;
    service.write(AGREES).await;
    client.until("http_upgrade_failed").await;
    assert_eq!(service.rest().await, "");
    assert_eq!(gateway.outcomes("broken"), 1);
}

#[tokio::test]
async fn only_websocket_is_tunnelled() {
    let (upstream, _gateway, mut client) = start().await;
    client.write(&ASKS.replace("Upgrade: websocket", "Upgrade: h2c")).await;
    let mut service = upstream.accept().await;
    let head = service.head().await;
    assert!(!head.contains("upgrade"), "{head}");
}
