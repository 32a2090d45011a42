//! Proxied routes: what an upstream is told, what streams through, and what happens when the upstream is missing.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use portcullis_testkit::{TestApp, free_port};
use reqwest::Method;
use serde_json::json;
use tokio::net::TcpListener;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::client::{TestResponse, app, call, client, get, post, raw, register, send};

type Body = BoxBody<Bytes, Infallible>;

const GIB: u64 = 1 << 30;
const CHUNK: usize = 64 * 1024;

fn full(text: impl Into<Bytes>) -> Body {
    Full::new(text.into()).boxed()
}

/// An upstream on loopback that responds by path. Returns its address and the number of bytes uploaded to it.
pub(crate) async fn upstream() -> (SocketAddr, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    let received = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&received);
    tokio::spawn(async move {
        loop {
            let Ok((stream, _)) = listener.accept().await else { break };
            let counter = Arc::clone(&counter);
            tokio::spawn(async move {
                let service = service_fn(move |request| respond(request, Arc::clone(&counter)));
                let _ =
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    (address, received)
}

async fn respond(request: Request<Incoming>, received: Arc<AtomicU64>) -> Result<Response<Body>, Infallible> {
    let path = request.uri().path().to_owned();
    if path.ends_with("/download") {
        let chunk = Bytes::from(vec![7u8; CHUNK]);
        let stream = futures_util::stream::iter(
            std::iter::repeat_n(chunk, usize::try_from(GIB).expect("64-bit") / CHUNK)
                .map(|bytes| Ok(Frame::data(bytes))),
        );
        return Ok(Response::new(BodyExt::boxed(StreamBody::new(stream))));
    }
    if path.ends_with("/framed") {
        let mut response = Response::new(full("framed"));
        let policy = hyper::header::HeaderValue::from_static("frame-ancestors https://partner.example");
        response.headers_mut().insert(hyper::header::CONTENT_SECURITY_POLICY, policy);
        return Ok(response);
    }
    if path.ends_with("/upload") {
        let mut body = request.into_body();
        while let Some(Ok(frame)) = body.frame().await {
            if let Some(data) = frame.data_ref() {
                received.fetch_add(data.len() as u64, Ordering::Relaxed);
            }
        }
        return Ok(Response::new(full(received.load(Ordering::Relaxed).to_string())));
    }
    if path.ends_with("/never") {
        std::future::pending::<()>().await;
    }
    let headers: serde_json::Map<String, serde_json::Value> = request
        .headers()
        .iter()
        .map(|(name, value)| (name.to_string(), json!(String::from_utf8_lossy(value.as_bytes()))))
        .collect();
    let seen = json!({
        "method": request.method().as_str(),
        "target": request.uri().to_string(),
        "headers": headers,
    });
    let mut response = Response::new(full(seen.to_string()));
    response.headers_mut().append("set-cookie", "portcullis-session=stolen".parse().expect("a value"));
    response.headers_mut().append("set-cookie", "theirs=1".parse().expect("a value"));
    Ok(response)
}

/// A route for each policy, all to one upstream, and one to an upstream that does not exist.
fn settings(upstream: SocketAddr) -> String {
    let dead = free_port();
    format!(
        r#"
[roles]
DEVELOPER = ["PROJECT_VIEW"]

[upstreams.projects]
targets = ["http://{upstream}"]

[upstreams.dead]
targets = ["http://127.0.0.1:{dead}"]

[[routes]]
path = "/api/v1/projects/{{*rest}}"
upstream = "projects"
auth = "required"
csrf = false
max_body = "0"
strip_prefix = "/api/v1"

[[routes]]
path = "/api/v1/open/{{*rest}}"
upstream = "projects"
auth = "none"
csrf = false
max_body = "1KB"
timeout = "1s"

[[routes]]
path = "/api/v1/managers/{{*rest}}"
upstream = "projects"
roles = ["MANAGER"]

[[routes]]
path = "/api/v1/permitted/{{*rest}}"
upstream = "projects"
permissions = {{ GET = ["PROJECT_VIEW"], PUT = ["USER_DELETE"] }}
csrf = false

[[routes]]
path = "/api/v1/limited/{{*rest}}"
upstream = "projects"
auth = "none"
rate_limit = "3/1h"

[[routes]]
path = "/api/v1/dead/{{*rest}}"
upstream = "dead"
auth = "none"
"#
    )
}

async fn gateway() -> (TestApp, Arc<AtomicU64>) {
    let (address, received) = upstream().await;
    (app().settings(&settings(address)).start(), received)
}

#[tokio::test]
async fn an_upstream_is_told_the_user_and_no_credential() {
    let (app, _) = gateway().await;
    let account = register(&app).await;
    let request = client()
        .get(app.url("/api/v1/projects/7/files?x=1&_csrf=secret&y=2"))
        .bearer_auth(&account.access)
        .header("x-portcullis-user", "forged")
        .header("x_portcullis_role", "ADMIN")
        .header("x-forwarded-for", "203.0.113.9")
        .header("cookie", "theirs=1; portcullis-csrf=abc; portcullis-pre=def")
        .header("connection", "keep-alive, x-hop")
        .header("x-hop", "1");
    let response = send(request).await;
    assert_eq!(response.status, 200, "{}", response.body);
    assert_eq!(response.body["target"], "/projects/7/files?x=1&y=2");
    let headers = &response.body["headers"];
    assert_eq!(headers["x-portcullis-role"], "DEVELOPER");
    assert!(headers["x-portcullis-user"].as_str().is_some_and(|id| id.len() == 36), "{headers}");
    assert!(headers["x-portcullis-session"].is_string());
    assert_eq!(headers["x-forwarded-for"], "127.0.0.1");
    assert_eq!(headers["cookie"], "theirs=1");
    assert!(headers["traceparent"].is_string());
    assert_eq!(headers["x-request-id"], response.header("x-request-id"));
    for removed in ["authorization", "x_portcullis_role", "x-hop", "x-api-key"] {
        assert!(headers[removed].is_null(), "{removed} in {headers}");
    }
}

#[tokio::test]
async fn an_upstream_cannot_set_cookies_with_our_names() {
    let (app, _) = gateway().await;
    let response = get(&app, "/api/v1/open/x").await;
    let cookies: Vec<_> = response.headers.get_all("set-cookie").iter().collect();
    assert_eq!(cookies, ["theirs=1"]);
}

#[tokio::test]
async fn a_proxied_response_names_its_version() {
    let (app, _) = gateway().await;
    assert_eq!(get(&app, "/api/v1/open/x").await.header("x-api-version"), "v1");
}

/// Sends a path as it stands: a URL library would resolve dots in it. Returns the response's text.
fn get_raw(app: &TestApp, path: &str, headers: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{headers}Connection: close\r\n\r\n");
    raw(app, request.as_bytes())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_alias_and_every_spelling_reach_the_same_route() {
    let (app, _) = gateway().await;
    let account = register(&app).await;
    let authorization = format!("Authorization: Bearer {}\r\n", account.access);
    for path in ["/api/projects/7", "/api/v1/projects/7", "/api//v1/./projects/x/../7", "/api/v1/%70rojects/7"] {
        let anonymous = get_raw(&app, path, "");
        assert!(anonymous.starts_with("HTTP/1.1 401"), "{path}: {anonymous}");
        let signed_in = get_raw(&app, path, &authorization);
        assert!(signed_in.starts_with("HTTP/1.1 200"), "{path}: {signed_in}");
        assert!(signed_in.contains("\"target\":\"/projects/7\""), "{path}: {signed_in}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ambiguous_or_unknown_path_never_reaches_the_upstream() {
    let (app, _) = gateway().await;
    for path in [
        "/api/v1/projects%2f7",
        "/api/v1/projects/..%2f7",
        "/api/v1/projects/%00",
        "/API/v1/projects/7",
        "/api/v1/Projects/7",
    ] {
        let response = get_raw(&app, path, "");
        assert!(response.starts_with("HTTP/1.1 40") && !response.contains("\"target\""), "{path}: {response}");
    }
}

#[tokio::test]
async fn the_role_and_permissions_of_a_route_are_required() {
    let (app, _) = gateway().await;
    let account = register(&app).await;
    for (method, path, status) in [
        (Method::GET, "/api/v1/managers/x", 403),
        (Method::GET, "/api/v1/permitted/x", 200),
        (Method::PUT, "/api/v1/permitted/x", 403),
    ] {
        let response = call(&app, method.clone(), path, &account.access, None).await;
        assert_eq!(response.status, status, "{method} {path}");
        assert!(status == 200 || response.error() == "Insufficient permissions", "{method} {path}");
    }
}

#[tokio::test]
async fn the_rate_limit_of_a_route_is_enforced() {
    let (app, _) = gateway().await;
    for _ in 0..3 {
        assert_eq!(get(&app, "/api/v1/limited/x").await.status, 200);
    }
    let response = get(&app, "/api/v1/limited/x").await;
    assert_eq!((response.status, response.error()), (429, "Too many requests"));
    assert!(response.header("retry-after").parse::<u64>().is_ok_and(|seconds| seconds > 0));
    assert_eq!(response.header("x-ratelimit-remaining"), "0");
}

#[tokio::test]
async fn a_missing_upstream_is_502_and_other_routes_go_on() {
    let (app, _) = gateway().await;
    let response = get(&app, "/api/v1/dead/x").await;
    assert_eq!((response.status, response.error()), (502, "Bad gateway"));
    assert!(response.body["requestId"].is_string());
    assert_eq!(get(&app, "/api/v1/open/x").await.status, 200);
}

#[tokio::test]
async fn an_upstream_that_does_not_respond_in_time_is_504() {
    let (app, _) = gateway().await;
    let response = get(&app, "/api/v1/open/never").await;
    assert_eq!((response.status, response.error()), (504, "Gateway timeout"));
}

#[tokio::test]
async fn a_body_over_the_limit_of_its_route_is_413() {
    let (app, _) = gateway().await;
    let response = send(client().post(app.url("/api/v1/open/upload")).body(vec![0u8; 2000])).await;
    assert_eq!((response.status, response.error()), (413, "Payload too large"));
}

/// How much the gateway's memory may grow while a gibibyte streams through it.
const MAX_GROWTH: u64 = 16 * 1024 * 1024;

fn chunks() -> impl Iterator<Item = Bytes> {
    std::iter::repeat_n(Bytes::from(vec![9u8; CHUNK]), usize::try_from(GIB).expect("64-bit") / CHUNK)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gibibyte_is_downloaded_in_less_than_16_mib() {
    let (app, _) = gateway().await;
    let account = register(&app).await;
    let before = app.resident_bytes();
    let request = client().get(app.url("/api/v1/projects/download")).timeout(Duration::from_secs(300));
    let response = request.bearer_auth(&account.access).send().await.expect("a response");
    let mut stream = response.bytes_stream();
    let (mut total, mut peak) = (0u64, before);
    while let Some(chunk) = stream.next().await {
        let length = chunk.expect("the stream is whole").len() as u64;
        // Memory is read every 64 MiB.
        if total >> 26 != (total + length) >> 26 {
            peak = peak.max(app.resident_bytes());
        }
        total += length;
    }
    assert_eq!(total, GIB);
    assert!(peak - before < MAX_GROWTH, "memory grew by {} bytes", peak - before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gibibyte_is_uploaded_in_less_than_16_mib() {
    let (app, received) = gateway().await;
    let account = register(&app).await;
    let before = app.resident_bytes();
    // How much had been sent when the first byte arrived at the upstream.
    let sent_before_first = Arc::new(AtomicU64::new(0));
    let counted = {
        let (received, sent_before_first) = (Arc::clone(&received), Arc::clone(&sent_before_first));
        let mut sent = 0u64;
        futures_util::stream::iter(chunks()).map(move |chunk| {
            sent += CHUNK as u64;
            if received.load(Ordering::Relaxed) > 0 && sent_before_first.load(Ordering::Relaxed) == 0 {
                sent_before_first.store(sent, Ordering::Relaxed);
            }
            Ok::<_, Infallible>(chunk)
        })
    };
    let request = client().post(app.url("/api/v1/projects/upload")).timeout(Duration::from_secs(300));
    let request = request.bearer_auth(&account.access).body(reqwest::Body::wrap_stream(counted));
    let upload = tokio::spawn(send(request));
    let mut peak = before;
    while !upload.is_finished() {
        peak = peak.max(app.resident_bytes());
        tokio::task::yield_now().await;
    }
    let response = upload.await.expect("the upload does not panic");
    assert_eq!((response.status, response.body.as_u64()), (200, Some(GIB)), "{}", response.body);
    let first = sent_before_first.load(Ordering::Relaxed);
    assert!(first > 0 && first < GIB / 2, "the first byte arrived after {first} bytes were sent");
    assert!(peak - before < MAX_GROWTH, "memory grew by {} bytes", peak - before);
}

/// An upstream that sends every text message of a WebSocket back.
async fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let Ok(mut socket) = tokio_tungstenite::accept_async(stream).await else { return };
                while let Some(Ok(message)) = socket.next().await {
                    if message.is_text() && socket.send(message).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

type Socket = tokio_tungstenite::WebSocketStream<tokio_tungstenite::MaybeTlsStream<tokio::net::TcpStream>>;

async fn open_socket(app: &TestApp, access: &str) -> Result<Socket, tokio_tungstenite::tungstenite::Error> {
    let url = format!("ws://{}/api/v1/projects/socket", app.address());
    let mut request = url.into_client_request().expect("a request");
    request.headers_mut().insert("authorization", format!("Bearer {access}").parse().expect("a value"));
    tokio_tungstenite::connect_async(request).await.map(|(socket, _)| socket)
}

async fn assert_echo(socket: &mut Socket, text: &str) {
    socket.send(Message::text(text)).await.expect("the socket is open");
    assert_eq!(socket.next().await.expect("an echo").expect("whole"), Message::text(text));
}

#[tokio::test]
async fn a_web_socket_needs_a_valid_token() {
    let app = app().settings(&settings(echo().await)).start();
    assert!(open_socket(&app, "nonsense").await.is_err());
}

#[tokio::test]
async fn a_web_socket_stays_open_across_a_refresh() {
    let app = app().settings(&settings(echo().await)).start();
    let account = register(&app).await;
    let mut socket = open_socket(&app, &account.access).await.expect("the tunnel opens");
    assert_echo(&mut socket, "hello").await;
    let refreshed = post(&app, "/api/v1/auth/refresh", &json!({ "refreshToken": account.refresh })).await;
    assert_eq!(refreshed.status, 200);
    assert_echo(&mut socket, "still here").await;
}

#[tokio::test]
async fn the_end_of_a_session_closes_its_own_web_sockets_only() {
    let app = app().settings(&settings(echo().await)).start();
    let (account, other) = (register(&app).await, register(&app).await);
    let mut socket = open_socket(&app, &account.access).await.expect("the tunnel opens");
    let mut others = open_socket(&app, &other.access).await.expect("the tunnel opens");
    assert_echo(&mut socket, "hello").await;
    assert_eq!(call(&app, Method::POST, "/api/v1/auth/logout", &account.access, None).await.status, 200);
    let end = tokio::time::timeout(Duration::from_secs(5), socket.next()).await.expect("the tunnel closes at logout");
    assert!(!matches!(end, Some(Ok(Message::Text(_)))), "{end:?}");
    assert_echo(&mut others, "mine").await;
}

/// An upstream whose every response is one text.
async fn text_upstream(text: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let service =
                    service_fn(move |_| async move { Ok::<_, Infallible>(Response::new(full(text.as_bytes()))) });
                let _ =
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    address
}

/// A gateway with an upstream for each of three versions: `v1` is deprecated, `v2` current, `v3` past its sunset.
async fn gateway_with_versions() -> TestApp {
    let (one, two) = (text_upstream("one").await, text_upstream("two").await);
    let settings = format!(
        r#"
[versions.v1]
released_at = "2025-01-01T00:00:00Z"
deprecated_at = "2026-01-01T00:00:00Z"
successor = "v2"

[versions.v2]
documentation = "https://docs.example.com/v2"

[versions.v3]
sunset_at = "2020-01-01T00:00:00Z"

[upstreams.one]
targets = ["http://{one}"]

[upstreams.two]
targets = ["http://{two}"]

[[routes]]
path = "/api/v1/p"
upstream = "one"
auth = "none"

[[routes]]
path = "/api/v2/p"
upstream = "two"
auth = "none"

[[routes]]
path = "/api/v3/p"
upstream = "two"
auth = "none"
"#
    );
    app().settings(&settings).start()
}

async fn get_version(app: &TestApp, path: &str, version: Option<(&str, &str)>) -> TestResponse {
    let request = client().get(app.url(path));
    send(version.into_iter().fold(request, |request, (name, value)| request.header(name, value))).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_version_of_the_api_may_have_its_own_upstream() {
    let app = gateway_with_versions().await;
    for (path, version, upstream) in [
        ("/api/v1/p", None, "one"),
        ("/api/p", None, "one"),
        ("/api/v2/p", None, "two"),
        ("/api/p", Some(("accept-version", "v2")), "two"),
        ("/api/p", Some(("x-api-version", "v2")), "two"),
        ("/api/p?api_version=v2", None, "two"),
        ("/api/v1/p", Some(("accept-version", "v2")), "one"),
    ] {
        let response = get_version(&app, path, version).await;
        assert_eq!((response.status, response.body.as_str()), (200, Some(upstream)), "{path} {version:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deprecated_version_names_its_successor() {
    let response = get_version(&gateway_with_versions().await, "/api/p", None).await;
    assert!(response.header("deprecation").starts_with('@'), "{:?}", response.headers);
    assert!(response.header("link").contains("/api/v2"), "{:?}", response.headers);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_version_in_a_path_is_valid_served_and_in_force() {
    let app = gateway_with_versions().await;
    for (path, status) in
        [("/api/v3/p", 410), ("/api/v0/p", 400), ("/api/v999/p", 404), ("/api/V1/p", 400), ("/api/v1/../v2/p", 200)]
    {
        let response = get_raw(&app, path, "");
        assert!(response.starts_with(&format!("HTTP/1.1 {status}")), "{path}: {response}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invalid_or_unsupported_version_is_refused() {
    let app = gateway_with_versions().await;
    for invalid in ["v0", "1", "V1", "../", "v1000", "v01"] {
        let response = get_version(&app, "/api/p", Some(("accept-version", invalid))).await;
        assert_eq!((response.status, response.error()), (400, "Invalid API version"), "{invalid}");
    }
    let response = get_version(&app, "/api/p", Some(("accept-version", "v999"))).await;
    assert_eq!((response.status, response.error()), (400, "Unsupported API version"));
    assert_eq!(response.body["details"]["supportedVersions"], json!(["v1", "v2"]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_versions_document_describes_the_settings() {
    let app = gateway_with_versions().await;
    let details = get(&app, "/api/versions").await.body["data"]["details"].clone();
    assert_eq!(details["v1"]["releaseDate"], "2025-01-01T00:00:00.000Z");
    assert_eq!(details["v2"]["documentation"], "https://docs.example.com/v2");
    assert_eq!(details["v3"]["status"], "sunset");
}
