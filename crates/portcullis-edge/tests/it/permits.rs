//! A connection counts against the limits until its socket is closed, and a stop waits for it (SR-55).

use std::net::IpAddr;
use std::time::Duration;

use portcullis_edge::{ConnectionLimit, Server};
use portcullis_telemetry::{Metrics, MetricsOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::test_edge::{TestEdge, TestHandler};

/// How long an event may take that must happen.
const DEADLINE: Duration = Duration::from_secs(60);

const UPGRADE: &str = "GET /upgrade HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
const PING: &str = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi";

/// An edge that allows `total` connections, and `each` of one address.
async fn edge(total: usize, each: usize) -> TestEdge {
    TestEdge::start_with(|server| server.connection_limit = limit(total, each)).await
}

fn limit(total: usize, each: usize) -> std::sync::Arc<ConnectionLimit> {
    ConnectionLimit::new(total, each, &Metrics::new(&MetricsOptions::default(), "1"))
}

/// Sends bytes and reads until `end` has come. `None` if the connection ends first.
async fn exchange(stream: &mut TcpStream, bytes: &[u8], end: &str) -> Option<String> {
    stream.write_all(bytes).await.ok()?;
    let mut received = Vec::new();
    while !received.ends_with(end.as_bytes()) {
        let read = tokio::time::timeout(DEADLINE, stream.read_buf(&mut received)).await.expect("bytes or an end");
        if !matches!(read, Ok(1..)) {
            return None;
        }
    }
    Some(String::from_utf8(received).expect("text"))
}

/// An upgraded connection.
async fn tunnel(edge: &TestEdge) -> TcpStream {
    let mut stream = edge.connect().await;
    let response = exchange(&mut stream, UPGRADE.as_bytes(), "\r\n\r\n").await.expect("a response");
    assert!(response.starts_with("HTTP/1.1 101"), "{response}");
    assert_eq!(exchange(&mut stream, b"hello", "hello").await.as_deref(), Some("hello"));
    stream
}

async fn is_served(edge: &TestEdge) -> bool {
    exchange(&mut edge.connect().await, PING.as_bytes(), "hi").await.is_some()
}

/// Tries again until a connection is served.
async fn assert_served_soon(edge: &TestEdge) {
    let served = async {
        while !is_served(edge).await {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, served).await.expect("a closed connection still counts");
}

#[tokio::test]
async fn sr_55_upgraded_connections_count_for_their_address() {
    let edge = edge(100, 3).await;
    let mut tunnels = vec![tunnel(&edge).await, tunnel(&edge).await, tunnel(&edge).await];
    assert!(!is_served(&edge).await, "a fourth connection of the address");
    assert_eq!(exchange(&mut tunnels[0], b"more", "more").await.as_deref(), Some("more"), "a tunnel goes on");
    tunnels.pop();
    assert_served_soon(&edge).await;
}

#[tokio::test]
async fn sr_55_upgraded_connections_count_against_the_total() {
    let edge = edge(2, 100).await;
    let (first, _second) = (tunnel(&edge).await, tunnel(&edge).await);
    let mut waiting = edge.connect().await;
    waiting.write_all(PING.as_bytes()).await.expect("the kernel accepts connections");
    let response = exchange(&mut waiting, b"", "hi");
    let response = tokio::time::timeout(Duration::from_millis(300), response).await;
    assert!(response.is_err(), "a third connection was served: {response:?}");
    drop(first);
    assert!(exchange(&mut waiting, b"", "hi").await.is_some(), "a closed tunnel makes room");
}

#[tokio::test]
async fn sr_55_a_lingering_connection_counts() {
    let edge = edge(100, 1).await;
    let mut lingering = edge.connect().await;
    let refused = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n";
    assert!(exchange(&mut lingering, refused.as_bytes(), "Ambiguous").await.is_some());
    assert_eq!(lingering.read(&mut [0]).await.expect("an end"), 0, "the server has closed its side");
    assert!(!is_served(&edge).await, "the socket is still open");
    drop(lingering);
    assert_served_soon(&edge).await;
}

#[tokio::test]
async fn sr_55_a_stop_waits_for_upgraded_connections() {
    let mut edge = edge(100, 100).await;
    let mut tunnel = tunnel(&edge).await;
    edge.begin_stop();
    while TcpStream::connect(edge.address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    assert_eq!(exchange(&mut tunnel, b"still here", "here").await.as_deref(), Some("still here"));
    assert!(!edge.has_stopped(), "the server stopped before its tunnel ended");
    edge.handler.close_tunnels.notify_waiters();
    assert_eq!(exchange(&mut tunnel, b"", "bye").await.as_deref(), Some("bye"), "the last word arrives");
    drop(tunnel);
    edge.stop().await;
}

/// An edge that trusts the PROXY headers of loopback and allows two connections of one address.
async fn balanced_edge() -> TestEdge {
    let adjust = |server: &mut Server<TestHandler>| {
        server.connection_limit = limit(100, 2);
        server.proxy_protocol = true;
    };
    let edge = TestEdge::start_with(adjust).await;
    edge.handler.trust("127.0.0.1".parse::<IpAddr>().expect("an address"));
    edge
}

fn version_1(client: &str) -> Vec<u8> {
    format!("PROXY TCP4 {client} 10.0.0.1 4711 443\r\n").into_bytes()
}

/// A header of version 2 with a field about TLS.
fn version_2(client: [u8; 4], tls_flags: u8) -> Vec<u8> {
    let start = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x14";
    [&start[..], &client, &[10, 0, 0, 1, 0, 80, 1, 187, 0x20, 0, 5, tls_flags, 0, 0, 0, 0]].concat()
}

#[tokio::test]
async fn sr_55_the_address_in_a_proxy_header_is_limited() {
    let edge = balanced_edge().await;
    let mut open = Vec::new();
    let connect = async |header: Vec<u8>| {
        let mut stream = edge.connect().await;
        let served = exchange(&mut stream, &[header, PING.into()].concat(), "hi").await.is_some();
        (stream, served)
    };
    for (header, expected) in [
        (version_1("203.0.113.7"), true),
        (version_2([203, 0, 113, 7], 0), true),
        (version_1("203.0.113.7"), false),
        (version_2([203, 0, 113, 7], 1), false),
        (version_1("203.0.113.8"), true),
        (version_2([203, 0, 113, 8], 0), true),
        (version_2([203, 0, 113, 8], 0), false),
        (b"PROXY UNKNOWN\r\n".to_vec(), true),
        (b"PROXY UNKNOWN\r\n".to_vec(), true),
        (b"PROXY UNKNOWN\r\n".to_vec(), true),
    ] {
        let (stream, served) = connect(header.clone()).await;
        assert_eq!(served, expected, "{}: {:?}", open.len(), String::from_utf8_lossy(&header));
        open.push(stream);
    }
    open.clear();
    let again = async { while !connect(version_1("203.0.113.7")).await.1 {} };
    tokio::time::timeout(DEADLINE, again).await.expect("closed connections make room");
}

#[tokio::test]
async fn the_tls_field_of_a_proxy_header_tells_the_scheme() {
    let edge = balanced_edge().await;
    for (header, scheme) in [
        (version_2([203, 0, 113, 7], 1), "https"),
        (version_2([203, 0, 113, 8], 0), "http"),
        (version_1("203.0.113.9"), "http"),
    ] {
        let request = b"GET /scheme HTTP/1.1\r\nHost: a\r\n\r\n";
        let response = exchange(&mut edge.connect().await, &[&header[..], request].concat(), scheme).await;
        assert!(response.is_some_and(|text| text.ends_with(&format!("\r\n\r\n{scheme}"))), "{scheme}");
    }
}
