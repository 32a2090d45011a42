//! The way to an upstream: what it is told, what streams through, what happens when it is gone.

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

use crate::client::{app, call, client, get, post, register, send};

type Body = BoxBody<Bytes, Infallible>;

const GIB: u64 = 1 << 30;
const CHUNK: usize = 64 * 1024;

fn full(text: impl Into<Bytes>) -> Body {
    Full::new(text.into()).boxed()
}

/// An upstream on loopback that answers by path.
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
                let service = service_fn(move |request| answer(request, Arc::clone(&counter)));
                let _ =
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    (address, received)
}

async fn answer(request: Request<Incoming>, received: Arc<AtomicU64>) -> Result<Response<Body>, Infallible> {
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

fn settings(upstream: SocketAddr) -> String {
    let dead = free_port();
    format!(
        r#"
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
permissions = {{ GET = ["USER_VIEW"], PUT = ["USER_DELETE"] }}
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
async fn a_service_behind_a_route_sees_who_calls_and_no_credential() {
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
    let answer = send(request).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(answer.body["target"], "/projects/7/files?x=1&y=2");
    let headers = &answer.body["headers"];
    assert_eq!(headers["x-portcullis-role"], "DEVELOPER");
    assert!(headers["x-portcullis-user"].as_str().is_some_and(|id| id.len() == 36), "{headers}");
    assert!(headers["x-portcullis-session"].is_string());
    assert_eq!(headers["x-forwarded-for"], "127.0.0.1");
    assert_eq!(headers["cookie"], "theirs=1");
    assert!(headers["traceparent"].is_string() && headers["x-request-id"].is_string());
    for gone in ["authorization", "x_portcullis_role", "x-hop", "x-api-key"] {
        assert!(headers[gone].is_null(), "{gone} in {headers}");
    }
    assert_eq!(headers["x-request-id"], answer.header("x-request-id"));
    let cookies: Vec<_> = answer.headers.get_all("set-cookie").iter().collect();
    assert_eq!(cookies, ["theirs=1"]);
    assert_eq!(answer.header("x-api-version"), "v1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_alias_and_every_spelling_meet_the_same_gate() {
    let (app, _) = gateway().await;
    let account = register(&app).await;
    for path in ["/api/projects/7", "/api/v1/projects/7", "/api//v1/./projects/x/../7", "/api/v1/%70rojects/7"] {
        let answer = crate::client::raw(
            &app,
            format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").as_bytes(),
        );
        assert!(answer.starts_with("HTTP/1.1 401"), "{path}: {answer}");
        let answer = crate::client::raw(
            &app,
            format!(
                "GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\nConnection: close\r\n\r\n",
                account.access
            )
            .as_bytes(),
        );
        assert!(
            answer.starts_with("HTTP/1.1 200") && answer.contains("\"target\":\"/projects/7\""),
            "{path}: {answer}"
        );
    }
    for path in [
        "/api/v1/projects%2f7",
        "/api/v1/projects/..%2f7",
        "/api/v1/projects/%00",
        "/API/v1/projects/7",
        "/api/v1/Projects/7",
    ] {
        let answer = crate::client::raw(
            &app,
            format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").as_bytes(),
        );
        assert!(answer.starts_with("HTTP/1.1 40") && !answer.contains("\"target\""), "{path}: {answer}");
    }
}

#[tokio::test]
async fn roles_permissions_and_limits_of_a_route_hold() {
    let (app, _) = gateway().await;
    let account = register(&app).await;
    let answer = call(&app, Method::GET, "/api/v1/managers/x", &account.access, None).await;
    assert_eq!((answer.status, answer.error()), (403, "Insufficient permissions"));
    assert_eq!(call(&app, Method::GET, "/api/v1/permitted/x", &account.access, None).await.status, 200);
    assert_eq!(call(&app, Method::PUT, "/api/v1/permitted/x", &account.access, None).await.status, 403);
    for _ in 0..3 {
        assert_eq!(get(&app, "/api/v1/limited/x").await.status, 200);
    }
    let answer = get(&app, "/api/v1/limited/x").await;
    assert_eq!((answer.status, answer.error()), (429, "Too many requests"));
    assert!(answer.header("retry-after").parse::<u64>().is_ok_and(|seconds| seconds > 0));
    assert_eq!(answer.header("x-ratelimit-remaining"), "0");
}

#[tokio::test]
async fn a_missing_upstream_is_502_a_slow_one_504_and_a_large_body_413() {
    let (app, _) = gateway().await;
    let answer = get(&app, "/api/v1/dead/x").await;
    assert_eq!((answer.status, answer.error()), (502, "Bad gateway"));
    assert!(answer.body["requestId"].is_string());
    let answer = get(&app, "/api/v1/open/never").await;
    assert_eq!((answer.status, answer.error()), (504, "Gateway timeout"));
    let answer = send(client().post(app.url("/api/v1/open/upload")).body(vec![0u8; 2000])).await;
    assert_eq!((answer.status, answer.error()), (413, "Payload too large"));
    assert_eq!(get(&app, "/api/v1/open/x").await.status, 200, "other routes go on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gibibyte_streams_each_way_in_less_than_16_mib() {
    let (app, received) = gateway().await;
    let account = register(&app).await;
    let limit = 16 * 1024 * 1024;
    let before = app.resident_bytes();

    let response = client()
        .get(app.url("/api/v1/projects/download"))
        .timeout(Duration::from_secs(300))
        .bearer_auth(&account.access)
        .send()
        .await
        .expect("it answers");
    let mut stream = response.bytes_stream();
    let (mut total, mut peak) = (0u64, before);
    while let Some(chunk) = stream.next().await {
        let length = chunk.expect("the stream is whole").len() as u64;
        if total >> 26 != (total + length) >> 26 {
            peak = peak.max(app.resident_bytes());
        }
        total += length;
    }
    assert_eq!(total, GIB);
    eprintln!("download: {} bytes more at its peak", peak - before);
    assert!(peak - before < limit, "download: memory grew by {} bytes", peak - before);

    let chunks = futures_util::stream::iter(
        std::iter::repeat_n(Bytes::from(vec![9u8; CHUNK]), usize::try_from(GIB).expect("64-bit") / CHUNK)
            .map(Ok::<_, Infallible>),
    );
    let begun = Arc::new(AtomicU64::new(0));
    let sent_when_first_arrived = Arc::clone(&begun);
    let counted = {
        let received = Arc::clone(&received);
        let mut sent = 0u64;
        chunks.map(move |chunk| {
            sent += CHUNK as u64;
            if received.load(Ordering::Relaxed) > 0 && sent_when_first_arrived.load(Ordering::Relaxed) == 0 {
                sent_when_first_arrived.store(sent, Ordering::Relaxed);
            }
            chunk
        })
    };
    let request = client()
        .post(app.url("/api/v1/projects/upload"))
        .timeout(Duration::from_secs(300))
        .bearer_auth(&account.access)
        .body(reqwest::Body::wrap_stream(counted));
    let upload = tokio::spawn(send(request));
    let mut peak = before;
    while !upload.is_finished() {
        peak = peak.max(app.resident_bytes());
        tokio::task::yield_now().await;
    }
    let answer = upload.await.expect("the upload does not panic");
    assert_eq!((answer.status, answer.body.as_u64()), (200, Some(GIB)), "{}", answer.body);
    let first = begun.load(Ordering::Relaxed);
    assert!(first > 0 && first < GIB / 2, "the first byte arrived after {first} bytes were sent");
    eprintln!("upload: {} bytes more at its peak", peak - before);
    assert!(peak - before < limit, "upload: memory grew by {} bytes", peak - before);
}

#[tokio::test]
async fn a_web_socket_passes_through_and_ends_with_its_session() {
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
    let app = app().settings(&settings(address)).start();
    let (account, other) = (register(&app).await, register(&app).await);
    let open = |access: String| {
        let url = format!("ws://{}/api/v1/projects/socket", app.address());
        async move {
            let mut request = url.into_client_request().expect("a request");
            request.headers_mut().insert("authorization", format!("Bearer {access}").parse().expect("a value"));
            tokio_tungstenite::connect_async(request).await
        }
    };
    assert!(open("nonsense".to_owned()).await.is_err(), "a bad token must not open a tunnel");
    let (mut socket, _) = open(account.access.clone()).await.expect("the tunnel opens");
    let (mut others, _) = open(other.access.clone()).await.expect("the tunnel opens");
    for text in ["hello", "again"] {
        socket.send(Message::text(text)).await.expect("it is open");
        assert_eq!(socket.next().await.expect("an echo").expect("whole"), Message::text(text));
    }
    // A refresh leaves streams open; the end of the session closes them, and nobody else's.
    let refreshed = post(&app, "/api/v1/auth/refresh", &json!({ "refreshToken": account.refresh })).await;
    assert_eq!(refreshed.status, 200);
    socket.send(Message::text("still here")).await.expect("it is open");
    assert_eq!(socket.next().await.expect("an echo").expect("whole"), Message::text("still here"));
    assert_eq!(call(&app, Method::POST, "/api/v1/auth/logout", &account.access, None).await.status, 200);
    let end = tokio::time::timeout(Duration::from_secs(5), socket.next()).await.expect("the tunnel closes at logout");
    assert!(!matches!(end, Some(Ok(Message::Text(_)))), "{end:?}");
    others.send(Message::text("mine")).await.expect("it is open");
    assert_eq!(others.next().await.expect("an echo").expect("whole"), Message::text("mine"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_version_of_the_api_may_have_a_service_of_its_own() {
    let text = |name: &'static str| async move {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let service =
                        service_fn(move |_| async move { Ok::<_, Infallible>(Response::new(full(name.as_bytes()))) });
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        address
    };
    let (one, two) = (text("one").await, text("two").await);
    let settings = format!(
        "[versions.v1]\nreleased_at = \"2025-01-01T00:00:00Z\"\ndeprecated_at = \"2026-01-01T00:00:00Z\"\nsuccessor = \"v2\"\n\
         [versions.v2]\ndocumentation = \"https://docs.example.com/v2\"\n\
         [versions.v3]\nsunset_at = \"2020-01-01T00:00:00Z\"\n\
         [upstreams.one]\ntargets = [\"http://{one}\"]\n[upstreams.two]\ntargets = [\"http://{two}\"]\n\
         [[routes]]\npath = \"/api/v1/p\"\nupstream = \"one\"\nauth = \"none\"\n\
         [[routes]]\npath = \"/api/v2/p\"\nupstream = \"two\"\nauth = \"none\"\n\
         [[routes]]\npath = \"/api/v3/p\"\nupstream = \"two\"\nauth = \"none\"\n"
    );
    let app = app().settings(&settings).start();
    let asked = async |path: &str, version: Option<(&str, &str)>| {
        let mut request = client().get(app.url(path));
        if let Some((name, value)) = version {
            request = request.header(name, value);
        }
        send(request).await
    };
    for (path, version, name) in [
        ("/api/v1/p", None, "one"),
        ("/api/p", None, "one"),
        ("/api/v2/p", None, "two"),
        ("/api/p", Some(("accept-version", "v2")), "two"),
        ("/api/p", Some(("x-api-version", "v2")), "two"),
        ("/api/p?api_version=v2", None, "two"),
        ("/api/v1/p", Some(("accept-version", "v2")), "one"),
    ] {
        let answer = asked(path, version).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, Some(name)), "{path} {version:?}");
    }
    let old = asked("/api/p", None).await;
    assert!(old.header("deprecation").starts_with('@') && old.header("link").contains("/api/v2"), "{:?}", old.headers);
    assert_eq!(asked("/api/v3/p", None).await.status, 410);
    for (path, status) in [("/api/v0/p", 400), ("/api/v999/p", 404), ("/api/V1/p", 400), ("/api/v1/../v2/p", 200)] {
        // A URL library would resolve the dots before it sends them.
        let answer =
            crate::client::raw(&app, format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").as_bytes());
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{path}: {answer}");
    }
    for bad in ["v0", "1", "V1", "../", "v1000", "v01"] {
        let answer = asked("/api/p", Some(("accept-version", bad))).await;
        assert_eq!((answer.status, answer.error()), (400, "Invalid API version"), "{bad}");
    }
    let unknown = asked("/api/p", Some(("accept-version", "v999"))).await;
    assert_eq!((unknown.status, unknown.error()), (400, "Unsupported API version"));
    assert_eq!(unknown.body["details"]["supportedVersions"], serde_json::json!(["v1", "v2"]));
    let document = get(&app, "/api/versions").await.body["data"]["details"].clone();
    assert_eq!(document["v1"]["releaseDate"], "2025-01-01T00:00:00.000Z");
    assert_eq!(document["v2"]["documentation"], "https://docs.example.com/v2");
    assert_eq!(document["v3"]["status"], "sunset");
}
