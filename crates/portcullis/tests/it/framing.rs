//! Bytes that a proxy in front of the gateway could read in another way, or that are not a request (SR-39, SR-40).

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use portcullis_testkit::TestApp;
use serde_json::Value;

use crate::client::{get, raw};
use crate::gateway::gateway;

/// A built-in endpoint and a route to an upstream.
const PATHS: [&str; 2] = ["/api/v1/auth/login", "/api/v1/open/x"];

struct RawResponse {
    status: u16,
    head: String,
    body: Value,
}

impl RawResponse {
    /// Sends bytes and reads the one response, after which the server must close the connection.
    fn to(app: &TestApp, bytes: &[u8]) -> Self {
        let mut stream = TcpStream::connect(app.address()).expect("the server listens");
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a timeout can be set");
        stream.write_all(bytes).expect("the server reads");
        let mut received = Vec::new();
        stream.read_to_end(&mut received).expect("the server closes the connection");
        let text = String::from_utf8_lossy(&received).into_owned();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no response: {text:?}"));
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
        Self { status, head: head.to_ascii_lowercase(), body: serde_json::from_str(body).unwrap_or(Value::Null) }
    }

    fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or_default()
    }

    /// Asserts the error envelope and the headers of every response that closes its connection.
    fn assert_closing_envelope(&self, what: &str) {
        let Self { status, head, body } = self;
        assert_eq!(body["success"], false, "{what}: {head} {body}");
        assert_eq!(body["statusCode"], *status, "{what}: {body}");
        let id = body["requestId"].as_str().expect("a request id");
        assert!(head.contains(&format!("x-request-id: {id}")) && head.contains("connection: close"), "{what}: {head}");
        assert!(head.contains("x-content-type-options: nosniff"), "{what}: {head}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sr_39_an_ambiguous_request_is_400_and_closes() {
    let app = gateway().start().await;
    for path in PATHS {
        for (what, rest) in [
            ("two lengths", "Host: a\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}"),
            ("two equal lengths", "Host: a\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\n{}"),
            ("a list of lengths", "Host: a\r\nContent-Length: 2, 2\r\n\r\n{}"),
            ("length and coding", "Host: a\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
            ("a signed length", "Host: a\r\nContent-Length: +2\r\n\r\n{}"),
            ("a negative length", "Host: a\r\nContent-Length: -2\r\n\r\n{}"),
            ("a hexadecimal length", "Host: a\r\nContent-Length: 0x2\r\n\r\n{}"),
            ("a length beyond 64 bits", "Host: a\r\nContent-Length: 99999999999999999999\r\n\r\n{}"),
            ("another coding", "Host: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
            ("chunked twice", "Host: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n"),
            ("obs-fold", "Host: a\r\nX-A: b\r\n c\r\n\r\n"),
            ("a bare LF", "Host: a\nContent-Length: 2\r\n\r\n{}"),
            ("a space before the colon", "Host: a\r\nContent-Length : 2\r\n\r\n{}"),
            ("two hosts", "Host: a\r\nHost: b\r\n\r\n"),
            ("the same host twice", "Host: a\r\nHost: a\r\n\r\n"),
            ("no host", "X-A: b\r\n\r\n"),
            ("a NUL", "Host: a\r\nX-A: b\0c\r\n\r\n"),
            ("a control byte", "Host: a\r\nX-A: b\x01c\r\n\r\n"),
            ("a name with a space", "Host: a\r\nX A: b\r\n\r\n"),
            ("no colon", "Host: a\r\nnonsense\r\n\r\n"),
        ] {
            let response = RawResponse::to(&app, format!("POST {path} HTTP/1.1\r\n{rest}").as_bytes());
            assert_eq!(response.status, 400, "{what} on {path}: {} {}", response.head, response.body);
            response.assert_closing_envelope(what);
        }
        let other_host = format!("POST http://elsewhere{path} HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(RawResponse::to(&app, other_host.as_bytes()).status, 400, "the target names another host");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sr_63_an_invalid_host_is_400_and_closes() {
    let app = gateway().start().await;
    for path in PATHS {
        for host in
            ["", " ", "a/../b@evil", "a b", "user:password@a", "a:", "a:b", "a:99999", "a,b", "a..b", "[::1", "é"]
        {
            let request = format!("POST {path} HTTP/1.1\r\nHost: {host}\r\n\r\n");
            let response = RawResponse::to(&app, request.as_bytes());
            assert_eq!(response.status, 400, "{host:?} on {path}: {} {}", response.head, response.body);
            response.assert_closing_envelope(host);
        }
        for authority in ["a@b", "a:99999", "a..b"] {
            for (version, host) in [("1.1", authority), ("1.1", "b"), ("1.0", authority)] {
                let request = format!("POST http://{authority}{path} HTTP/{version}\r\nHost: {host}\r\n\r\n");
                assert_eq!(RawResponse::to(&app, request.as_bytes()).status, 400, "{authority} {version} {host}");
            }
        }
        let without_host = format!("POST http://a@b{path} HTTP/1.0\r\n\r\n");
        assert_eq!(RawResponse::to(&app, without_host.as_bytes()).status, 400);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sr_39_bytes_after_malformed_chunks_are_no_request() {
    let app = gateway().start().await;
    let smuggled = "GET /api/health HTTP/1.1\r\nHost: a\r\n\r\n";
    for chunks in [
        "zz\r\n{}\r\n0\r\n\r\n",
        "-2\r\n{}\r\n0\r\n\r\n",
        "2 2\r\n{}\r\n0\r\n\r\n",
        "fffffffffffffffff\r\n{}",
        "2\r\n{}0\r\n\r\n",
    ] {
        // Both read the whole body before they respond.
        for path in ["/api/v1/auth/login", "/api/v1/open/upload"] {
            let response = raw(&app, chunked(path, &format!("{chunks}{smuggled}")).as_bytes());
            assert!(!response.contains("Service is healthy"), "{chunks:?} on {path}: {response}");
            let is_refused = response.starts_with("HTTP/1.1 4") || response.starts_with("HTTP/1.1 502");
            assert!(is_refused, "{chunks:?}: {response}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sr_39_long_chunk_extensions_are_refused() {
    let app = gateway().start().await;
    let extension = format!("2;{}\r\n{{}}\r\n0\r\n\r\n", "x".repeat(40_000));
    let response = raw(&app, chunked("/api/v1/auth/login", &extension).as_bytes());
    assert!(response.starts_with("HTTP/1.1 400"), "{response}");
}

fn chunked(path: &str, chunks: &str) -> String {
    let head = "Host: a\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked";
    format!("POST {path} HTTP/1.1\r\n{head}\r\n\r\n{chunks}")
}

/// The largest head in bytes, as in docs/edge.md.
const MAX_HEAD: usize = 65_536;

fn head_of(bytes: usize) -> String {
    let empty = "GET /api/health HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX: \r\n\r\n";
    empty.replace("X: ", &format!("X: {}", "x".repeat(bytes - empty.len())))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sr_40_unparsable_bytes_get_the_envelope() {
    let app = gateway().start().await;
    let many: String = (0..150).map(|n| format!("x-{n}: 1\r\n")).collect();
    let large = format!("x-large: {}\r\n", "x".repeat(200 * 1024));
    for (what, request, status, code) in [
        ("no request line", "nonsense\r\n\r\n".to_owned(), 400, "request.malformed"),
        ("an unknown version", "GET / HTTP/9.9\r\nHost: a\r\n\r\n".to_owned(), 400, "request.malformed"),
        ("an invalid method", "G T / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), 400, "request.malformed"),
        ("TLS", "\x16\x03\x01\x02\r\n\r\n".to_owned(), 400, "request.malformed"),
        ("many fields", format!("GET / HTTP/1.1\r\nHost: a\r\n{many}\r\n"), 431, "request.head_too_large"),
        ("a large field", format!("GET / HTTP/1.1\r\nHost: a\r\n{large}\r\n"), 431, "request.head_too_large"),
        ("one byte over the limit", head_of(MAX_HEAD + 1), 431, "request.head_too_large"),
    ] {
        let response = RawResponse::to(&app, request.as_bytes());
        assert_eq!((response.status, response.code()), (status, code), "{what}: {}", response.head);
        response.assert_closing_envelope(what);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sr_40_unparsable_bytes_are_counted_by_status() {
    let app = gateway().start().await;
    let many: String = (0..150).map(|n| format!("x-{n}: 1\r\n")).collect();
    for request in ["nonsense\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", &format!("GET / HTTP/1.1\r\n{many}\r\n")] {
        RawResponse::to(&app, request.as_bytes());
    }
    let page = get(&app, "/metrics").await.body.as_str().unwrap_or_default().to_owned();
    for (status, count) in [(400, 2), (431, 1)] {
        let sample =
            format!("http_requests_total{{method=\"_OTHER\",route=\"unmatched\",status_code=\"{status}\"}} {count}\n");
        assert!(page.contains(&sample), "{sample} in {page}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sr_40_a_head_of_exactly_64_kb_is_accepted() {
    let app = gateway().start().await;
    assert!(raw(&app, head_of(MAX_HEAD).as_bytes()).starts_with("HTTP/1.1 200"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_before_unparsable_bytes_is_handled() {
    let app = gateway().start().await;
    let response = RawResponse::to(&app, b"GET /api/health HTTP/1.1\r\nHost: a\r\n\r\nnonsense\r\n\r\n");
    assert_eq!(response.status, 200, "{}", response.head);
}

fn expecting(path: &str, expectation: &str, body: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Expect: {expectation}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn expect_100_continue_is_met_before_the_body() {
    let app = gateway().start().await;
    // Both read the whole body before they respond.
    for path in ["/api/v1/auth/login", "/api/v1/open/upload"] {
        let response = raw(&app, expecting(path, "100-continue", "{}").as_bytes());
        assert!(response.starts_with("HTTP/1.1 100 Continue\r\n\r\n"), "{path}: {response}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_request_gets_no_100_continue() {
    let app = gateway().start().await;
    let response = raw(&app, expecting("/api/v1/users", "100-continue", "").as_bytes());
    assert!(response.starts_with("HTTP/1.1 403"), "{response}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_expectation_is_417() {
    let app = gateway().start().await;
    for path in PATHS {
        let response = RawResponse::to(&app, expecting(path, "a-miracle", "").as_bytes());
        assert_eq!((response.status, response.code()), (417, "request.expectation_failed"), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trace_connect_and_unknown_methods_are_refused() {
    let app = gateway().start().await;
    for (method, target, host) in
        [("TRACE", "/api/v1/health", "a"), ("CONNECT", "a:443", "a:443"), ("BREW", "/api/v1/health", "a")]
    {
        let request =
            format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\nX-Secret: hush\r\nConnection: close\r\n\r\n");
        let response = RawResponse::to(&app, request.as_bytes());
        assert!([400, 405].contains(&response.status), "{method}: {}", response.head);
        assert!(!response.body.to_string().contains("hush"), "{method} must not echo the request");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connect_is_answered() {
    let app = gateway().start().await;
    for (target, host) in [("a:443", "a:443"), ("a:443", "a"), ("example.com:443", "example.com:443"), ("/x", "a")] {
        for after in ["", "\x16\x03\x01\x02\x00\x01"] {
            let request = format!("CONNECT {target} HTTP/1.1\r\nHost: {host}\r\n\r\n{after}");
            let response = RawResponse::to(&app, request.as_bytes());
            // The target of a CONNECT is a host, which is no route.
            assert!([400, 404, 405].contains(&response.status), "{target} of {host}: {}", response.head);
            assert!(response.head.contains("connection: close"), "{target} of {host}: {}", response.head);
            assert_eq!(response.body["success"], false, "{target} of {host}: {}", response.body);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http_1_0_without_a_host_is_served() {
    let app = gateway().start().await;
    let response = raw(&app, b"GET /api/v1/open/x HTTP/1.0\r\n\r\n");
    assert!(response.starts_with("HTTP/1.0 200") || response.starts_with("HTTP/1.1 200"), "{response}");
}
