//! The access log: a line for each request when its response has ended.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use portcullis_testkit::{TestApp, TestAppBuilder};
use serde_json::{Value, json};

use crate::client::{app, client, get, register, send};
use crate::logging::{read_head, upstream_that_sends};

/// A gateway whose access log shows these requests, with a route to an upstream that responds by path.
fn gateway(access: &str) -> TestAppBuilder {
    app().env("LOG_FORMAT", "json").env("PORTCULLIS__LOG__ACCESS", access).settings(&settings(upstream(), ""))
}

fn settings(upstream: SocketAddr, log: &str) -> String {
    format!(
        "[upstreams.projects]\ntargets = [\"http://{upstream}\"]\n\n[log]\n{log}\n\
         [[routes]]\npath = \"/api/v1/projects/{{*rest}}\"\nupstream = \"projects\"\nauth = \"optional\"\ncsrf = false\n"
    )
}

/// The next line of the access log.
fn next_line(app: &TestApp) -> Value {
    serde_json::from_str(&app.log_line_with("\"target\":\"access\"")).expect("each line is a JSON object")
}

/// An upstream that serves one request on each connection, in threads: a test that waits for a log line blocks.
fn upstream() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || respond(stream));
        }
    });
    address
}

fn respond(mut stream: TcpStream) {
    let head = read_head(&mut stream);
    let mut send = |text: &str| stream.write_all(text.as_bytes()).expect("the gateway reads");
    if head.contains("/failing") {
        send("HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    } else if head.contains("/socket") {
        send("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\nwelcome");
        // Until the client closes the tunnel.
        let _ = stream.read_to_end(&mut Vec::new());
    } else {
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length = length.map_or(0, |length| length.parse().expect("a number"));
        stream.read_exact(&mut vec![0; length]).expect("the body comes");
        let response = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello";
        stream.write_all(response.as_bytes()).expect("the gateway reads");
    }
}

/// A connection on which these bytes were sent.
fn connection_with(app: &TestApp, bytes: &str) -> TcpStream {
    let mut stream = TcpStream::connect(app.address()).expect("the server listens");
    stream.write_all(bytes.as_bytes()).expect("the server reads");
    stream
}

#[tokio::test]
async fn a_proxied_request_has_a_line_with_every_field() {
    let app = gateway("all").start();
    let token = register(&app).await.access;
    let registered = next_line(&app);
    let request = client().post(app.url("/api/projects/7?token=a-secret")).bearer_auth(&token).body("12345678");
    let response = send(request.header("user-agent", "secret-agent")).await;
    assert_eq!(response.status, 200);
    let line = next_line(&app);
    assert_eq!((&line["level"], &line["target"]), (&json!("INFO"), &json!("access")));
    assert_eq!(line["requestId"], response.header("x-request-id"));
    assert_eq!(line["traceId"].as_str().map(str::len), Some(32));
    let fields = &line["fields"];
    for (name, value) in [
        ("method", json!("POST")),
        ("route", json!("/api/v1/projects/{*rest}")),
        ("path", json!("/api/projects/7")),
        ("status", json!(200)),
        ("upstream", json!("projects")),
        ("client", json!("127.0.0.1")),
        ("bytesIn", json!(8)),
        ("bytesOut", json!(5)),
    ] {
        assert_eq!(fields[name], value, "{name}: {line}");
    }
    let duration = |name: &str| fields[name].as_f64().unwrap_or_else(|| panic!("{name}: {line}"));
    assert!(0.0 < duration("upstreamDurationMs") && duration("upstreamDurationMs") <= duration("durationMs"), "{line}");
    assert_eq!(fields["user"].as_str().map(str::len), Some(36), "{line}");
    assert_eq!(fields.get("aborted"), None, "{line}");
    assert!(!line.to_string().contains("secret"), "{line}");
    // The request that made the user, to a built-in endpoint.
    let fields = &registered["fields"];
    assert_eq!((&fields["route"], &fields["status"]), (&json!("/api/v1/auth/register"), &json!(201)), "{registered}");
    assert!(fields["bytesIn"].as_u64() > Some(50) && fields["bytesOut"].as_u64() > Some(50), "{registered}");
    assert_eq!(fields.get("upstream"), None, "{registered}");
}

#[tokio::test]
async fn refused_and_malformed_requests_have_lines() {
    let app = gateway("all").start();
    let status = |line: &Value| line["fields"]["status"].as_u64();
    assert_eq!(get(&app, "/nowhere").await.status, 404);
    let line = next_line(&app);
    assert_eq!((line["fields"]["route"].as_str(), status(&line)), (Some("unmatched"), Some(404)), "{line}");

    let mut malformed = connection_with(&app, "no request\r\n\r\n");
    let mut response = String::new();
    malformed.read_to_string(&mut response).expect("the server closes");
    let line = next_line(&app);
    assert_eq!((status(&line), line["fields"]["client"].as_str()), (Some(400), Some("127.0.0.1")), "{line}");
    assert!(line["fields"].get("method").is_none() && line["fields"].get("path").is_none(), "{line}");
    assert!(response.contains(line["requestId"].as_str().expect("an id")), "{line}");
}

#[tokio::test]
async fn a_response_that_breaks_off_is_shown_as_aborted() {
    let (upstream, open) = upstream_that_sends("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nbegun");
    let app = gateway("all").settings(&settings(upstream, "")).start();
    let response = client().get(app.url("/api/projects/7")).send().await.expect("a head");
    drop(open);
    assert!(response.bytes().await.is_err());
    let line = next_line(&app);
    let fields = &line["fields"];
    assert_eq!(
        (&fields["status"], &fields["aborted"], &fields["bytesOut"]),
        (&json!(200), &json!(true), &json!(5)),
        "{line}"
    );
}

// The request is reset on another thread than the one that waits for the line.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_goes_before_its_response_is_a_499() {
    let upstream = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = upstream.local_addr().expect("an address");
    let app = gateway("all").settings(&settings(address, "")).start();
    let http2 = reqwest::Client::builder().no_proxy().http2_prior_knowledge().build().expect("a client");
    let request = tokio::spawn(http2.get(app.url("/api/projects/7")).send());
    let accepted = tokio::task::spawn_blocking(move || {
        let (mut stream, _) = upstream.accept().expect("a connection");
        read_head(&mut stream);
        stream
    });
    let _unanswered = accepted.await.expect("no panic");
    request.abort();
    let line = next_line(&app);
    let fields = &line["fields"];
    assert_eq!((&fields["status"], &fields["upstream"]), (&json!(499), &json!("projects")), "{line}");
    assert_eq!((&fields["aborted"], &fields["bytesOut"]), (&json!(true), &json!(0)), "{line}");
}

#[tokio::test]
async fn a_tunnel_has_its_line_at_its_end() {
    let app = gateway("all").start();
    let handshake = "GET /api/projects/socket HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
    let mut stream = connection_with(&app, handshake);
    assert!(read_head(&mut stream).starts_with("HTTP/1.1 101 "));
    stream.read_exact(&mut [0; 7]).expect("the upstream's first bytes");
    // Its line comes before that of the tunnel, which is still open.
    assert_eq!(get(&app, "/api/v1/health").await.status, 200);
    assert_eq!(next_line(&app)["fields"]["path"], "/api/v1/health");
    stream.write_all(b"goodbye, upstream").expect("the tunnel is open");
    drop(stream);
    let line = next_line(&app);
    let fields = &line["fields"];
    assert_eq!((&fields["status"], &fields["path"]), (&json!(101), &json!("/api/projects/socket")), "{line}");
    assert_eq!((&fields["bytesIn"], &fields["bytesOut"]), (&json!(17), &json!(7)), "{line}");
}

#[tokio::test]
async fn errors_shows_5xx_and_a_reload_changes_it() {
    let upstream = upstream();
    let log = |access: &str| settings(upstream, access);
    let builder = app().env("LOG_FORMAT", "json").without_env("PORTCULLIS__LOG__ACCESS");
    let app = builder.settings(&log("access = \"errors\"")).start();
    assert_eq!(get(&app, "/api/projects/7").await.status, 200);
    assert_eq!(get(&app, "/api/projects/failing").await.status, 500);
    assert_eq!(next_line(&app)["fields"]["path"], "/api/projects/failing");
    // Everything is slower than nothing.
    let reload = |log: &str| {
        std::fs::write(app.folder().join("portcullis.toml"), log).expect("writable");
        let reloaded: Value = serde_json::from_str(&app.run(&["reload", "--json"], "")).expect("JSON");
        assert_eq!(reloaded["waitingForRestart"], json!([]));
    };
    reload(&log("access = \"errors\"\nslow = \"0ms\""));
    assert_eq!(get(&app, "/api/projects/slow").await.status, 200);
    assert_eq!(next_line(&app)["fields"]["path"], "/api/projects/slow");
    reload(&log("access = \"off\""));
    assert_eq!(get(&app, "/api/projects/failing").await.status, 500);
    reload(&log("access = \"all\""));
    assert_eq!(get(&app, "/api/projects/again").await.status, 200);
    assert_eq!(next_line(&app)["fields"]["path"], "/api/projects/again");
}
