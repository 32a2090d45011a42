//! Traces: what a collector receives of requests, and that it cannot hold anything up.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};

use portcullis_testkit::{PrivateRedis, TestAppBuilder, free_port};
use reqwest::Method;
use serde_json::json;

use crate::client::{app, call, client, register, send};
use crate::passwords::mailed_to;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

/// A server that answers every request on loopback with these bytes. Returns its address, and the requests as they come.
fn server(answer: &'static str) -> (SocketAddr, Receiver<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    let (sender, requests) = channel();
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let sender = sender.clone();
            std::thread::spawn(move || {
                while let Some(request) = read_request(&mut stream) {
                    if sender.send(request).is_err() || stream.write_all(answer.as_bytes()).is_err() {
                        return;
                    }
                }
            });
        }
    });
    (address, requests)
}

/// Reads a request with a body of known length. `None` when the connection ends.
fn read_request(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut request = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let count = stream.read(&mut piece).ok().filter(|count| *count > 0)?;
        request.extend_from_slice(&piece[..count]);
        let Some(head) = request.windows(4).position(|bytes| bytes == b"\r\n\r\n") else { continue };
        let text = String::from_utf8_lossy(&request[..head]).to_ascii_lowercase();
        let length = text.lines().find_map(|line| line.strip_prefix("content-length: ")?.trim().parse().ok());
        if request.len() >= head + 4 + length.unwrap_or(0) {
            return Some(request);
        }
    }
}

/// A gateway with a route to this upstream, which sends its traces here.
fn gateway(collector: SocketAddr, upstream: SocketAddr) -> TestAppBuilder {
    app().env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{collector}")).settings(&format!(
        "[tracing]\ntrust_incoming = true\n\n[upstreams.projects]\ntargets = [\"http://{upstream}\"]\n\n\
         [[routes]]\npath = \"/api/v1/projects/{{*rest}}\"\nupstream = \"projects\"\nauth = \"none\"\n"
    ))
}

const COLLECTED: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n";
const ANSWER: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// A span that a collector received.
#[derive(Debug, Default)]
struct Span {
    trace: String,
    id: String,
    parent: String,
    name: String,
    /// The traces and spans that it links to.
    links: Vec<(String, String)>,
    attributes: BTreeMap<String, String>,
}

impl Span {
    fn attribute(&self, name: &str) -> &str {
        self.attributes.get(name).map_or("", String::as_str)
    }
}

/// The spans of requests to a collector.
fn spans(requests: &Receiver<Vec<u8>>) -> Vec<Span> {
    let mut spans = Vec::new();
    for request in requests.try_iter() {
        let head = request.windows(4).position(|bytes| bytes == b"\r\n\r\n").expect("a head") + 4;
        for (_, of_resource) in fields(&request[head..]) {
            for (_, of_scope) in fields(of_resource).filter(|(number, _)| *number == 2) {
                for (_, bytes) in fields(of_scope).filter(|(number, _)| *number == 2) {
                    let mut span = Span::default();
                    for (number, value) in fields(bytes) {
                        match number {
                            1 => span.trace = hex(value),
                            2 => span.id = hex(value),
                            4 => span.parent = hex(value),
                            5 => span.name = text(value),
                            9 => _ = span.attributes.insert(text(field(value, 1)), any_value(field(value, 2))),
                            13 => span.links.push((hex(field(value, 1)), hex(field(value, 2)))),
                            _ => {}
                        }
                    }
                    spans.push(span);
                }
            }
        }
    }
    spans
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The only field of this number.
fn field(message: &[u8], number: u64) -> &[u8] {
    fields(message).find(|(found, _)| *found == number).map(|(_, value)| value).expect("a field")
}

/// A text, or a number in digits.
fn any_value(message: &[u8]) -> String {
    let (number, mut value) = fields(message).next().expect("a value");
    if number == 1 { text(value) } else { varint(&mut value).to_string() }
}

/// The fields of a Protocol Buffers message with their numbers, each with its bytes.
fn fields(mut message: &[u8]) -> impl Iterator<Item = (u64, &[u8])> {
    std::iter::from_fn(move || {
        if message.is_empty() {
            return None;
        }
        let tag = varint(&mut message);
        let length = match tag & 7 {
            0 => message.iter().take_while(|byte| **byte & 0x80 != 0).count() + 1,
            1 => 8,
            2 => usize::try_from(varint(&mut message)).expect("a length"),
            5 => 4,
            other => panic!("wire type {other}"),
        };
        let (value, rest) = message.split_at(length);
        message = rest;
        Some((tag >> 3, value))
    })
}

fn varint(message: &mut &[u8]) -> u64 {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = message.split_first().expect("a whole message");
        *message = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            break;
        }
    }
    number
}

#[tokio::test]
async fn a_request_and_its_attempt_are_spans_of_the_clients_trace() {
    let (collector, collected) = server(COLLECTED);
    let (upstream, requests) = server(ANSWER);
    let mut app = gateway(collector, upstream).start();
    let traceparent = format!("00-{TRACE}-b7ad6b7169203331-01");
    let response = send(client().get(app.url("/api/v1/projects/7")).header("traceparent", traceparent)).await;
    assert_eq!(response.status, 200);
    let request = String::from_utf8(requests.recv().expect("the upstream's request")).expect("ASCII");
    // What was not sent before is sent at the end.
    app.stop();
    let spans = spans(&collected);
    let of_trace = |name: &str| {
        let found = spans.iter().find(|span| span.trace == TRACE && span.name == name);
        found.unwrap_or_else(|| panic!("no span {name} in {spans:?}"))
    };
    let server = of_trace("GET /api/v1/projects/{*rest}");
    let attempt = of_trace("GET");
    assert_eq!(server.parent, "b7ad6b7169203331");
    assert_eq!(attempt.parent, server.id);
    assert!(request.contains(&format!("traceparent: 00-{TRACE}-{}-01\r\n", attempt.id)), "{request}");
}

/// An upstream whose responses end in different ways, by the end of the path. It breaks one off when it is told to.
fn ending_upstream() -> (SocketAddr, Sender<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    let (sender, breaks) = channel();
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let request = text(&read_request(&mut stream).unwrap_or_default());
            let is = |path: &str| request.contains(&format!("/{path} "));
            let field = match is("events") {
                true => "content-type: text/event-stream",
                false if is("whole") => "content-length: 3",
                false => "content-length: 1000000000",
            };
            let _ = stream.write_all(format!("HTTP/1.1 200 OK\r\n{field}\r\n\r\nabc").as_bytes());
            if is("events") || is("left") {
                // Until the gateway does not read any more.
                while stream.write_all(&[b'x'; 65_536]).is_ok() {}
            } else if is("broken") {
                let _ = breaks.recv();
            }
        }
    });
    (address, sender)
}

// With threads of its own, the client closes the connection of the last response while this thread waits for the stop.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_requests_span_ends_with_the_end_of_its_response() {
    let (collector, collected) = server(COLLECTED);
    let (upstream, breaks) = ending_upstream();
    let mut app = gateway(collector, upstream).start();
    for path in ["whole", "broken", "left", "events"] {
        let request = client().get(app.url(&format!("/api/v1/projects/{path}")));
        let mut response = request.send().await.expect("a response begins");
        let first = response.chunk().await.expect("it goes on").expect("bytes");
        assert!(first.starts_with(b"abc"), "{path}");
        match path {
            "whole" => assert_eq!(response.chunk().await.expect("it ends"), None),
            "broken" => {
                breaks.send(()).expect("the upstream listens");
                response.chunk().await.expect_err("it is cut off");
            }
            // The client goes away.
            _ => {}
        }
    }
    app.stop();
    let spans = spans(&collected);
    let of_path = |path: &str| {
        let path = format!("/api/v1/projects/{path}");
        spans.iter().find(|span| span.attribute("url.path") == path).unwrap_or_else(|| panic!("{path} in {spans:?}"))
    };
    for path in ["whole", "broken"] {
        assert_eq!(of_path(path).attribute("http.response.body.size"), "3", "{path}");
    }
    let errors = ["whole", "broken", "left", "events"].map(|path| of_path(path).attribute("error.type"));
    assert_eq!(errors, ["", "http_response_incomplete", "response_cut_off", ""]);
}

#[tokio::test]
async fn a_request_that_the_drain_cuts_off_has_a_span() {
    let (collector, collected) = server(COLLECTED);
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let mut app = gateway(collector, silent.local_addr().expect("an address"))
        .env("PORTCULLIS__SERVER__DRAIN_TIMEOUT", "0s")
        .env("PORTCULLIS__LOG__ACCESS", "errors")
        .env("LOG_FORMAT", "json")
        .start();
    let mut client = TcpStream::connect(app.address()).expect("the gateway listens");
    client.write_all(b"GET /api/v1/projects/7 HTTP/1.1\r\nHost: a\r\n\r\n").expect("it reads");
    let (upstream, _) = silent.accept().await.expect("the gateway connects");
    upstream.readable().await.expect("the request has come through");
    app.stop();
    let spans = spans(&collected);
    let cut_off = spans.iter().find(|span| span.attribute("url.path") == "/api/v1/projects/7");
    let cut_off = cut_off.unwrap_or_else(|| panic!("no span of the request in {spans:?}"));
    assert_eq!(cut_off.attribute("error.type"), "drain_timeout");
    app.log_line_with("\"path\":\"/api/v1/projects/7\"");
}

#[tokio::test]
async fn only_recorded_requests_are_exemplars_of_openmetrics() {
    let (collector, _collected) = server(COLLECTED);
    let (upstream, _requests) = server(ANSWER);
    let app = gateway(collector, upstream).start();
    let unrecorded = TRACE.replace('0', "1");
    for (trace, flags) in [(TRACE, "01"), (&unrecorded, "00")] {
        let traceparent = format!("00-{trace}-b7ad6b7169203331-{flags}");
        send(client().get(app.url("/api/v1/projects/7")).header("traceparent", traceparent)).await;
    }
    let page = async |accept: &str| {
        let page = send(client().get(app.url("/metrics")).header("accept", accept)).await;
        page.body.as_str().expect("text").to_owned()
    };
    let openmetrics = page("application/openmetrics-text; version=1.0.0").await;
    for family in ["http_request_duration_seconds", "http_server_request_duration_seconds"] {
        let mut lines = openmetrics.lines().filter(|line| line.starts_with(&format!("{family}_bucket{{")));
        assert!(lines.any(|line| line.contains(&format!(" # {{trace_id=\"{TRACE}\""))), "{family} in {openmetrics}");
    }
    assert!(!openmetrics.contains(&unrecorded), "{openmetrics}");
    assert!(!page("text/plain").await.contains(" # {"));
}

#[tokio::test]
async fn redis_hashing_look_ups_and_mails_have_spans() {
    let redis = PrivateRedis::start();
    let (collector, collected) = server(COLLECTED);
    let mut app = app()
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{collector}"))
        .env("REDIS_URL", redis.url())
        .env("PORTCULLIS__LIMITS__ENABLED", "true")
        .start();
    let account = register(&app).await;
    let me = call(&app, Method::GET, "/api/v1/auth/profile", &account.access, None).await;
    assert_eq!(me.status, 200, "{}", me.body);
    mailed_to(&app, "verify_email", &account.email);
    let sign_out = call(&app, Method::POST, "/api/v1/auth/logout", &account.access, Some(&json!({}))).await;
    assert_eq!(sign_out.status, 200, "{}", sign_out.body);
    // The other replicas are told beside the response.
    while !redis.command(&["INFO", "commandstats"]).contains("cmdstat_publish") {}
    // Its answer comes before that to a later command of the gateway.
    assert_eq!(call(&app, Method::GET, "/api/v1/auth/profile", &account.access, None).await.status, 401);
    app.stop();
    let spans = spans(&collected);
    for chain in [
        ["EVALSHA limit", "POST /api/v1/auth/register", ""],
        ["password queue", "POST /api/v1/auth/register", ""],
        ["password hash", "POST /api/v1/auth/register", ""],
        ["GET session", "session look-up", "GET /api/v1/auth/profile"],
        ["SELECT sessions", "session look-up", "GET /api/v1/auth/profile"],
        ["send mail", "mail verify_email", ""],
        ["INSERT mail_outbox", "queue mail verify_email", "POST /api/v1/auth/register"],
        ["PUBLISH revocations", "POST /api/v1/auth/logout", ""],
    ] {
        let named = |span: &Span, name: &str| if name.is_empty() { span.parent.is_empty() } else { span.name == name };
        let parent_of = |span: &Span| spans.iter().find(|other| other.id == span.parent);
        let is_there = spans.iter().filter(|span| span.name == chain[0]).filter_map(parent_of).any(|parent| {
            let above = parent_of(parent).unwrap_or(parent);
            parent.name == chain[1] && named(above, chain[2])
        });
        assert!(is_there, "{chain:?} in {spans:#?}");
    }
    let named =
        |name: &str| spans.iter().find(|span| span.name == name).unwrap_or_else(|| panic!("{name} in {spans:#?}"));
    let (queued, mail) = (named("queue mail verify_email"), named("mail verify_email"));
    assert_eq!(queued.links, [(mail.trace.clone(), mail.id.clone())]);
    assert_eq!(queued.attribute("portcullis.mail.id"), mail.attribute("portcullis.mail.id"));
    let get = named("GET session");
    assert_eq!((get.attribute("db.system.name"), get.attribute("db.operation.name")), ("redis", "GET"));
    let values: Vec<&String> = spans.iter().flat_map(|span| span.attributes.values()).collect();
    for secret in [account.email.as_str(), &account.access, "session:{"] {
        assert!(values.iter().all(|value| !value.contains(secret)), "{secret} in {values:?}");
    }
}

#[tokio::test]
async fn an_error_of_a_request_that_is_not_recorded_keeps_its_span() {
    let (collector, collected) = server(COLLECTED);
    let gone = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let mut app = gateway(collector, gone).env("OTEL_TRACES_SAMPLER", "always_off").start();
    for (path, status) in [("/api/v1/projects/7", 502), ("/api/health", 200)] {
        assert_eq!(send(client().get(app.url(path))).await.status, status, "{path}");
    }
    app.stop();
    let names: Vec<String> = spans(&collected).into_iter().map(|span| span.name).collect();
    assert_eq!(names, ["GET /api/v1/projects/{*rest}"]);
}

#[tokio::test]
async fn sr_69_a_collector_that_never_answers_holds_nothing_up() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let (upstream, _requests) = server(ANSWER);
    let mut app = gateway(silent.local_addr().expect("an address"), upstream).start();
    for _ in 0..3 {
        assert_eq!(send(client().get(app.url("/api/v1/projects/7"))).await.status, 200);
    }
    // Ends although the spans cannot be sent.
    app.stop();
}
