//! Log lines: whose request they belong to, and what happens when they cannot be written.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Sender, channel};

use portcullis_testkit::{PASSWORD, PrivatePostgres, TestApp, TestAppBuilder, free_port};
use serde_json::{Value, json};

use crate::client::{TestResponse, app, client, get, send};

/// A gateway that logs everything as JSON, with a route to this upstream.
fn gateway(upstream: SocketAddr) -> TestAppBuilder {
    app().env("LOG_FORMAT", "json").env("LOG_LEVEL", "debug").settings(&format!(
        "[upstreams.projects]\ntargets = [\"http://{upstream}\"]\n\n\
         [[routes]]\npath = \"/api/v1/projects/{{*rest}}\"\nupstream = \"projects\"\nauth = \"none\"\n"
    ))
}

/// An upstream that sends these bytes after the head of its only request, and closes the connection once the returned
/// sender is dropped.
pub(crate) fn upstream_that_sends(response: &'static str) -> (SocketAddr, Sender<()>) {
    let (open, closed) = channel::<()>();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        read_head(&mut stream);
        stream.write_all(response.as_bytes()).expect("the gateway reads");
        let _ = closed.recv();
    });
    (address, open)
}

pub(crate) fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0u8; 1];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).expect("the head comes") == 1 {
        head.push(byte[0]);
    }
    String::from_utf8(head).expect("ASCII")
}

/// Asks for a proxied path and names the request `order-17`.
async fn request_named_order_17(app: &TestApp) -> TestResponse {
    send(client().get(app.url("/api/v1/projects/x")).header("x-request-id", "order-17")).await
}

/// The next log line that belongs to the request of this response.
fn line_of(app: &TestApp, request_id: &str) -> Value {
    serde_json::from_str(&app.log_line_with(request_id)).expect("each line is a JSON object")
}

/// Signs in under the name `order-17`, and asserts that the failed response and a log line show the same request id.
async fn assert_failed_login_is_logged(app: &TestApp, status: u16) {
    let login = json!({ "email": "ada@example.com", "password": PASSWORD });
    let request = client().post(app.url("/api/v1/auth/login")).header("x-request-id", "order-17").json(&login);
    let response = send(request).await;
    assert_eq!(response.status, status, "{}", response.body);
    let id = response.body["requestId"].as_str().expect("an id");
    assert_eq!(response.header("x-request-id"), id);
    let line = line_of(app, id);
    assert_eq!((line["requestId"].as_str(), line["clientRequestId"].as_str()), (Some(id), Some("order-17")), "{line}");
}

async fn dropped_lines(app: &TestApp) -> f64 {
    let page = client().get(app.url("/metrics")).send().await.expect("it answers").text().await.expect("text");
    let sample = page.lines().find_map(|line| line.strip_prefix("log_lines_dropped_total "));
    sample.expect("the counter is always there").parse().expect("a number")
}

#[tokio::test]
async fn a_500_and_its_log_line_show_the_same_request_id() {
    let server = PrivatePostgres::shared();
    let url = server.database();
    let app = app().env("DATABASE_URL", &url).env("LOG_FORMAT", "json").start();
    let database = url.rsplit('/').next().expect("the name of the database");
    server.run_sql_in(database, "ALTER TABLE users RENAME TO taken_away");
    assert_failed_login_is_logged(&app, 500).await;
}

#[tokio::test]
async fn a_503_and_its_log_line_show_the_same_request_id() {
    let server = PrivatePostgres::start();
    let app = app().env("DATABASE_URL", server.database()).env("LOG_FORMAT", "json").env("LOG_LEVEL", "debug").start();
    server.stop();
    assert_failed_login_is_logged(&app, 503).await;
}

#[tokio::test]
async fn an_unreachable_upstream_is_logged_with_the_request_id() {
    let app = gateway(([127, 0, 0, 1], free_port()).into()).start();
    let response = request_named_order_17(&app).await;
    assert_eq!(response.status, 502);
    let line = line_of(&app, response.header("x-request-id"));
    assert_eq!((line["level"].as_str(), line["clientRequestId"].as_str()), (Some("WARN"), Some("order-17")), "{line}");
}

#[tokio::test]
async fn a_line_names_the_trace_of_the_client() {
    let app = gateway(([127, 0, 0, 1], free_port()).into()).start();
    let trace = "0af7651916cd43dd8448eb211c80319c";
    for (traceparent, is_continued) in
        [(format!("00-{trace}-b7ad6b7169203331-01"), true), (format!("00-{trace}-malformed"), false)]
    {
        let request = client().get(app.url("/api/v1/projects/x")).header("traceparent", traceparent);
        let id = send(request).await.header("x-request-id").to_owned();
        let line = line_of(&app, &id);
        let expected = if is_continued { trace } else { id.as_str() };
        assert_eq!(line["traceId"].as_str(), Some(expected), "{line}");
    }
}

#[tokio::test]
async fn a_client_id_that_cannot_be_logged_is_left_out() {
    let app = gateway(([127, 0, 0, 1], free_port()).into()).start();
    let response = send(client().get(app.url("/api/v1/projects/x")).header("x-request-id", "order 17")).await;
    let line = line_of(&app, response.header("x-request-id"));
    assert_eq!(line.get("clientRequestId"), None, "{line}");
}

#[tokio::test]
async fn a_response_that_is_cut_off_is_logged_with_the_request_id() {
    let (upstream, open) = upstream_that_sends("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nbegun");
    let app = gateway(upstream).start();
    let response = client().get(app.url("/api/v1/projects/x")).send().await.expect("a head");
    let id = response.headers()["x-request-id"].to_str().expect("ASCII").to_owned();
    drop(open);
    assert!(response.bytes().await.is_err());
    assert_eq!(line_of(&app, &id)["requestId"].as_str(), Some(id.as_str()));
}

#[tokio::test]
async fn a_tunnel_that_is_cut_is_logged_with_the_request_id() {
    let (upstream, _open) = upstream_that_sends(
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\nnever read",
    );
    let app = gateway(upstream).start();
    let mut stream = TcpStream::connect(app.address()).expect("the server listens");
    let request = "GET /api/v1/projects/x HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
    stream.write_all(request.as_bytes()).expect("the server reads");
    let head = read_head(&mut stream);
    let id = head.lines().find_map(|line| line.strip_prefix("x-request-id: ")).expect("an id").to_owned();
    // Closing with unread bytes resets the connection.
    stream.peek(&mut [0u8; 1]).expect("the first bytes of the tunnel");
    drop(stream);
    assert_eq!(line_of(&app, &id)["requestId"].as_str(), Some(id.as_str()));
}

#[tokio::test]
async fn a_pretty_line_shows_the_request_id_too() {
    let app = gateway(([127, 0, 0, 1], free_port()).into()).env("LOG_FORMAT", "pretty").start();
    let response = request_named_order_17(&app).await;
    let id = response.header("x-request-id");
    let line = app.log_line_with(id);
    // Without a trace of the client, the trace has the request's id.
    assert!(line.ends_with(&format!("requestId={id} traceId={id} clientRequestId=order-17")), "{line}");
}

#[tokio::test]
async fn the_lines_of_a_normal_stop_are_written() {
    let app = app().env("LOG_LEVEL", "info").start();
    app.terminate();
    app.log_line_with("stopping");
}

#[tokio::test]
async fn sr_69_a_closed_standard_error_stops_nothing() {
    let mut app = gateway(([127, 0, 0, 1], free_port()).into()).with_closed_stderr().start();
    assert_eq!(request_named_order_17(&app).await.status, 502);
    assert_eq!(get(&app, "/api/v1/health").await.status, 200);
    app.stop();
}

#[tokio::test]
async fn sr_69_lines_for_a_reader_that_has_gone_are_counted() {
    let mut app = gateway(([127, 0, 0, 1], free_port()).into()).with_broken_stderr().start();
    while dropped_lines(&app).await == 0.0 {
        assert_eq!(request_named_order_17(&app).await.status, 502);
    }
    assert_eq!(get(&app, "/api/v1/health").await.status, 200);
    app.stop();
}

/// Sends requests that write dozens of lines each until lines were dropped. `between` is called before each ten of them.
async fn until_lines_are_dropped(app: &TestApp, mut between: impl FnMut()) {
    let http2 = reqwest::Client::builder().no_proxy().http2_prior_knowledge().build().expect("a client");
    while dropped_lines(app).await == 0.0 {
        for _ in 0..5 {
            between();
            for _ in 0..10 {
                let response = http2.get(app.url("/api/v1/health")).send().await.expect("it answers");
                assert_eq!(response.status(), 200);
            }
        }
    }
}

#[tokio::test]
async fn sr_69_a_full_pipe_delays_no_request_and_no_stop() {
    let mut app = app().env("LOG_LEVEL", "trace").with_unread_stderr().start();
    until_lines_are_dropped(&app, || {}).await;
    assert_eq!(get(&app, "/api/v1/health").await.status, 200);
    app.stop();
}

#[tokio::test]
async fn sr_69_a_slow_reader_of_the_log_gets_whole_lines() {
    let mut app = app().env("LOG_LEVEL", "trace").env("LOG_FORMAT", "json").with_unread_stderr().start();
    let mut stderr = app.take_unread_stderr();
    let mut read = Vec::new();
    let mut byte = [0];
    until_lines_are_dropped(&app, || {
        stderr.read_exact(&mut byte).expect("the gateway writes");
        read.push(byte[0]);
    })
    .await;
    app.terminate();
    stderr.read_to_end(&mut read).expect("the gateway ends");
    let text = String::from_utf8(read).expect("UTF-8");
    assert!(text.ends_with("}\n"), "the last line is cut off");
    for line in text.lines() {
        assert!(serde_json::from_str::<Value>(line).is_ok(), "a line is torn: {line}");
    }
}
