//! The limits of a request's body, where its reader meets them (SR-40).

use std::time::Duration;

use bytes::Bytes;
use http_body::Body;
use http_body_util::BodyExt;
use portcullis_gate::InboundBody;
use portcullis_model::policy::{BodyLimit, CsrfPolicy};

use crate::client::{Reply, raw};
use crate::test_gate::{TestConfig, TestGate, route};

/// A gate with a route that reads bodies of at most ten bytes, one without a limit, and one that looks for a CSRF token.
async fn gate() -> TestGate {
    let routes = vec![
        route("/api/v1/small", |policy| policy.max_body = BodyLimit::Bytes(10)),
        route("/api/v1/any", |policy| policy.max_body = BodyLimit::Unlimited),
        route("/api/v1/form", |policy| policy.csrf = CsrfPolicy::Checked),
    ];
    TestGate::start(TestConfig { routes, body_timeout: Duration::from_millis(200), ..TestConfig::default() }).await
}

/// Posts what may be only the beginning of a body.
async fn post(gate: &TestGate, target: &str, headers: &str, body: &str) -> Reply {
    let head = format!("POST {target} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{headers}", gate.address);
    Reply::read(raw(gate.address, format!("{head}\r\n{body}").as_bytes()).await)
}

const CHUNKED: &str = "Transfer-Encoding: chunked\r\n";

#[tokio::test]
async fn sr_40_a_body_without_a_length_is_cut_at_the_limit() {
    let gate = gate().await;
    let whole = post(&gate, "/api/small", CHUNKED, "5\r\nhello\r\n5\r\nworld\r\n0\r\n\r\n").await;
    assert_eq!(whole.line("body"), "helloworld");
    let longer = post(&gate, "/api/small", CHUNKED, "5\r\nhello\r\n6\r\nworlds\r\n0\r\n\r\n").await;
    assert_eq!(longer.line("body"), "TooLarge");
}

#[tokio::test]
async fn a_route_without_a_limit_takes_a_body_of_any_length() {
    let gate = gate().await;
    let long = "x".repeat(1 << 20);
    let reply = gate.post("/api/any").body("text/plain", &long).send().await;
    assert_eq!(reply.line("body").len(), long.len());
}

#[tokio::test]
async fn sr_40_a_client_that_stops_within_a_body_is_too_slow() {
    let gate = gate().await;
    let reply = post(&gate, "/api/any", "Content-Length: 10\r\n", "hello").await;
    assert_eq!(reply.line("body"), "TooSlow");
}

#[tokio::test]
async fn sr_40_a_form_that_stops_before_its_token_is_refused() {
    let gate = gate().await;
    let form = "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 10\r\n\
                Cookie: portcullis-pre=1; portcullis-csrf=1\r\n";
    assert_eq!(post(&gate, "/api/form", form, "a=b").await.verdict(), "BodyTooSlow");
}

#[tokio::test]
async fn a_body_tells_how_much_of_it_is_left() {
    let mut body = InboundBody::from_bytes(Bytes::from_static(b"hello"));
    assert_eq!((body.size_hint().exact(), body.is_end_stream()), (Some(5), false));
    assert_eq!(body.frame().await.expect("a frame").expect("bytes").into_data().ok().as_deref(), Some(&b"hello"[..]));
    assert_eq!((body.size_hint().exact(), body.is_end_stream()), (Some(0), true));
    let empty = InboundBody::default();
    assert_eq!((empty.size_hint().exact(), empty.is_end_stream()), (Some(0), true));
}
