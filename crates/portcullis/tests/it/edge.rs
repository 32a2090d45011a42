//! Sockets: what comes over them that is no request, comes slowly, or comes in masses (requirements 37, 39 and 40).

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use portcullis_testkit::TestApp;
use reqwest::Method;
use serde_json::Value;

use crate::client::{app, call, client, get, raw, send};
use crate::people::administrator;
use crate::proxied;

/// A gateway with a proxied route that asks for nothing, `/api/v1/open`.
async fn gateway(server: &str) -> TestApp {
    let (upstream, _) = proxied::upstream().await;
    app().settings(&format!("[server]\n{server}\n{}", route(upstream))).start()
}

fn route(upstream: SocketAddr) -> String {
    format!(
        "[upstreams.u]\ntargets = [\"http://{upstream}\"]\n[[routes]]\npath = \"/api/v1/open/{{*rest}}\"\n\
         upstream = \"u\"\nauth = \"none\"\ncsrf = false\n"
    )
}

/// A built-in route and a proxied one.
const BOTH: [&str; 2] = ["/api/v1/auth/login", "/api/v1/open/x"];

struct Said {
    status: u16,
    head: String,
    body: Value,
}

/// The one answer that bytes get, after which the connection must be closed.
fn said(app: &TestApp, bytes: &[u8]) -> Said {
    let mut stream = TcpStream::connect(app.address()).expect("the server listens");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout can be set");
    stream.write_all(bytes).expect("the server reads");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("the server closes the connection");
    let text = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
    Said { status, head: head.to_ascii_lowercase(), body: serde_json::from_str(body).unwrap_or(Value::Null) }
}

fn is_enveloped(said: &Said, what: &str) {
    let Said { status, head, body } = said;
    assert_eq!(body["success"], false, "{what}: {head} {body}");
    assert_eq!(body["statusCode"], *status, "{what}: {body}");
    let id = body["requestId"].as_str().expect("a request id");
    assert!(head.contains(&format!("x-request-id: {id}")) && head.contains("connection: close"), "{what}: {head}");
    assert!(head.contains("x-content-type-options: nosniff"), "{what}: {head}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sr_39_what_can_be_read_in_two_ways_is_400_and_closes_the_connection_on_every_route() {
    let app = gateway("").await;
    for path in BOTH {
        for (what, rest) in [
            ("two lengths", "Host: a\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}"),
            ("two equal lengths", "Host: a\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\n{}"),
            ("a list of lengths", "Host: a\r\nContent-Length: 2, 2\r\n\r\n{}"),
            ("length and coding", "Host: a\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
            ("a signed length", "Host: a\r\nContent-Length: +2\r\n\r\n{}"),
            ("a negative length", "Host: a\r\nContent-Length: -2\r\n\r\n{}"),
            ("a hexadecimal length", "Host: a\r\nContent-Length: 0x2\r\n\r\n{}"),
            ("a length beyond numbers", "Host: a\r\nContent-Length: 99999999999999999999\r\n\r\n{}"),
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
            let answer = said(&app, format!("POST {path} HTTP/1.1\r\n{rest}").as_bytes());
            assert_eq!(answer.status, 400, "{what} on {path}: {} {}", answer.head, answer.body);
            is_enveloped(&answer, what);
        }
        let odd = format!("POST http://elsewhere{path} HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(said(&app, odd.as_bytes()).status, 400, "two hosts, one in the target");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sr_39_odd_chunks_never_become_part_of_another_request() {
    let app = gateway("").await;
    let smuggled = "GET /api/health HTTP/1.1\r\nHost: a\r\n\r\n";
    for chunks in [
        "zz\r\n{}\r\n0\r\n\r\n",
        "-2\r\n{}\r\n0\r\n\r\n",
        "2 2\r\n{}\r\n0\r\n\r\n",
        "fffffffffffffffff\r\n{}",
        "2\r\n{}0\r\n\r\n",
    ] {
        // A service that has read the whole body, so that it does not answer before it is broken.
        for path in ["/api/v1/auth/login", "/api/v1/open/upload"] {
            let head = "Host: a\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
            let answer = raw(&app, format!("POST {path} HTTP/1.1\r\n{head}{chunks}{smuggled}").as_bytes());
            assert!(!answer.contains("Service is healthy"), "{chunks:?} on {path}: {answer}");
            assert!(answer.starts_with("HTTP/1.1 4") || answer.starts_with("HTTP/1.1 502"), "{chunks:?}: {answer}");
        }
    }
    let extension = format!("2;{}\r\n{{}}\r\n0\r\n\r\n", "x".repeat(40_000));
    let head = "Host: a\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
    let answer = raw(&app, format!("POST /api/v1/auth/login HTTP/1.1\r\n{head}{extension}").as_bytes());
    assert!(answer.starts_with("HTTP/1.1 400"), "extensions beyond a bound: {answer}");
}

/// The most bytes of a head, as docs/edge.md has it.
const MAX_HEAD: usize = 65_536;

fn head_of(bytes: usize) -> String {
    let empty = "GET /api/health HTTP/1.1\r\nHost: a\r\nX: \r\n\r\n";
    empty.replace("X: ", &format!("X: {}", "x".repeat(bytes - empty.len())))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sr_40_what_is_no_request_gets_the_envelope_too_and_is_counted_with_its_status() {
    let app = gateway("").await;
    let many: String = (0..150).map(|n| format!("x-{n}: 1\r\n")).collect();
    let large = format!("x-large: {}\r\n", "x".repeat(200 * 1024));
    for (what, request, status, code) in [
        ("no request line", "nonsense\r\n\r\n".to_owned(), 400, "request.malformed"),
        ("a version that there is not", "GET / HTTP/9.9\r\nHost: a\r\n\r\n".to_owned(), 400, "request.malformed"),
        ("a method that is none", "G T / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), 400, "request.malformed"),
        ("TLS", "\x16\x03\x01\x02\r\n\r\n".to_owned(), 400, "request.malformed"),
        ("many fields", format!("GET / HTTP/1.1\r\nHost: a\r\n{many}\r\n"), 431, "request.head_too_large"),
        ("a large field", format!("GET / HTTP/1.1\r\nHost: a\r\n{large}\r\n"), 431, "request.head_too_large"),
        ("a head that is just too large", head_of(MAX_HEAD + 1), 431, "request.head_too_large"),
    ] {
        let answer = said(&app, request.as_bytes());
        assert_eq!((answer.status, answer.body["code"].as_str()), (status, Some(code)), "{what}: {}", answer.head);
        is_enveloped(&answer, what);
    }
    assert!(raw(&app, head_of(MAX_HEAD).as_bytes()).starts_with("HTTP/1.1 200"), "a head that just fits");
    let page = get(&app, "/metrics").await.body.as_str().unwrap_or_default().to_owned();
    for (status, times) in [(400, 4), (431, 2)] {
        let line =
            format!("http_requests_total{{method=\"_OTHER\",route=\"unmatched\",status_code=\"{status}\"}} {times}\n");
        assert!(page.contains(&line), "{line} in {page}");
    }
    // A good request before it on the same connection is answered, and the bad one after it too.
    let both = said(&app, b"GET /api/health HTTP/1.1\r\nHost: a\r\n\r\nnonsense\r\n\r\n");
    assert_eq!(both.status, 200, "{}", both.head);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn expectations_upgrades_and_connections_are_treated_by_the_book() {
    let app = gateway("").await;
    for path in BOTH {
        let expects = |what: &str, body: &str| {
            format!(
                "POST {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Type: application/json\r\n\
                 Expect: {what}\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            )
        };
        assert!(raw(&app, expects("100-continue", "{}").as_bytes()).starts_with("HTTP/1.1 100 Continue\r\n\r\n"));
        let refused = said(&app, expects("a-miracle", "").as_bytes());
        assert_eq!((refused.status, &refused.body["code"]), (417, &"request.expectation_failed".into()), "{path}");
    }
    // Who is refused is not asked for a body.
    let closed = "POST /api/v1/users HTTP/1.1\r\nHost: a\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";
    assert!(raw(&app, closed.as_bytes()).starts_with("HTTP/1.1 403"), "no 100 before a refusal");
    for method in ["TRACE", "CONNECT", "BREW"] {
        let target = if method == "CONNECT" { "a:443" } else { "/api/v1/health" };
        let host = if method == "CONNECT" { "a:443" } else { "a" };
        let text = format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\nX-Secret: hush\r\nConnection: close\r\n\r\n");
        let answer = said(&app, text.as_bytes());
        assert!([400, 405].contains(&answer.status), "{method}: {}", answer.head);
        assert!(!answer.body.to_string().contains("hush"), "nothing is echoed");
    }
    let old = raw(&app, b"GET /api/v1/open/x HTTP/1.0\r\n\r\n");
    assert!(old.starts_with("HTTP/1.0 200") || old.starts_with("HTTP/1.1 200"), "{old}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sr_40_slow_heads_slow_bodies_and_idle_connections_are_closed() {
    let app = gateway("header_timeout = \"1s\"\nbody_timeout = \"1s\"\nidle_timeout = \"2s\"").await;
    let closed_after = |bytes: &[u8], drip: Option<&[u8]>| {
        let mut stream = TcpStream::connect(app.address()).expect("the server listens");
        stream.set_read_timeout(Some(Duration::from_millis(100))).expect("a timeout can be set");
        stream.write_all(bytes).expect("the server reads");
        let begun = Instant::now();
        let mut heard = Vec::new();
        let mut chunk = [0; 4096];
        while begun.elapsed() < Duration::from_secs(10) {
            match stream.read(&mut chunk) {
                Ok(0) => break,
                Ok(read) => heard.extend_from_slice(&chunk[..read]),
                Err(error)
                    if [std::io::ErrorKind::WouldBlock, std::io::ErrorKind::TimedOut].contains(&error.kind()) =>
                {
                    if let Some(drip) = drip
                        && stream.write_all(drip).is_err()
                    {
                        break;
                    }
                }
                Err(_) => break,
            }
        }
        (begun.elapsed(), String::from_utf8_lossy(&heard).into_owned())
    };
    let within = |what: &str, took: Duration, least: f64, most: f64| {
        let seconds = took.as_secs_f64();
        assert!((least..most).contains(&seconds), "{what} was closed after {seconds} s");
    };
    within("nothing at all", closed_after(b"", None).0, 0.9, 4.0);
    let dripping = closed_after(b"GET /api/health HTTP/1.1\r\n", Some(b"x: y\r\n"));
    within("a head that never ends", dripping.0, 0.9, 4.0);
    let idle = closed_after(b"GET /api/health HTTP/1.1\r\nHost: a\r\n\r\n", None);
    assert!(idle.1.starts_with("HTTP/1.1 200"));
    within("an idle connection", idle.0, 1.9, 6.0);
    // The service behind the gateway waits for the whole body.
    for path in ["/api/v1/auth/login", "/api/v1/open/upload"] {
        let slow = format!(
            "POST {path} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 10\r\n\r\n{{"
        );
        let (took, heard) = closed_after(slow.as_bytes(), None);
        within("a body that stops", took, 0.9, 6.0);
        assert!(heard.starts_with("HTTP/1.1 408") && heard.contains("request.timeout"), "{path}: {heard}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sr_40_who_does_not_read_an_answer_is_cut_off_and_who_reads_slowly_is_not() {
    /// More than the two kernels hold between us.
    const MUCH: usize = 64 << 20;
    let app = gateway("send_timeout = \"1s\"").await;
    let asks = || {
        let mut stream = TcpStream::connect(app.address()).expect("the server listens");
        stream.set_read_timeout(Some(Duration::from_secs(5))).expect("a timeout can be set");
        stream.write_all(b"GET /api/v1/open/download HTTP/1.1\r\nHost: a\r\n\r\n").expect("the server reads");
        stream
    };
    let (mut silent, mut slow) = (asks(), asks());
    let mut chunk = vec![0; 1 << 20];
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(4) {
        assert!(slow.read(&mut chunk).expect("it is not cut") > 0, "a slow reader was cut off");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let mut heard = 0;
    while heard < MUCH {
        match silent.read(&mut chunk) {
            Ok(0) | Err(_) => break,
            Ok(read) => heard += read,
        }
    }
    assert!(heard < MUCH, "nobody was cut off");
    assert_eq!(get(&app, "/api/v1/health").await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sr_40_one_address_has_its_share_of_connections() {
    let app = gateway("max_connections_per_address = 20").await;
    let mut open: Vec<TcpStream> = Vec::new();
    let is_open = |stream: &mut TcpStream| {
        stream.set_read_timeout(Some(Duration::from_millis(300))).expect("a timeout can be set");
        stream.write_all(b"GET /api/health HTTP/1.1\r\nHost: a\r\n\r\n").is_ok()
            && matches!(stream.read(&mut [0; 4096]), Ok(1..))
    };
    for n in 0..20 {
        let mut stream = TcpStream::connect(app.address()).expect("the server listens");
        assert!(is_open(&mut stream), "connection {n}");
        open.push(stream);
    }
    let mut more = TcpStream::connect(app.address()).expect("the kernel accepts it");
    assert!(!is_open(&mut more), "one too many");
    open.truncate(10);
    let mut let_in = false;
    for _ in 0..50 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let mut stream = TcpStream::connect(app.address()).expect("the server listens");
        if is_open(&mut stream) {
            let_in = true;
            break;
        }
    }
    assert!(let_in, "room that was left is not given again");
    assert!(open.iter_mut().all(is_open), "those who were there stay");
}

/// As many as this process may have; the server's are as many again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sr_40_ten_thousand_idle_connections_hold_up_nobody() {
    let app = gateway("max_connections = 20000\nmax_connections_per_address = 20000\nheader_timeout = \"60s\"").await;
    get(&app, "/api/health").await;
    let before = app.resident_bytes();
    let limit = std::fs::read_to_string("/proc/self/limits").expect("the kernel tells");
    let files = limit.lines().find(|line| line.starts_with("Max open files")).expect("it is there");
    let files: usize = files.split_whitespace().nth(3).and_then(|n| n.parse().ok()).expect("a number");
    let many = files.saturating_sub(500).min(10_000);
    let mut idle = Vec::with_capacity(many);
    for _ in 0..many {
        idle.push(tokio::net::TcpStream::connect(app.address()).await.expect("the server listens"));
    }
    let begun = Instant::now();
    for _ in 0..20 {
        assert_eq!(get(&app, "/api/open/x").await.status, 200);
    }
    let each = app.resident_bytes().saturating_sub(before) / many as u64;
    eprintln!("{many} idle connections, {each} bytes each; 20 requests beside them in {:?}", begun.elapsed());
    assert!(each < 32 * 1024, "{each} bytes for an idle connection");
    let page = get(&app, "/metrics").await.body.as_str().unwrap_or_default().to_owned();
    let open = page.lines().find_map(|line| line.strip_prefix("connections_open ")).expect("a gauge");
    assert!(open.parse::<f64>().expect("a number") >= many as f64, "{open}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sr_37_a_forwarder_that_is_not_trusted_is_told_of_once_and_only_to_operators() {
    let app = gateway("").await;
    let root = administrator(&app).await;
    let warnings = async |token: &str| {
        let answer = call(&app, Method::GET, "/api/health/detailed", token, None).await;
        answer.body["data"]["warnings"].clone()
    };
    assert_eq!(warnings(&root).await, serde_json::json!([]));
    for _ in 0..3 {
        let asked = client().get(app.url("/api/open/x")).header("x-forwarded-for", "203.0.113.7");
        assert_eq!(send(asked).await.status, 200);
    }
    let told = warnings(&root).await;
    let told = told[0].as_str().expect("a warning");
    assert!(told.starts_with("127.0.0.1 sends X-Forwarded-For") && told.contains("server.trusted_proxies"), "{told}");
    assert_eq!(get(&app, "/api/health/detailed").await.body["data"]["warnings"], Value::Null);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_balancer_that_speaks_the_proxy_protocol_says_who_calls() {
    let server = "proxy_protocol = \"required\"\ntrusted_proxies = [\"127.0.0.1/32\"]";
    let (upstream, _) = proxied::upstream().await;
    let limited = route(upstream) + "rate_limit = { rate = \"1/1h\", by = \"address\" }\n";
    let port = portcullis_testkit::free_port();
    let app = app().env("PORT", port.to_string()).settings(&format!("[server]\n{server}\n{limited}")).start();
    let request = "GET /api/open/x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let status = |introduction: &[u8]| {
        let answer = raw(&app, &[introduction, request.as_bytes()].concat());
        answer.split(' ').nth(1).map(str::to_owned)
    };
    let v1 = |client: &str| format!("PROXY TCP4 {client} 10.0.0.1 4711 443\r\n").into_bytes();
    let v2 = [&b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"[..], &[203, 0, 113, 9, 10, 0, 0, 1, 0, 80, 1, 187]].concat();
    assert_eq!(status(&v1("203.0.113.7")).as_deref(), Some("200"));
    assert_eq!(status(&v1("203.0.113.7")).as_deref(), Some("429"), "limits count the client");
    assert_eq!(status(&v1("203.0.113.8")).as_deref(), Some("200"), "and not the balancer");
    assert_eq!(status(&v2).as_deref(), Some("200"));
    assert_eq!(status(&v2).as_deref(), Some("429"));
    assert_eq!(status(b""), None, "without a header the connection is closed");
    assert_eq!(status(b"PROXY NONSENSE\r\n"), None);
    let healthy = app.run(&["healthcheck"], "");
    assert!(healthy.contains("is ready"), "{healthy}");
}
