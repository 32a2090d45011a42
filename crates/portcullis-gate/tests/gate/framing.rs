//! Requests whose head or body the gate refuses by its framing (SR-39, SR-40).

use portcullis_gate::HeadFault;
use portcullis_model::policy::BodyLimit;

use crate::client::{Reply, raw};
use crate::test_gate::{TestConfig, TestGate, route};

async fn gate_with_fault(fault: HeadFault) -> TestGate {
    TestGate::start(TestConfig { head_fault: Some(fault), ..TestConfig::default() }).await
}

#[tokio::test]
async fn sr_39_a_head_marked_ambiguous_is_refused_and_closes() {
    let reply = gate_with_fault(HeadFault::Ambiguous).await.get("/api/v1/things/1").send().await;
    assert_eq!((reply.verdict(), reply.header("connection")), ("Malformed(Framing)", Some("close")));
}

#[tokio::test]
async fn sr_40_a_head_marked_too_large_is_refused() {
    let gate = gate_with_fault(HeadFault::TooLarge).await;
    assert_eq!(gate.get("/api/v1/things/1").verdict().await, "HeadTooLarge");
}

/// A gate with a route for bodies of at most ten bytes.
async fn gate_for_ten_bytes() -> TestGate {
    TestGate::with_routes([route("/api/v1/small", |policy| policy.max_body = BodyLimit::Bytes(10))]).await
}

#[tokio::test]
async fn a_body_of_the_routes_limit_is_permitted() {
    let gate = gate_for_ten_bytes().await;
    let reply = gate.post("/api/small").body("text/plain", "ten bytes!").send().await;
    assert_eq!(reply.line("body"), "ten bytes!");
}

#[tokio::test]
async fn a_declared_length_over_the_routes_limit_is_refused() {
    let gate = gate_for_ten_bytes().await;
    assert_eq!(gate.post("/api/small").body("text/plain", "eleven byte").verdict().await, "PayloadTooLarge");
}

#[tokio::test]
async fn a_body_without_a_length_ends_at_the_routes_limit() {
    let gate = gate_for_ten_bytes().await;
    let chunked = "POST /api/small HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n\
                   6\r\nsix by\r\n6\r\ntes an\r\n0\r\n\r\n";
    let reply = Reply::read(raw(gate.address, chunked.as_bytes()).await);
    assert_eq!(reply.line("body"), "TooLarge");
}

#[tokio::test]
async fn sr_63_a_host_that_is_none_is_malformed() {
    let gate = TestGate::with_routes([route("/api/v1/x", |_| {})]).await;
    for host in ["a/b", "a b", "user@a", "a:port", "[::1"] {
        let request = format!("GET /api/x HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        let reply = Reply::read(raw(gate.address, request.as_bytes()).await);
        assert_eq!(reply.verdict(), "Malformed(Host)", "{host}");
    }
}

#[tokio::test]
async fn an_expectation_other_than_100_continue_is_refused() {
    let gate = TestGate::with_routes([route("/api/v1/x", |_| {})]).await;
    assert_eq!(gate.get("/api/x").header("Expect", "a-miracle").verdict().await, "ExpectationFailed");
}
