//! Who may connect and how often: the connection limit, trusted proxies and the PROXY protocol (SR-37, SR-40).

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use portcullis_testkit::{TestApp, free_port};
use reqwest::Method;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::client::{app, call, client, get, raw, send};
use crate::gateway::gateway;
use crate::shell_users::administrator;

fn connect(app: &TestApp) -> TcpStream {
    TcpStream::connect(app.address()).expect("the kernel accepts connections")
}

/// Whether a request on the connection gets a response. If not, the server must close the connection.
fn is_served(stream: &mut TcpStream) -> bool {
    stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a timeout can be set");
    if stream.write_all(b"GET /api/health HTTP/1.1\r\nHost: a\r\n\r\n").is_err() {
        return false;
    }
    match stream.read(&mut [0; 4096]) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => panic!("neither a response nor the end"),
        read => matches!(read, Ok(1..)),
    }
}

/// A gateway that allows 20 connections from one address, and 20 of them.
async fn full_gateway() -> (TestApp, Vec<TcpStream>) {
    let app = gateway().server("max_connections_per_address = 20").start().await;
    let mut open: Vec<TcpStream> = (0..20).map(|_| connect(&app)).collect();
    assert!(open.iter_mut().all(is_served));
    (app, open)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sr_40_connections_of_one_address_are_limited() {
    let (app, mut open) = full_gateway().await;
    assert!(!is_served(&mut connect(&app)), "one connection too many");
    assert!(open.iter_mut().all(is_served), "the connections below the limit stay open");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sr_40_a_closed_connection_makes_room_for_another() {
    let (app, mut open) = full_gateway().await;
    open.truncate(10);
    let begin = Instant::now();
    while !is_served(&mut connect(&app)) {
        assert!(begin.elapsed() < Duration::from_secs(60), "a closed connection still counts");
        tokio::task::yield_now().await;
    }
}

/// The most bytes of resident memory that a connection without a request takes, in a build for tests.
const IDLE_CONNECTION: u64 = 8 * 1024;

/// Opens as many connections as this process may; the server's process may have as many.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sr_40_ten_thousand_idle_connections_delay_nobody() {
    let keys = "max_connections = 20000\nmax_connections_per_address = 20000\nheader_timeout = \"10m\"";
    let app = gateway().server(keys).start().await;
    get(&app, "/api/health").await;
    let before = app.resident_bytes();
    let each = |count: usize| app.resident_bytes().saturating_sub(before) / count as u64;
    let count = open_file_limit().saturating_sub(500).min(10_000);
    let mut idle = Vec::with_capacity(count);
    for _ in 0..count {
        idle.push(tokio::net::TcpStream::connect(app.address()).await.expect("the server listens"));
    }
    let begin = Instant::now();
    for _ in 0..20 {
        assert_eq!(get(&app, "/api/open/x").await.status, 200);
    }
    let silent = each(count);
    eprintln!("{count} idle connections, {silent} bytes each; 20 requests beside them in {:?}", begin.elapsed());
    assert!(silent < IDLE_CONNECTION, "{silent} bytes for a connection that has sent nothing");
    for stream in &mut idle {
        stream.write_all(b"GET /api/health HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("the connection is open");
        let read = stream.read(&mut [0; 4096]).await.expect("the connection is open");
        assert!(read > 0, "a request on an idle connection gets no response");
    }
    // The memory of serving a request is given up some time after it.
    let begin = Instant::now();
    while each(count) >= IDLE_CONNECTION {
        assert!(begin.elapsed() < Duration::from_secs(60), "{} bytes for a kept connection", each(count));
        get(&app, "/api/health").await;
    }
    eprintln!("{} bytes for each connection after a request, {:?} later", each(count), begin.elapsed());
    let page = get(&app, "/metrics").await.body.as_str().unwrap_or_default().to_owned();
    let open = page.lines().find_map(|line| line.strip_prefix("connections_open ")).expect("a gauge");
    assert!(open.parse::<f64>().expect("a number") >= count as f64, "{open}");
}

fn open_file_limit() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").expect("the kernel shows the limits");
    let files = limits.lines().find(|line| line.starts_with("Max open files")).expect("a limit of files");
    files.split_whitespace().nth(3).and_then(|number| number.parse().ok()).expect("a number")
}

#[test]
fn a_low_limit_of_open_files_is_told_with_what_is_missing() {
    let limit = open_file_limit() as u64;
    // Each target may have a million connections.
    let targets = limit / 1_000_000 + 1;
    let list: Vec<String> = (0..targets).map(|number| format!("\"http://127.0.0.1:{}\"", number + 1)).collect();
    let app = app()
        .settings(&format!(
            "[server]\nmax_connections = 100\nhttp2 = false\n[upstreams.x]\ntargets = [{}]\n\
             max_connections = 1_000_000\n[[routes]]\npath = \"/api/v1/x\"\nupstream = \"x\"\n",
            list.join(",")
        ))
        .start();
    // Clients, connections, one stream for each client, and the other files.
    let missing = 100 + targets * 1_000_000 + 100 + 200 - limit;
    app.log_line_with(&format!("the limit of open files is too low for the settings by {missing};"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sr_37_operators_are_warned_of_an_untrusted_forwarder() {
    let app = gateway().start().await;
    let root = administrator(&app).await;
    let warnings = async || {
        let response = call(&app, Method::GET, "/api/health/detailed", &root, None).await;
        response.body["data"]["warnings"].clone()
    };
    assert_eq!(warnings().await, serde_json::json!([]));
    for _ in 0..3 {
        let forwarded = client().get(app.url("/api/open/x")).header("x-forwarded-for", "203.0.113.7");
        assert_eq!(send(forwarded).await.status, 200);
    }
    let warnings = warnings().await;
    assert_eq!(warnings.as_array().map(Vec::len), Some(1), "{warnings}");
    let warning = warnings[0].as_str().expect("a text");
    assert!(warning.starts_with("127.0.0.1 sends X-Forwarded-For"), "{warning}");
    assert!(warning.contains("server.trusted_proxies"), "{warning}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sr_37_anonymous_callers_see_no_warnings() {
    let app = gateway().start().await;
    send(client().get(app.url("/api/open/x")).header("x-forwarded-for", "203.0.113.7")).await;
    assert_eq!(get(&app, "/api/health/detailed").await.body["data"]["warnings"], Value::Null);
}

/// A gateway behind a balancer on loopback, with one request an hour for each address.
async fn balanced_gateway() -> TestApp {
    let keys = "proxy_protocol = \"required\"\ntrusted_proxies = [\"127.0.0.1/32\"]";
    let limit = "rate_limit = { rate = \"1/1h\", by = \"address\" }";
    // The test kit asks no health endpoint of a server that requires PROXY headers, but a command needs its port.
    gateway().server(keys).open_route(limit).port(free_port()).start().await
}

/// The status of a request after this PROXY header; `None` if the connection was closed without a response.
fn status(app: &TestApp, header: &[u8]) -> Option<u16> {
    let request = b"GET /api/open/x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let response = raw(app, &[header, request].concat());
    response.split(' ').nth(1).and_then(|status| status.parse().ok())
}

fn version_1(client: &str) -> Vec<u8> {
    format!("PROXY TCP4 {client} 10.0.0.1 4711 443\r\n").into_bytes()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_header_of_version_1_names_the_client() {
    let app = balanced_gateway().await;
    assert_eq!(status(&app, &version_1("203.0.113.7")), Some(200));
    assert_eq!(status(&app, &version_1("203.0.113.7")), Some(429), "the limit counts the client");
    assert_eq!(status(&app, &version_1("203.0.113.8")), Some(200), "the limit does not count the balancer");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_header_of_version_2_names_the_client() {
    let app = balanced_gateway().await;
    let header = [&b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"[..], &[203, 0, 113, 9, 10, 0, 0, 1, 0, 80, 1, 187]].concat();
    assert_eq!(status(&app, &header), Some(200));
    assert_eq!(status(&app, &header), Some(429), "the limit counts the client");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_without_a_valid_proxy_header_is_closed() {
    let app = balanced_gateway().await;
    assert_eq!(status(&app, b""), None);
    assert_eq!(status(&app, b"PROXY NONSENSE\r\n"), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn healthcheck_works_where_proxy_headers_are_required() {
    let app = balanced_gateway().await;
    let output = app.run(&["healthcheck"], "");
    assert!(output.contains("is ready"), "{output}");
}
