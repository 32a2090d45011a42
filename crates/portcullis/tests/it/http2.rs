//! HTTP/2: the same gate, and what a connection may not do (requirements 39 and 40).

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use portcullis_testkit::{PASSWORD, TestApp};
use reqwest::Client;
use serde_json::json;

use crate::client::{Answer, app, get, register, send};
use crate::proxied;
use crate::raw_http2::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, Frame, GOAWAY, HEADERS, RST_STREAM, RawHttp2, SETTINGS, WINDOW_UPDATE,
    field, head,
};

/// A gateway with `/api/v1/open`, which asks for nothing, and `/api/v1/closed`, which asks for a person and CSRF.
async fn gateway(server: &str) -> TestApp {
    let (upstream, _) = proxied::upstream().await;
    app().settings(&settings(server, upstream)).start()
}

fn settings(server: &str, upstream: SocketAddr) -> String {
    format!(
        "[server]\n{server}\n[upstreams.u]\ntargets = [\"http://{upstream}\"]\n\
         [[routes]]\npath = \"/api/v1/open/{{*rest}}\"\nupstream = \"u\"\nauth = \"none\"\ncsrf = false\n\
         [[routes]]\npath = \"/api/v1/closed/{{*rest}}\"\nupstream = \"u\"\n"
    )
}

/// A client that begins with HTTP/2.
fn client() -> Client {
    let client = Client::builder().no_proxy().timeout(Duration::from_secs(60)).cookie_store(true);
    client.http2_prior_knowledge().build().expect("a plain client")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_of_http_2_meets_the_same_gate_and_the_same_services() {
    let app = gateway("").await;
    let account = register(&app).await;
    let client = client();
    let login = json!({ "email": account.email, "password": PASSWORD });
    let login = send(client.post(app.url("/api/v1/auth/login")).json(&login)).await;
    assert_eq!(login.status, 200, "{}", login.body);
    let token = login.body["data"]["tokens"]["accessToken"].as_str().expect("a token").to_owned();

    let seen = client.get(app.url("/api/open/x?y=z")).header("te", "trailers").header("x-forwarded-for", "6.6.6.6");
    let seen = send(seen.header("x-portcullis-role", "ADMIN")).await;
    assert_eq!((seen.status, &seen.body["target"]), (200, &json!("/api/v1/open/x?y=z")), "{}", seen.body);
    let headers = &seen.body["headers"];
    assert_eq!(
        (&headers["x-forwarded-for"], &headers["x-forwarded-host"]),
        (&json!("127.0.0.1"), &json!(app.address().to_string()))
    );
    assert!(headers["x-portcullis-role"].is_null() && headers["te"].is_null(), "{headers}");
    assert_eq!(seen.header("x-api-version"), "v1");

    let refused = |what: &'static str, answer: Answer, status: u16, code: &str| {
        assert_eq!((answer.status, answer.body["code"].as_str()), (status, Some(code)), "{what}: {}", answer.body);
        assert_eq!(answer.header("x-request-id"), answer.body["requestId"], "{what}");
    };
    let closed = app.url("/api/v1/closed/x");
    refused("nobody", send(client.get(&closed)).await, 401, "auth.token_required");
    refused("no CSRF token", send(client.post(&closed).bearer_auth(&token)).await, 403, "csrf.invalid_token");
    refused("no route", send(client.get(app.url("/nope"))).await, 404, "route.not_found");
    let token_pair = send(client.get(app.url("/api/csrf-token"))).await;
    let csrf = token_pair.body["data"]["csrfToken"].as_str().expect("a token");
    let posted = client.post(&closed).bearer_auth(&token).header("x-csrf-token", csrf).body("a body");
    let posted = send(posted).await;
    assert_eq!((posted.status, &posted.body["method"]), (200, &json!("POST")), "{}", posted.body);
    assert_eq!(posted.body["headers"]["content-length"], "6", "{}", posted.body);

    for path in ["/api/v1/health", "/api/v1/open/x"] {
        let head = client.head(app.url(path)).send().await.expect("an answer");
        let length = head.headers().get("content-length").and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        assert_eq!(head.status(), 200);
        assert!(length.is_some_and(|length| length > 0), "{path}: {:?}", head.headers());
        assert_eq!(head.bytes().await.expect("nothing").len(), 0);
    }
    // Both ways, with no length told before.
    let chunks = futures_util::stream::iter((0..64).map(|_| Ok::<_, std::io::Error>(vec![7u8; 16 * 1024])));
    let upload = client.post(app.url("/api/v1/open/upload")).body(reqwest::Body::wrap_stream(chunks));
    assert_eq!(send(upload).await.body, json!(1 << 20));
    let page = get(&app, "/metrics").await.body.as_str().unwrap_or_default().to_owned();
    assert!(
        page.contains("http_requests_total{method=\"POST\",route=\"/api/v1/open/{*rest}\",status_code=\"200\"} 1\n")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_ends_with_its_session_and_its_connection_goes_on() {
    const GIB: usize = 1 << 30;
    let app = gateway("").await;
    let (client, account) = (client(), register(&app).await);
    let get = |path: &str| client.get(app.url(path)).bearer_auth(&account.access);
    let mut download = get("/api/v1/closed/download").send().await.expect("an answer");
    assert_eq!(download.status(), 200);
    let logout = client.post(app.url("/api/v1/auth/logout")).bearer_auth(&account.access);
    assert_eq!(send(logout.json(&json!({}))).await.status, 200);
    let mut heard = 0;
    let ended = loop {
        match download.chunk().await {
            Ok(Some(chunk)) => heard += chunk.len(),
            Ok(None) => break "as if whole",
            Err(_) => break "cut",
        }
    };
    assert!(ended == "cut" && heard < GIB, "{ended} after {heard} bytes");
    assert_eq!(send(get("/api/v1/closed/x")).await.status, 401);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sr_39_two_hosts_are_refused_and_cookies_in_crumbs_are_one_field() {
    let app = gateway("").await;
    let stream = tokio::net::TcpStream::connect(app.address()).await.expect("the server listens");
    let io = hyper_util::rt::TokioIo::new(stream);
    let executor = hyper_util::rt::TokioExecutor::new();
    let (mut sender, connection) = hyper::client::conn::http2::handshake(executor, io).await.expect("HTTP/2");
    tokio::spawn(connection);
    let mut ask = async |fields: &[(&str, &str)]| {
        let mut request = hyper::Request::get("http://a/api/v1/open/x");
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let request = request.body(http_body_util::Empty::<hyper::body::Bytes>::new()).expect("a request");
        let answer = sender.send_request(request).await.expect("an answer");
        let status = answer.status().as_u16();
        let body = http_body_util::BodyExt::collect(answer.into_body()).await.expect("a body").to_bytes();
        (status, serde_json::from_slice::<serde_json::Value>(&body).expect("JSON"))
    };
    assert_eq!(ask(&[("host", "b")]).await.0, 400);
    let (status, seen) =
        ask(&[("host", "a"), ("cookie", "b=1"), ("cookie", "portcullis-csrf=x"), ("cookie", "c=2")]).await;
    assert_eq!(
        (status, &seen["headers"]["cookie"], &seen["headers"]["x-forwarded-host"]),
        (200, &json!("b=1; c=2"), &json!("a"))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sr_39_what_would_be_ambiguous_in_http_1_is_refused_before_a_service_sees_it() {
    let app = gateway("").await;
    let smuggled = b"{}GET /api/v1/open/x HTTP/1.1\r\nHost: a\r\n\r\n";
    let answer = |fields: &[(&str, &str)], body: &[u8]| {
        let mut wire = RawHttp2::open(&app);
        let fields = fields.iter().map(|(name, value)| field(name, value)).collect::<Vec<_>>().concat();
        let block = [vec![0x83], head("/api/v1/open/upload")[1..].to_vec(), fields].concat();
        wire.frame(HEADERS, END_HEADERS, 1, &block).expect("it is open");
        // It may be refused by its head already.
        let _ = wire.frame(DATA, END_STREAM, 1, body);
        let answer =
            wire.await_frame(|f| f.kind == GOAWAY || (f.stream == 1 && [HEADERS, RST_STREAM].contains(&f.kind)));
        answer.expect("an answer")
    };
    assert!(answer(&[("content-length", "2")], b"{}").is_ok(), "one that means what it says");
    for (what, fields, body) in [
        ("a coding", &[("transfer-encoding", "chunked")][..], &smuggled[..]),
        ("a word about the connection", &[("connection", "content-length")], b"{}"),
        ("an upgrade", &[("upgrade", "websocket")], b"{}"),
        ("another TE than trailers", &[("te", "gzip")], b"{}"),
        ("two lengths", &[("content-length", "2"), ("content-length", "3")], b"{}"),
        ("a list of lengths", &[("content-length", "2, 2")], b"{}"),
        ("a length that is too short", &[("content-length", "2")], smuggled),
        ("a length that is too long", &[("content-length", "50")], b"{}"),
        ("a name in upper case", &[("Content-Length", "2")], b"{}"),
        ("a line break in a value", &[("x-a", "b\r\nx-portcullis-role: ADMIN")], b"{}"),
        ("a line break in a name", &[("x-a\r\nx-b", "c")], b"{}"),
    ] {
        let answer = answer(fields, body);
        assert!(!answer.is_ok(), "{what}: {:?}", answer.payload);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sr_40_a_head_that_is_too_large_is_refused_in_http_2_too() {
    let app = gateway("").await;
    let large = send(client().get(app.url("/api/v1/health")).header("x-large", "x".repeat(70_000))).await;
    assert_eq!((large.status, &large.body["code"]), (431, &json!("request.head_too_large")));
    let mut many = client().get(app.url("/api/v1/health"));
    for n in 0..120 {
        many = many.header(format!("x-{n}"), "1");
    }
    assert_eq!(send(many).await.status, 431);
    let larger = client().get(app.url("/api/v1/health")).header("x-large", "x".repeat(200_000)).send().await;
    assert!(larger.is_err() || larger.is_ok_and(|answer| answer.status() == 431), "it was let through");
    assert_eq!(send(client().get(app.url("/api/v1/health"))).await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sr_40_a_client_that_takes_requests_back_without_end_is_cut_off() {
    /// Far more than a client may.
    const MANY: usize = 5_000;
    let app = gateway("").await;
    // At once, so that nobody has looked at most of them.
    let mut rapid = RawHttp2::open(&app);
    let sent = (0..MANY).take_while(|_| rapid.get("/api/v1/open/never").and_then(|id| rapid.reset(id)).is_ok()).count();
    assert!(rapid.is_closed(), "{sent} requests were taken back at once");
    // One that waits until each few are under way, so that the parser has nothing against it.
    let mut patient = RawHttp2::open(&app);
    let mut taken_back = 0;
    while taken_back < MANY && !patient.closed {
        let few: Vec<u32> = (0..5).filter_map(|_| patient.get("/api/v1/open/never").ok()).collect();
        patient.round_trip();
        taken_back += few.len();
        few.into_iter().for_each(|id| drop(patient.reset(id)));
        patient.round_trip();
    }
    assert!((100..150).contains(&taken_back), "{taken_back} requests could be taken back");
    // One that changes its mind now and then.
    let mut honest = RawHttp2::open(&app);
    for _ in 0..150 {
        let taken_back = honest.get("/api/v1/open/never").expect("it is open");
        honest.reset(taken_back).expect("it is open");
        let kept = honest.get("/api/v1/health").expect("it is open");
        assert!(honest.answered(kept), "somebody who reads most answers was cut off");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sr_40_a_connection_carries_so_many_requests_at_a_time_and_refuses_more() {
    /// As docs/edge.md has it.
    const MOST: u32 = 100;
    let app = gateway("").await;
    let mut wire = RawHttp2::open(&app);
    let requests: Vec<u32> = (0..MOST + 10).map(|_| wire.get("/api/v1/open/never").expect("it is open")).collect();
    for _ in 0..10 {
        let refused = wire.await_frame(|frame| frame.kind == RST_STREAM).expect("too many are refused");
        assert!(requests[MOST as usize..].contains(&refused.stream), "{} is not one too many", refused.stream);
        assert_eq!(refused.payload, 7u32.to_be_bytes(), "REFUSED_STREAM");
    }
    wire.reset(requests[0]).expect("it is open");
    wire.round_trip();
    let next = wire.get("/api/v1/health").expect("it is open");
    assert!(wire.answered(next), "there is room again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sr_40_a_client_that_breaks_the_rules_again_and_again_is_cut_off() {
    let app = gateway("").await;
    let mut wire = RawHttp2::open(&app);
    let malformed = [head("/api/v1/health"), field("connection", "x")].concat();
    let mut ended = 0;
    for id in (1..).step_by(2).take(5_000) {
        if wire.frame(HEADERS, END_STREAM | END_HEADERS, id, &malformed).is_err() {
            break;
        }
        match wire.await_frame(|frame| frame.kind == GOAWAY || (frame.kind == RST_STREAM && frame.stream == id)) {
            Some(frame) if frame.kind == RST_STREAM => ended += 1,
            Some(goaway) => {
                assert_eq!(goaway.payload[4..8], [0, 0, 0, 0x0b], "ENHANCE_YOUR_CALM");
                break;
            }
            None => break,
        }
    }
    // As docs/edge.md has it.
    assert_eq!(ended, 100, "so many may be broken");
    assert!(wire.is_closed());
}

/// By how much a window grows.
fn update(frame: &Frame) -> usize {
    frame.payload[..].try_into().map(u32::from_be_bytes).expect("four bytes") as usize
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sr_40_of_a_body_that_nobody_reads_no_more_is_taken_than_there_is_room_for() {
    /// As docs/edge.md has them.
    const STREAM_ROOM: usize = 256 << 10;
    const CONNECTION_ROOM: usize = 1 << 20;
    /// More than the kernel holds for a service that does not read.
    const TOO_MUCH: usize = 64 << 20;
    const PIECE: usize = 16 << 10;
    let app = gateway("").await;
    let mut wire = RawHttp2::open(&app);
    let settings = wire.await_frame(|frame| frame.kind == SETTINGS && !frame.payload.is_empty()).expect("its settings");
    let announced = settings.payload.chunks(6).find(|setting| setting[..2] == [0, 4]).expect("a window");
    assert_eq!(announced[2..], u32::try_from(STREAM_ROOM).expect("small").to_be_bytes());
    // Until it is acknowledged the smaller one counts.
    wire.frame(SETTINGS, 1, 0, &[]).expect("it is open");
    let post = [vec![0x83], head("/api/v1/open/never")[1..].to_vec()].concat();
    wire.frame(HEADERS, END_HEADERS, 1, &post).expect("it is open");
    // What the client may send, on the connection and on the request (RFC 9113 §5.2, §6.9.2).
    let larger =
        wire.await_frame(|frame| frame.kind == WINDOW_UPDATE && frame.stream == 0).expect("it begins with 65,535");
    let (mut room, mut sent) = ([65_535 + update(&larger), STREAM_ROOM], 0);
    assert_eq!(room[0], CONNECTION_ROOM);
    while sent < TOO_MUCH {
        while room.iter().all(|room| *room >= PIECE) {
            wire.frame(DATA, 0, 1, &[0; PIECE]).expect("it is open");
            room.iter_mut().for_each(|room| *room -= PIECE);
            sent += PIECE;
        }
        let Some(frame) = wire.frame_within(Duration::from_secs(2)) else { break };
        assert!(![RST_STREAM, GOAWAY].contains(&frame.kind), "it was cut off: {:?}", frame.payload);
        if frame.kind == WINDOW_UPDATE {
            room[usize::from(frame.stream == 1)] += update(&frame);
        }
    }
    assert!(sent < TOO_MUCH, "{sent} bytes were taken that nobody read");
    // Who sends all the same breaks the rules.
    for _ in 0..2 * STREAM_ROOM / PIECE {
        let _ = wire.frame(DATA, 0, 1, &[0; PIECE]);
    }
    let ended = wire.await_frame(|frame| [RST_STREAM, GOAWAY].contains(&frame.kind)).expect("it is told");
    assert_eq!(ended.payload[ended.payload.len() - 4..], 3u32.to_be_bytes(), "FLOW_CONTROL_ERROR");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sr_40_continuations_without_end_are_cut_off() {
    let app = gateway("").await;
    for (what, piece) in [("large", vec![0u8; 16_000]), ("small", vec![0u8; 1]), ("empty", Vec::new())] {
        let mut wire = RawHttp2::open(&app);
        wire.frame(HEADERS, 0, 1, &head("/api/v1/health")).expect("it is open");
        // A field without indexing whose name and value go on and on.
        wire.frame(CONTINUATION, 0, 1, &[0x00, 0x7f, 0xff, 0xff, 0xff, 0x07]).expect("it is open");
        let mut sent = 0;
        while sent < 100_000 && wire.frame(CONTINUATION, 0, 1, &piece).is_ok() {
            sent += 1;
        }
        assert!(wire.is_closed(), "{sent} {what} continuations were taken");
    }
    assert_eq!(get(&app, "/api/v1/health").await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sr_40_slow_and_idle_connections_of_http_2_are_closed() {
    let app = gateway("header_timeout = \"1s\"\nbody_timeout = \"1s\"\nidle_timeout = \"2s\"").await;
    let closed_within = |what: &str, mut wire: RawHttp2, least: f64, most: f64| {
        let begun = Instant::now();
        assert!(wire.is_closed(), "{what} is still open");
        let seconds = begun.elapsed().as_secs_f64();
        assert!((least..most).contains(&seconds), "{what} was closed after {seconds} s");
    };
    let half = TcpStream::connect(app.address()).expect("the server listens");
    (&half).write_all(b"PRI * HTTP/2.0\r\n").expect("it listens");
    closed_within("half a preface", RawHttp2::over(half), 0.9, 4.0);
    closed_within("nothing after the preface", RawHttp2::open(&app), 0.9, 4.0);
    let mut begun = RawHttp2::open(&app);
    begun.frame(HEADERS, 0, 1, &head("/api/v1/health")).expect("it is open");
    closed_within("a head without an end", begun, 0.9, 4.0);
    let mut idle = RawHttp2::open(&app);
    let id = idle.get("/api/v1/health").expect("it is open");
    assert!(idle.answered(id));
    closed_within("an idle connection", idle, 1.9, 6.0);
    // Its request has come to an end: the service waits for the rest of a body that does not come.
    let mut slow = RawHttp2::open(&app);
    slow.frame(HEADERS, END_HEADERS, 1, &head("/api/v1/open/upload")).expect("it is open");
    assert!(slow.has(1, HEADERS), "a body that stops is answered");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sr_40_an_answer_that_nobody_reads_is_given_up_and_the_others_go_on() {
    let app = gateway("send_timeout = \"1s\"").await;
    let mut wire = RawHttp2::open(&app);
    // Room for others beside the 64 KB that this one may have.
    wire.frame(WINDOW_UPDATE, 0, 0, &(1u32 << 30).to_be_bytes()).expect("it is open");
    let unread = wire.get("/api/v1/open/download").expect("it is open");
    assert!(wire.answered(unread));
    let begun = Instant::now();
    assert!(wire.has(unread, RST_STREAM), "nobody gave it up");
    let seconds = begun.elapsed().as_secs_f64();
    assert!((0.5..5.0).contains(&seconds), "it was given up after {seconds} s");
    let next = wire.get("/api/v1/health").expect("it is open");
    assert!(wire.answered(next), "the connection goes on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_lets_requests_of_http_2_finish_and_takes_no_more() {
    let (upstream, _) = proxied::upstream().await;
    let app = app().settings(&(settings("", upstream) + "timeout = \"2s\"\nauth = \"none\"\n")).start();
    let mut wire = RawHttp2::open(&app);
    let last = wire.get("/api/v1/closed/never").expect("it is open");
    wire.round_trip();
    app.ask_to_stop();
    assert!(wire.has(0, GOAWAY), "the client is told");
    assert!(wire.has(last, HEADERS), "what is under way is answered");
    assert!(wire.is_closed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_http_2_its_clients_are_told_in_their_own_words() {
    let app = gateway("http2 = false").await;
    let mut wire = RawHttp2::open(&app);
    let goaway = wire.await_frame(|frame| frame.kind == GOAWAY).expect("a word");
    assert_eq!(goaway.payload[4..8], [0, 0, 0, 0x0d], "HTTP_1_1_REQUIRED");
    assert!(wire.is_closed());
    assert_eq!(get(&app, "/api/v1/health").await.status, 200);
}
