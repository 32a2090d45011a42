//! The end of a session ends its streams, and no others (SR-22).

use crate::gateway::{ADA, BOB, Gateway, Setup};
use crate::peer::{Peer, Upstream};

const EVENTS: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n";

async fn start() -> (Upstream, Gateway) {
    let upstream = Upstream::listen().await;
    let gateway = Gateway::start(Setup::to([upstream.address()])).await;
    (upstream, gateway)
}

async fn open(gateway: &Gateway, upstream: &Upstream, method: &str, token: &str, more: &str) -> (Peer, Peer) {
    let mut client = gateway.connect().await;
    client
        .write(&format!(
            "{method} /api/v1/things HTTP/1.1\r\nHost: gate\r\nAuthorization: Bearer {token}\r\n{more}\r\n"
        ))
        .await;
    let mut service = upstream.accept().await;
    service.head().await;
    (client, service)
}

async fn events(client: &mut Peer, service: &mut Peer) {
    service.write(EVENTS).await;
    client.until("one\r\n").await;
}

#[tokio::test]
async fn sr_22_ending_a_session_cuts_only_its_event_streams() {
    let (upstream, gateway) = start().await;
    let (mut ada, mut ada_service) = open(&gateway, &upstream, "GET", ADA, "").await;
    events(&mut ada, &mut ada_service).await;
    let (mut bob, mut bob_service) = open(&gateway, &upstream, "GET", BOB, "").await;
    events(&mut bob, &mut bob_service).await;
    assert_eq!(gateway.open_streams(), 2);
    gateway.end_session(ADA);
    assert!(!ada.rest().await.contains("0\r\n\r\n"), "a cut stream does not look complete");
    assert_eq!(ada_service.rest().await, "");
    bob_service.write("3\r\ntwo\r\n").await;
    bob.until("two").await;
    assert_eq!(gateway.open_streams(), 1);
}

#[tokio::test]
async fn sr_22_ending_a_session_cuts_its_uploads() {
    let (upstream, gateway) = start().await;
    let (mut client, mut service) = open(&gateway, &upstream, "POST", ADA, "Transfer-Encoding: chunked\r\n").await;
    client.write("3\r\none\r\n").await;
    service.until("one\r\n").await;
    gateway.end_session(ADA);
    client.until("SessionEnded").await;
    assert_eq!(service.rest().await, "");
}

#[tokio::test]
async fn sr_22_ending_a_session_cuts_an_upload_whose_answer_has_begun() {
    let (upstream, gateway) = start().await;
    let (mut client, mut service) = open(&gateway, &upstream, "POST", ADA, "Transfer-Encoding: chunked\r\n").await;
    client.write("3\r\none\r\n").await;
    service.until("one\r\n").await;
    service.write("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nearly").await;
    client.until("early").await;
    gateway.end_session(ADA);
    client.rest().await;
    assert_eq!(service.rest().await, "");
}

#[tokio::test]
async fn sr_22_a_refused_upgrade_does_not_hide_a_stream() {
    let (upstream, gateway) = start().await;
    let asks = "Connection: upgrade\r\nUpgrade: websocket\r\n";
    let (mut client, mut service) = open(&gateway, &upstream, "GET", ADA, asks).await;
    events(&mut client, &mut service).await;
    gateway.end_session(ADA);
    client.rest().await;
    assert_eq!(service.rest().await, "");
}

#[tokio::test]
async fn sr_22_ending_a_session_cuts_its_tunnels() {
    let (upstream, gateway) = start().await;
    let asks = "Connection: upgrade\r\nUpgrade: websocket\r\n";
    let (mut client, mut service) = open(&gateway, &upstream, "GET", ADA, asks).await;
    service.write("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\nhello").await;
    client.until("hello").await;
    gateway.end_session(ADA);
    // The upstream had not sent a complete frame, so the client gets none.
    assert_eq!(client.rest().await, "");
    assert_eq!(service.rest_bytes().await, [0x88, 0x82, 0, 0, 0, 0, 0x03, 0xf0]);
}

#[tokio::test]
async fn a_complete_response_is_no_live_stream() {
    let (upstream, gateway) = start().await;
    let (mut client, mut service) = open(&gateway, &upstream, "GET", ADA, "").await;
    events(&mut client, &mut service).await;
    service.write("0\r\n\r\n").await;
    client.until("0\r\n\r\n").await;
    client.write("GET /api/v1/things HTTP/1.1\r\nHost: gate\r\n\r\n").await;
    service.head().await;
    assert_eq!(gateway.open_streams(), 0);
}

/// An open tunnel, after one text frame in each direction.
async fn tunnel(gateway: &Gateway, upstream: &Upstream, token: &str) -> (Peer, Peer) {
    let asks = "Connection: upgrade\r\nUpgrade: websocket\r\n";
    let (mut client, mut service) = open(gateway, upstream, "GET", token, asks).await;
    service.write("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n").await;
    client.head().await;
    service.write_bytes(b"\x81\x05hello").await;
    client.until("hello").await;
    client.write_bytes(b"\x81\x82\0\0\0\0hi").await;
    service.until("hi").await;
    (client, service)
}

#[tokio::test]
async fn a_close_frame_tells_an_ended_session_from_a_stop() {
    let (upstream, gateway) = start().await;
    let (mut ada, mut ada_service) = tunnel(&gateway, &upstream, ADA).await;
    let (mut bob, mut bob_service) = tunnel(&gateway, &upstream, BOB).await;
    gateway.end_session(ADA);
    assert_eq!(ada.rest_bytes().await, [0x88, 2, 0x03, 0xf0], "1008");
    assert_eq!(ada_service.rest_bytes().await, [0x88, 0x82, 0, 0, 0, 0, 0x03, 0xf0], "masked, as a client must");
    // The close frame waits for the end of the frame that was begun.
    bob_service.write_bytes(b"\x81\x05he").await;
    bob.until("he").await;
    gateway.stop();
    bob_service.write_bytes(b"llo").await;
    assert_eq!(bob.rest_bytes().await, b"llo\x88\x02\x03\xe9", "1001");
    assert_eq!(bob_service.rest_bytes().await, [0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe9]);
}

#[tokio::test]
async fn a_frame_without_end_does_not_keep_a_session_open() {
    let (upstream, gateway) = start().await;
    let (mut client, mut service) = tunnel(&gateway, &upstream, ADA).await;
    service.write_bytes(b"\x81\x7d begun").await;
    client.until("begun").await;
    gateway.end_session(ADA);
    assert_eq!(client.rest_bytes().await, b"", "cut without a close frame in the middle of another");
}

#[tokio::test]
async fn a_stop_ends_event_streams_and_not_downloads() {
    let (upstream, gateway) = start().await;
    let (mut events_client, mut events_service) = open(&gateway, &upstream, "GET", BOB, "").await;
    events(&mut events_client, &mut events_service).await;
    let (mut download, mut source) = open(&gateway, &upstream, "GET", ADA, "").await;
    source.write(&EVENTS.replace("text/event-stream", "video/mp4")).await;
    download.until("one\r\n").await;
    gateway.stop();
    assert!(events_client.until("0\r\n\r\n").await.ends_with("0\r\n\r\n"), "the page connects again, elsewhere");
    source.write("3\r\ntwo\r\n0\r\n\r\n").await;
    download.until("two\r\n0\r\n\r\n").await;
}
