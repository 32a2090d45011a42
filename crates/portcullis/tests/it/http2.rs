//! Requests over HTTP/2 meet the same gate, endpoints and upstreams as those over HTTP/1.1 (SR-39).

use std::time::Duration;

use portcullis_testkit::PASSWORD;
use reqwest::Client;
use serde_json::{Value, json};

use crate::client::{TestResponse, app, get, register, send};
use crate::gateway::gateway;
use crate::raw_http2::{
    DATA, END_HEADERS, END_STREAM, Frame, GOAWAY, HEADERS, RST_STREAM, RawHttp2, field, post_block,
};

/// A client that begins with the HTTP/2 preface.
pub(crate) fn http2_client() -> Client {
    let client = Client::builder().no_proxy().timeout(Duration::from_secs(60)).cookie_store(true);
    client.http2_prior_knowledge().build().expect("a client")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_http_2_login_returns_tokens() {
    let app = app().start();
    let user = register(&app).await;
    let login = json!({ "email": user.email, "password": PASSWORD });
    let login = send(http2_client().post(app.url("/api/v1/auth/login")).json(&login)).await;
    assert_eq!(login.status, 200, "{}", login.body);
    assert!(login.body["data"]["tokens"]["accessToken"].is_string(), "{}", login.body);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_http_2_request_reaches_the_upstream_cleaned() {
    let app = gateway().start().await;
    let request = http2_client()
        .get(app.url("/api/open/x?y=z"))
        .header("te", "trailers")
        .header("x-forwarded-for", "6.6.6.6")
        .header("x-portcullis-role", "ADMIN");
    let response = send(request).await;
    assert_eq!((response.status, &response.body["target"]), (200, &json!("/api/v1/open/x?y=z")), "{}", response.body);
    assert_eq!(response.header("x-api-version"), "v1");
    let headers = &response.body["headers"];
    assert_eq!(headers["x-forwarded-for"], "127.0.0.1");
    assert_eq!(headers["x-forwarded-host"], app.address().to_string());
    assert!(headers["x-portcullis-role"].is_null() && headers["te"].is_null(), "{headers}");
}

fn assert_refused(what: &str, response: &TestResponse, status: u16, code: &str) {
    assert_eq!((response.status, response.body["code"].as_str()), (status, Some(code)), "{what}: {}", response.body);
    assert_eq!(response.header("x-request-id"), response.body["requestId"], "{what}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_gate_refuses_http_2_requests_in_the_envelope() {
    let app = gateway().start().await;
    let user = register(&app).await;
    let (client, closed) = (http2_client(), app.url("/api/v1/closed/x"));
    assert_refused("no credential", &send(client.get(&closed)).await, 401, "auth.token_required");
    let without_csrf = send(client.post(&closed).bearer_auth(&user.access)).await;
    assert_refused("no CSRF token", &without_csrf, 403, "csrf.invalid_token");
    assert_refused("no route", &send(client.get(app.url("/nope"))).await, 404, "route.not_found");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_http_2_post_with_a_csrf_token_is_proxied() {
    let app = gateway().start().await;
    let user = register(&app).await;
    let client = http2_client();
    let issued = send(client.get(app.url("/api/csrf-token"))).await;
    let csrf = issued.body["data"]["csrfToken"].as_str().expect("a CSRF token");
    let post = client.post(app.url("/api/v1/closed/x")).bearer_auth(&user.access).header("x-csrf-token", csrf);
    let posted = send(post.body("a body")).await;
    assert_eq!((posted.status, &posted.body["method"]), (200, &json!("POST")), "{}", posted.body);
    assert_eq!(posted.body["headers"]["content-length"], "6", "{}", posted.body);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_response_to_head_over_http_2_has_a_length_and_no_body() {
    let app = gateway().start().await;
    for path in ["/api/v1/health", "/api/v1/open/x"] {
        let response = http2_client().head(app.url(path)).send().await.expect("a response");
        let length =
            response.headers().get("content-length").and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        assert_eq!(response.status(), 200);
        assert!(length.is_some_and(|length| length > 0), "{path}: {:?}", response.headers());
        assert_eq!(response.bytes().await.expect("no error").len(), 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_http_2_upload_without_a_length_is_streamed_and_counted() {
    let app = gateway().start().await;
    let chunks = futures_util::stream::iter((0..64).map(|_| Ok::<_, std::io::Error>(vec![7u8; 16 * 1024])));
    let upload = http2_client().post(app.url("/api/v1/open/upload")).body(reqwest::Body::wrap_stream(chunks));
    assert_eq!(send(upload).await.body, json!(1 << 20));
    let page = get(&app, "/metrics").await.body.as_str().unwrap_or_default().to_owned();
    let sample = "http_requests_total{method=\"POST\",route=\"/api/v1/open/{*rest}\",status_code=\"200\"} 1\n";
    assert!(page.contains(sample), "{page}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_ends_cuts_its_http_2_response_alone() {
    const DOWNLOAD: usize = 1 << 30;
    let app = gateway().start().await;
    let (client, user) = (http2_client(), register(&app).await);
    let get = |path: &str| client.get(app.url(path)).bearer_auth(&user.access);
    let mut download = get("/api/v1/closed/download").send().await.expect("a response");
    assert_eq!(download.status(), 200);
    let logout = client.post(app.url("/api/v1/auth/logout")).bearer_auth(&user.access);
    assert_eq!(send(logout.json(&json!({}))).await.status, 200);
    let mut received = 0;
    let is_cut = loop {
        match download.chunk().await {
            Ok(Some(chunk)) => received += chunk.len(),
            Ok(None) => break false,
            Err(_) => break true,
        }
    };
    assert!(is_cut && received < DOWNLOAD, "ended normally: {}, after {received} bytes", !is_cut);
    assert_eq!(send(get("/api/v1/closed/x")).await.status, 401, "the connection goes on");
}

/// Sends a GET to the authority `a` with exactly these fields; returns the status and the body.
async fn get_with_fields(fields: &[(&str, &str)]) -> (u16, Value) {
    get_from("a", fields).await
}

async fn get_from(authority: &str, fields: &[(&str, &str)]) -> (u16, Value) {
    let app = gateway().start().await;
    let stream = tokio::net::TcpStream::connect(app.address()).await.expect("the server listens");
    let (io, executor) = (hyper_util::rt::TokioIo::new(stream), hyper_util::rt::TokioExecutor::new());
    let (mut sender, connection) = hyper::client::conn::http2::handshake(executor, io).await.expect("HTTP/2");
    tokio::spawn(connection);
    let mut request = hyper::Request::get(format!("http://{authority}/api/v1/open/x"));
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    let request = request.body(http_body_util::Empty::<hyper::body::Bytes>::new()).expect("a request");
    let response = sender.send_request(request).await.expect("a response");
    let status = response.status().as_u16();
    let body = http_body_util::BodyExt::collect(response.into_body()).await.expect("a body").to_bytes();
    (status, serde_json::from_slice(&body).expect("JSON"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sr_39_a_host_other_than_the_authority_is_400() {
    assert_eq!(get_with_fields(&[("host", "b")]).await.0, 400);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sr_63_an_invalid_authority_is_400() {
    for authority in ["user@a", "a:99999", "a..b", "a!b", "a~b"] {
        assert_eq!(get_from(authority, &[]).await.0, 400, "{authority}");
    }
    assert_eq!(get_from("a:8443", &[]).await.0, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sr_39_cookies_in_several_fields_become_one() {
    let fields = [("host", "a"), ("cookie", "b=1"), ("cookie", "portcullis-csrf=x"), ("cookie", "c=2")];
    let (status, seen) = get_with_fields(&fields).await;
    assert_eq!((status, &seen["headers"]["cookie"]), (200, &json!("b=1; c=2")));
    assert_eq!(seen["headers"]["x-forwarded-host"], "a");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sr_39_ambiguous_http_2_requests_reach_no_upstream() {
    let app = gateway().start().await;
    let smuggled = b"{}GET /api/v1/open/x HTTP/1.1\r\nHost: a\r\n\r\n";
    let reply = |fields: &[(&str, &str)], body: &[u8]| -> Frame {
        let mut client = RawHttp2::connect(&app);
        let fields = fields.iter().map(|(name, value)| field(name, value)).collect::<Vec<_>>().concat();
        let block = [post_block("/api/v1/open/upload"), fields].concat();
        client.send(HEADERS, END_HEADERS, 1, &block).expect("the connection is open");
        // The head alone may have been refused.
        let _ = client.send(DATA, END_STREAM, 1, body);
        let is_reply =
            |frame: &Frame| frame.kind == GOAWAY || (frame.stream == 1 && [HEADERS, RST_STREAM].contains(&frame.kind));
        client.wait_for(is_reply).expect("a reply")
    };
    assert!(reply(&[("content-length", "2")], b"{}").is_ok(), "a valid request");
    for (what, fields, body) in [
        ("a transfer coding", &[("transfer-encoding", "chunked")][..], &smuggled[..]),
        ("a field about the connection", &[("connection", "content-length")], b"{}"),
        ("an upgrade", &[("upgrade", "websocket")], b"{}"),
        ("a TE other than trailers", &[("te", "gzip")], b"{}"),
        ("two lengths", &[("content-length", "2"), ("content-length", "3")], b"{}"),
        ("a list of lengths", &[("content-length", "2, 2")], b"{}"),
        ("a length that is too short", &[("content-length", "2")], smuggled),
        ("a length that is too long", &[("content-length", "50")], b"{}"),
        ("a name in upper case", &[("Content-Length", "2")], b"{}"),
        ("a line break in a value", &[("x-a", "b\r\nx-portcullis-role: ADMIN")], b"{}"),
        ("a line break in a name", &[("x-a\r\nx-b", "c")], b"{}"),
    ] {
        let reply = reply(fields, body);
        assert!(!reply.is_ok(), "{what}: {:?}", reply.payload);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shutdown_lets_open_http_2_requests_finish() {
    let app = gateway().closed_route("timeout = \"2s\"\nauth = \"none\"").start().await;
    let mut client = RawHttp2::connect(&app);
    let last = client.get("/api/v1/closed/never").expect("the connection is open");
    client.round_trip();
    app.terminate();
    assert!(client.receives(0, GOAWAY), "the client is told to send no further request");
    assert!(client.receives(last, HEADERS), "the open request gets its response");
    assert!(client.is_closed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http_2_that_is_switched_off_is_refused_with_goaway() {
    const HTTP_1_1_REQUIRED: u32 = 0x0d;
    let app = gateway().server("http2 = false").start().await;
    let mut client = RawHttp2::connect(&app);
    let goaway = client.wait_for(|frame| frame.kind == GOAWAY).expect("a GOAWAY frame");
    assert_eq!(goaway.error_code(), HTTP_1_1_REQUIRED);
    assert!(client.is_closed());
    assert_eq!(get(&app, "/api/v1/health").await.status, 200, "HTTP/1.1 is served");
}
