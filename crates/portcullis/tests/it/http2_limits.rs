//! What one HTTP/2 connection may do to all of its requests (SR-40). The numbers are those of docs/edge.md.

use std::io::Write;
use std::net::TcpStream;
use std::ops::Range;
use std::time::Duration;

use portcullis_testkit::{Stopwatch, TestApp};
use serde_json::json;

use crate::client::{get, send};
use crate::gateway::gateway;
use crate::http2::http2_client;
use crate::raw_http2::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, RST_STREAM, RawHttp2, SETTINGS, WINDOW_UPDATE, field,
    get_block, post_block,
};

const FLOW_CONTROL_ERROR: u32 = 3;
const REFUSED_STREAM: u32 = 7;
const ENHANCE_YOUR_CALM: u32 = 0x0b;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sr_40_an_http_2_head_of_too_many_bytes_is_431() {
    let app = gateway().start().await;
    let large = send(http2_client().get(app.url("/api/v1/health")).header("x-large", "x".repeat(70_000))).await;
    assert_eq!((large.status, &large.body["code"]), (431, &json!("request.head_too_large")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sr_40_an_http_2_head_of_too_many_fields_is_431() {
    let app = gateway().start().await;
    let mut many = http2_client().get(app.url("/api/v1/health"));
    for n in 0..120 {
        many = many.header(format!("x-{n}"), "1");
    }
    assert_eq!(send(many).await.status, 431);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sr_40_the_parser_refuses_a_larger_http_2_head() {
    let app = gateway().start().await;
    let larger = http2_client().get(app.url("/api/v1/health")).header("x-large", "x".repeat(200_000)).send().await;
    assert!(larger.is_err() || larger.is_ok_and(|response| response.status() == 431), "the head was accepted");
    assert_eq!(send(http2_client().get(app.url("/api/v1/health"))).await.status, 200);
}

/// Far more requests than a client may reset.
const MANY: usize = 5_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sr_40_a_client_that_resets_at_once_is_cut_off() {
    let app = gateway().start().await;
    // All at once, so that most are reset before they are handled.
    let mut client = RawHttp2::connect(&app);
    let reset = |client: &mut RawHttp2| client.get("/api/v1/open/never").and_then(|id| client.reset(id)).is_ok();
    let sent = (0..MANY).take_while(|_| reset(&mut client)).count();
    assert!(client.is_closed(), "{sent} requests were reset");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sr_40_a_client_that_resets_handled_requests_is_cut_off() {
    let app = gateway().start().await;
    // A few at a time and only once they are handled, so that hyper's own limit does not apply.
    let mut client = RawHttp2::connect(&app);
    let mut reset = 0;
    while reset < MANY && !client.closed {
        let few: Vec<u32> = (0..5).filter_map(|_| client.get("/api/v1/open/never").ok()).collect();
        client.round_trip();
        reset += few.len();
        few.into_iter().for_each(|id| drop(client.reset(id)));
        client.round_trip();
    }
    assert!((100..150).contains(&reset), "{reset} requests could be reset");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sr_40_a_client_that_reads_most_responses_may_reset_some() {
    let app = gateway().start().await;
    let mut client = RawHttp2::connect(&app);
    for _ in 0..150 {
        let reset = client.get("/api/v1/open/never").expect("the connection is open");
        client.reset(reset).expect("the connection is open");
        let read = client.get("/api/v1/health").expect("the connection is open");
        assert!(client.is_ok(read));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sr_40_requests_at_a_time_are_limited_to_100() {
    const LIMIT: u32 = 100;
    let app = gateway().start().await;
    let mut client = RawHttp2::connect(&app);
    let requests: Vec<u32> =
        (0..LIMIT + 10).map(|_| client.get("/api/v1/open/never").expect("the connection is open")).collect();
    for _ in 0..10 {
        let refused = client.wait_for(|frame| frame.kind == RST_STREAM).expect("a request over the limit is refused");
        assert!(requests[LIMIT as usize..].contains(&refused.stream), "stream {} was refused", refused.stream);
        assert_eq!(refused.error_code(), REFUSED_STREAM);
    }
    client.reset(requests[0]).expect("the connection is open");
    client.round_trip();
    let next = client.get("/api/v1/health").expect("the connection is open");
    assert!(client.is_ok(next), "a request that ended makes room");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sr_40_a_client_may_break_the_protocol_100_times() {
    let app = gateway().start().await;
    let mut client = RawHttp2::connect(&app);
    let malformed = [get_block("/api/v1/health"), field("connection", "x")].concat();
    let mut refused = 0;
    for id in (1..).step_by(2).take(MANY) {
        if client.send(HEADERS, END_STREAM | END_HEADERS, id, &malformed).is_err() {
            break;
        }
        match client.wait_for(|frame| frame.kind == GOAWAY || (frame.kind == RST_STREAM && frame.stream == id)) {
            Some(frame) if frame.kind == RST_STREAM => refused += 1,
            Some(goaway) => {
                assert_eq!(goaway.error_code(), ENHANCE_YOUR_CALM);
                break;
            }
            None => break,
        }
    }
    assert_eq!(refused, 100);
    assert!(client.is_closed());
}

const STREAM_WINDOW: usize = 64 << 10;
const CONNECTION_WINDOW: usize = 100 * STREAM_WINDOW;
const PIECE: usize = 16 << 10;

/// More bytes than the kernels buffer on the way to an upstream that does not read.
const TOO_MUCH: usize = 64 << 20;

/// Sends a body to an upstream that does not read, as far as the flow control windows allow. Returns how many bytes were
/// accepted.
fn fill_windows(app: &TestApp) -> (RawHttp2, usize) {
    let mut client = RawHttp2::connect(app);
    let settings =
        client.wait_for(|frame| frame.kind == SETTINGS && !frame.payload.is_empty()).expect("the server's settings");
    let window = settings.payload.chunks(6).find(|setting| setting[..2] == [0, 4]).expect("a window size");
    assert_eq!(window[2..], u32::try_from(STREAM_WINDOW).expect("small").to_be_bytes());
    // Until the settings are acknowledged, the smaller default window applies.
    client.send(SETTINGS, 1, 0, &[]).expect("the connection is open");
    client.send(HEADERS, END_HEADERS, 1, &post_block("/api/v1/open/never")).expect("the connection is open");
    // The windows of the connection and of the stream (RFC 9113 §5.2, §6.9.2).
    let update = client.wait_for(|frame| frame.kind == WINDOW_UPDATE && frame.stream == 0).expect("a larger window");
    let mut windows = [65_535 + update.window_increment(), STREAM_WINDOW];
    assert_eq!(windows[0], CONNECTION_WINDOW);
    let mut sent = 0;
    while sent < TOO_MUCH {
        while windows.iter().all(|window| *window >= PIECE) {
            client.send(DATA, 0, 1, &[0; PIECE]).expect("the connection is open");
            windows.iter_mut().for_each(|window| *window -= PIECE);
            sent += PIECE;
        }
        let Some(frame) = client.next_frame_within(Duration::from_secs(2)) else { break };
        assert!(![RST_STREAM, GOAWAY].contains(&frame.kind), "the upload was cut off: {:?}", frame.payload);
        if frame.kind == WINDOW_UPDATE {
            windows[usize::from(frame.stream == 1)] += frame.window_increment();
        }
    }
    (client, sent)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sr_40_a_body_that_nobody_reads_is_not_buffered() {
    let app = gateway().start().await;
    let (_, sent) = fill_windows(&app);
    assert!(sent < TOO_MUCH, "{sent} bytes were accepted that nobody read");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sr_40_uploads_that_nobody_reads_stall_no_other() {
    const STALLED: u32 = 99;
    let app = gateway().server("body_timeout = \"60s\"").open_route("timeout = \"60s\"").start().await;
    let mut client = RawHttp2::connect(&app);
    assert!(client.receives(0, SETTINGS));
    client.send(SETTINGS, 1, 0, &[]).expect("the connection is open");
    let update = client.wait_for(|frame| frame.kind == WINDOW_UPDATE && frame.stream == 0).expect("a larger window");
    let mut left = 65_535 + update.window_increment();
    // An upload that its upstream does not read holds its whole window.
    for number in 0..STALLED {
        let id = 2 * number + 1;
        client.send(HEADERS, END_HEADERS, id, &post_block("/api/v1/open/never")).expect("the connection is open");
        for _ in 0..STREAM_WINDOW / PIECE {
            client.send(DATA, 0, id, &[0; PIECE]).expect("the connection is open");
            left = left.checked_sub(PIECE).expect("the connection's window is empty");
        }
    }
    let id = 2 * STALLED + 1;
    client.send(HEADERS, END_HEADERS, id, &post_block("/api/v1/open/upload")).expect("the connection is open");
    let (mut own, mut sent) = (STREAM_WINDOW, 0);
    while sent < 1 << 20 {
        while own < PIECE || left < PIECE {
            let update = client.wait_for(|frame| frame.kind == WINDOW_UPDATE && [0, id].contains(&frame.stream));
            let update = update.expect("the upload stalls");
            if update.stream == 0 { left += update.window_increment() } else { own += update.window_increment() }
        }
        client.send(DATA, 0, id, &[0; PIECE]).expect("the connection is open");
        (own, left, sent) = (own - PIECE, left - PIECE, sent + PIECE);
    }
    client.send(DATA, END_STREAM, id, &[]).expect("the connection is open");
    assert!(client.is_ok(id), "an upload beside stalled ones is not served");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sr_40_a_client_that_ignores_the_window_is_refused() {
    let app = gateway().start().await;
    let (mut client, _) = fill_windows(&app);
    for _ in 0..2 * STREAM_WINDOW / PIECE {
        let _ = client.send(DATA, 0, 1, &[0; PIECE]);
    }
    let ended = client.wait_for(|frame| [RST_STREAM, GOAWAY].contains(&frame.kind)).expect("the client is told");
    assert_eq!(ended.error_code(), FLOW_CONTROL_ERROR);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sr_40_endless_continuations_are_cut_off() {
    let app = gateway().start().await;
    for (what, piece) in [("large", vec![0u8; 16_000]), ("small", vec![0u8; 1]), ("empty", Vec::new())] {
        let mut client = RawHttp2::connect(&app);
        client.send(HEADERS, 0, 1, &get_block("/api/v1/health")).expect("the connection is open");
        // A field without indexing whose name does not end.
        client.send(CONTINUATION, 0, 1, &[0x00, 0x7f, 0xff, 0xff, 0xff, 0x07]).expect("the connection is open");
        let mut sent = 0;
        while sent < 100_000 && client.send(CONTINUATION, 0, 1, &piece).is_ok() {
            sent += 1;
        }
        assert!(client.is_closed(), "{sent} {what} continuations were accepted");
    }
    assert_eq!(get(&app, "/api/v1/health").await.status, 200);
}

async fn gateway_with_short_timeouts() -> TestApp {
    gateway().server("header_timeout = \"1s\"\nbody_timeout = \"1s\"\nidle_timeout = \"2s\"").start().await
}

/// Waits for the end of a connection that was opened after the stopwatch started.
fn assert_closed_within(mut client: RawHttp2, stopwatch: Stopwatch, seconds: Range<f64>) {
    assert!(client.is_closed(), "the connection is open");
    stopwatch.assert_within(seconds);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sr_40_half_a_preface_is_closed() {
    let app = gateway_with_short_timeouts().await;
    let stopwatch = Stopwatch::start();
    let half = TcpStream::connect(app.address()).expect("the server listens");
    (&half).write_all(b"PRI * HTTP/2.0\r\n").expect("the connection is open");
    assert_closed_within(RawHttp2::from_stream(half), stopwatch, 0.9..4.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sr_40_an_http_2_connection_without_a_request_is_closed() {
    let app = gateway_with_short_timeouts().await;
    let stopwatch = Stopwatch::start();
    assert_closed_within(RawHttp2::connect(&app), stopwatch, 0.9..4.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sr_40_an_http_2_head_without_an_end_is_closed() {
    let app = gateway_with_short_timeouts().await;
    let stopwatch = Stopwatch::start();
    let mut client = RawHttp2::connect(&app);
    client.send(HEADERS, 0, 1, &get_block("/api/v1/health")).expect("the connection is open");
    assert_closed_within(client, stopwatch, 0.9..4.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sr_40_an_idle_http_2_connection_is_closed() {
    let app = gateway_with_short_timeouts().await;
    let stopwatch = Stopwatch::start();
    let mut client = RawHttp2::connect(&app);
    let id = client.get("/api/v1/health").expect("the connection is open");
    assert!(client.is_ok(id));
    assert_closed_within(client, stopwatch, 1.9..6.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sr_40_an_http_2_body_that_stops_gets_a_response() {
    let app = gateway_with_short_timeouts().await;
    let mut client = RawHttp2::connect(&app);
    client.send(HEADERS, END_HEADERS, 1, &get_block("/api/v1/open/upload")).expect("the connection is open");
    assert!(client.receives(1, HEADERS));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sr_40_an_unread_http_2_response_is_aborted_alone() {
    let app = gateway().server("send_timeout = \"1s\"").start().await;
    let mut client = RawHttp2::connect(&app);
    // Enough for other requests beside the 64 KB of this one.
    client.send(WINDOW_UPDATE, 0, 0, &(1u32 << 30).to_be_bytes()).expect("the connection is open");
    let stopwatch = Stopwatch::start();
    let unread = client.get("/api/v1/open/download").expect("the connection is open");
    assert!(client.is_ok(unread));
    assert!(client.receives(unread, RST_STREAM), "the response was not aborted");
    stopwatch.assert_within(0.9..5.0);
    let next = client.get("/api/v1/health").expect("the connection is open");
    assert!(client.is_ok(next), "the connection goes on");
}
