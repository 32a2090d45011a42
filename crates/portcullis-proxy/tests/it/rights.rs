//! A stream is judged again when its user, its session or time changes, and ends with the right that it stands on (SR-56).

use std::time::Duration;

use portcullis_model::Role;

use crate::gateway::{ADA, BOB, Gateway, Setup};
use crate::peer::{Peer, Upstream};

const AGREES: &str = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";

/// A gateway whose route asks for a role, and its upstream.
async fn start(minimum_role: Role) -> (Upstream, Gateway) {
    let upstream = Upstream::listen().await;
    let setup = Setup { minimum_role: Some(minimum_role), ..Setup::to([upstream.address()]) };
    (upstream, Gateway::start(setup).await)
}

async fn open(gateway: &Gateway, upstream: &Upstream, token: &str, more: &str, answer: &str) -> (Peer, Peer) {
    let mut client = gateway.connect().await;
    let head = format!("GET /api/v1/things HTTP/1.1\r\nHost: gate\r\nAuthorization: Bearer {token}\r\n{more}\r\n");
    client.write(&head).await;
    let mut service = upstream.accept().await;
    service.head().await;
    service.write(answer).await;
    client.head().await;
    (client, service)
}

async fn tunnel(gateway: &Gateway, upstream: &Upstream, token: &str) -> (Peer, Peer) {
    open(gateway, upstream, token, "Connection: upgrade\r\nUpgrade: websocket\r\n", AGREES).await
}

#[tokio::test]
async fn sr_56_a_lost_role_ends_a_web_socket() {
    let (upstream, gateway) = start(Role::Developer).await;
    let (mut client, mut service) = tunnel(&gateway, &upstream, ADA).await;
    gateway.change_role(ADA, Role::Viewer);
    assert_eq!(client.rest_bytes().await, [0x88, 2, 0x03, 0xf0], "1008");
    assert_eq!(service.rest_bytes().await, [0x88, 0x82, 0, 0, 0, 0, 0x03, 0xf0]);
}

#[tokio::test]
async fn sr_56_a_change_that_leaves_the_right_ends_no_stream() {
    let (upstream, gateway) = start(Role::Viewer).await;
    let (mut ada, mut ada_service) = tunnel(&gateway, &upstream, ADA).await;
    let (mut bob, _bob_service) = tunnel(&gateway, &upstream, BOB).await;
    let before = gateway.look_ups();
    gateway.change_role(ADA, Role::Manager);
    while gateway.look_ups() == before {
        tokio::task::yield_now().await;
    }
    ada_service.write_bytes(b"\x81\x05hello").await;
    ada.until("hello").await;
    gateway.end_session(BOB);
    assert_eq!(bob.rest_bytes().await, [0x88, 2, 0x03, 0xf0]);
}

#[tokio::test]
async fn sr_56_a_lost_role_ends_an_event_stream_and_a_download() {
    let (upstream, gateway) = start(Role::Developer).await;
    let events = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\nx";
    let download = "HTTP/1.1 200 OK\r\ncontent-length: 2000000\r\n\r\nx";
    let (mut reader, mut events) = open(&gateway, &upstream, ADA, "", events).await;
    let (mut loader, mut download) = open(&gateway, &upstream, ADA, "", download).await;
    gateway.change_role(ADA, Role::Viewer);
    for (client, service) in [(&mut reader, &mut events), (&mut loader, &mut download)] {
        client.rest_bytes().await;
        assert_eq!(service.rest().await, "");
    }
}

#[tokio::test]
async fn sr_56_an_expired_session_ends_its_web_socket() {
    let (upstream, gateway) = start(Role::Viewer).await;
    let (mut client, _service) = tunnel(&gateway, &upstream, ADA).await;
    gateway.expire_in_a_second(ADA);
    assert_eq!(client.rest_bytes().await, [0x88, 2, 0x03, 0xf0]);
}

/// Waits until no stream is open.
async fn none_is_open(gateway: &Gateway) {
    let closed = async {
        while gateway.open_streams() > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), closed).await.expect("the tunnel ends");
}

#[tokio::test]
async fn sr_56_a_client_that_reads_nothing_outlives_no_session() {
    let (upstream, gateway) = start(Role::Viewer).await;
    let (_client, mut service) = tunnel(&gateway, &upstream, ADA).await;
    service.write_until_blocked().await;
    gateway.end_session(ADA);
    none_is_open(&gateway).await;
}

#[tokio::test]
async fn sr_56_an_upstream_that_reads_nothing_outlives_no_session() {
    let (upstream, gateway) = start(Role::Viewer).await;
    let (mut client, _service) = tunnel(&gateway, &upstream, ADA).await;
    client.write_until_blocked().await;
    gateway.end_session(ADA);
    none_is_open(&gateway).await;
}

#[tokio::test]
async fn a_tunnel_whose_client_stalls_is_cut_off() {
    let upstream = Upstream::listen().await;
    let setup = Setup { send_timeout: Duration::from_millis(200), ..Setup::to([upstream.address()]) };
    let gateway = Gateway::start(setup).await;
    let (_client, mut service) = tunnel(&gateway, &upstream, ADA).await;
    service.write_while_read(&vec![7; 64 << 20]).await;
    none_is_open(&gateway).await;
}

#[tokio::test]
async fn a_tunnel_that_is_idle_for_too_long_is_closed() {
    let upstream = Upstream::listen().await;
    let idle = Some(Duration::from_millis(300));
    let gateway = Gateway::start(Setup { stream_idle_timeout: idle, ..Setup::to([upstream.address()]) }).await;
    let (mut client, mut service) = tunnel(&gateway, &upstream, ADA).await;
    assert_eq!(client.rest_bytes().await, [0x88, 2, 0x03, 0xe9], "1001");
    assert_eq!(service.rest_bytes().await, [0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe9]);
}
