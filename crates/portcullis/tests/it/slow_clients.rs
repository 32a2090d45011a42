//! Clients that send or read too slowly lose their connection; others keep theirs (SR-40).

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::ops::Range;
use std::time::Duration;

use portcullis_testkit::{Stopwatch, TestApp};

use crate::client::get;
use crate::gateway::gateway;

/// Sends `bytes`, then `drip` every 100 ms, until the server closes the connection, which it must do after this many seconds. Returns
/// what the server sent.
fn closed_after(app: &TestApp, bytes: &str, drip: &str, seconds: Range<f64>) -> String {
    // The server begins to wait after this moment.
    let stopwatch = Stopwatch::start();
    let mut stream = TcpStream::connect(app.address()).expect("the server listens");
    stream.set_read_timeout(Some(Duration::from_millis(100))).expect("a timeout can be set");
    stream.write_all(bytes.as_bytes()).expect("the server reads");
    let mut received = Vec::new();
    let mut chunk = [0; 4096];
    while stopwatch.running() < Duration::from_secs(10) {
        match stream.read(&mut chunk) {
            Ok(0) => break,
            Ok(read) => received.extend_from_slice(&chunk[..read]),
            Err(error) if [ErrorKind::WouldBlock, ErrorKind::TimedOut].contains(&error.kind()) => {
                if stream.write_all(drip.as_bytes()).is_err() {
                    break;
                }
            }
            Err(_) => break,
        }
    }
    stopwatch.assert_within(seconds);
    String::from_utf8_lossy(&received).into_owned()
}

async fn gateway_with_short_timeouts() -> TestApp {
    gateway().server("header_timeout = \"1s\"\nbody_timeout = \"1s\"\nidle_timeout = \"2s\"").start().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sr_40_a_silent_connection_is_closed() {
    closed_after(&gateway_with_short_timeouts().await, "", "", 0.9..4.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sr_40_a_head_without_an_end_is_closed() {
    let app = gateway_with_short_timeouts().await;
    let received = closed_after(&app, "GET /api/health HTTP/1.1\r\n", "x: y\r\n", 0.9..4.0);
    assert!(received.starts_with("HTTP/1.1 408") && received.contains("request.timeout"), "{received}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sr_40_an_idle_connection_is_closed() {
    let app = gateway_with_short_timeouts().await;
    let received = closed_after(&app, "GET /api/health HTTP/1.1\r\nHost: a\r\n\r\n", "", 1.9..6.0);
    assert!(received.starts_with("HTTP/1.1 200"), "{received}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sr_40_a_body_that_stops_is_408() {
    let app = gateway_with_short_timeouts().await;
    // Both read the whole body before they respond.
    for path in ["/api/v1/auth/login", "/api/v1/open/upload"] {
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 10\r\n\r\n{{"
        );
        let received = closed_after(&app, &request, "", 0.9..6.0);
        assert!(received.starts_with("HTTP/1.1 408") && received.contains("request.timeout"), "{path}: {received}");
    }
}

/// More bytes than the two kernels buffer between client and server.
const DOWNLOAD: usize = 64 << 20;

/// Requests a download of a gigabyte and reads nothing.
fn download(app: &TestApp) -> TcpStream {
    let mut stream = TcpStream::connect(app.address()).expect("the server listens");
    stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a timeout can be set");
    stream.write_all(b"GET /api/v1/open/download HTTP/1.1\r\nHost: a\r\n\r\n").expect("the server reads");
    stream
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sr_40_only_a_client_that_does_not_read_is_cut_off() {
    // A machine that is busy may keep the slow reader from reading for a while, but not for so long.
    let app = gateway().server("send_timeout = \"3s\"").start().await;
    let (mut silent, mut slow) = (download(&app), download(&app));
    let mut chunk = vec![0; 1 << 20];
    let stopwatch = Stopwatch::start();
    while stopwatch.elapsed() < Duration::from_secs(6) {
        assert!(slow.read(&mut chunk).expect("the connection is open") > 0, "a slow reader was cut off");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let mut received = 0;
    while received < DOWNLOAD {
        match silent.read(&mut chunk) {
            Ok(0) | Err(_) => break,
            Ok(read) => received += read,
        }
    }
    assert!(received < DOWNLOAD, "a client that does not read was not cut off");
    assert_eq!(get(&app, "/api/v1/health").await.status, 200);
}
