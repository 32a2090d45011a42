//! What is on every response, and what a destination learns of its request.

use crate::client::Reply;
use crate::test_gate::{TestConfig, TestGate, route};

const THING: &str = "/api/v1/things/1";

async fn gate() -> TestGate {
    TestGate::start(TestConfig::default()).await
}

#[tokio::test]
async fn every_response_carries_a_request_id_of_its_own() {
    let gate = gate().await;
    let mut seen = Vec::new();
    for target in [THING, "/nowhere", "/api/v0/x", "/a%2fb", THING] {
        let reply = gate.get(target).send().await;
        let id = reply.header("x-request-id").expect("an id").to_owned();
        assert!(id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit() && !b.is_ascii_uppercase()), "{id}");
        assert!(!seen.contains(&id), "{id} was used before");
        seen.push(id);
    }
}

#[tokio::test]
async fn a_clients_own_request_id_is_kept_for_logs() {
    let reply = gate().await.get(THING).header("X-Request-Id", "mine").send().await;
    assert_eq!(reply.line("client-request-id"), "Some(\"mine\")");
}

#[tokio::test]
async fn a_clients_id_that_could_forge_a_log_line_is_dropped() {
    let gate = gate().await;
    for id in ["a b", "a\tb", "{\"x\":1}", "é", "", &"x".repeat(65)] {
        let reply = gate.get(THING).header("X-Request-Id", id).send().await;
        assert_eq!(reply.line("client-request-id"), "None", "{id:?}");
    }
}

#[tokio::test]
async fn a_trace_is_continued_with_our_span() {
    let theirs = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let untrusted = TestConfig { trusted_proxies: vec!["10.0.0.0/8"], ..TestConfig::default() };
    let trusted = TestConfig { trusted_proxies: vec!["127.0.0.0/8"], ..TestConfig::default() };
    let trusting = TestConfig { trust_incoming_traces: true, ..TestConfig::default() };
    // The client's decision to record the trace counts only if it is trusted.
    for (config, flags) in [(untrusted, "00"), (trusted, "01"), (trusting, "01")] {
        let gate = TestGate::start(config).await;
        let reply = gate.get(THING).header("traceparent", theirs).send().await;
        let ours = reply.line("traceparent");
        assert!(ours.starts_with("00-0af7651916cd43dd8448eb211c80319c-") && ours.ends_with(flags), "{ours}");
        assert!(!ours.contains("b7ad6b7169203331"), "the span is ours: {ours}");
    }
}

#[tokio::test]
async fn without_a_valid_trace_the_request_id_is_the_trace_id() {
    let reply = gate().await.get(THING).header("traceparent", "garbage").send().await;
    assert_eq!(&reply.line("traceparent")[3..35], reply.header("x-request-id").expect("an id"));
}

#[tokio::test]
async fn a_problem_document_is_for_clients_that_prefer_it() {
    let gate = gate().await;
    // RFC 9110 §12.5.1: a quality of 0 means "not acceptable".
    for (accept, prefers) in [
        ("application/problem+json", true),
        ("application/json", false),
        ("application/problem+json, application/json;q=0.5", true),
        ("application/problem+json;q=0.5, application/json", false),
        ("application/problem+json;q=0", false),
        ("APPLICATION/Problem+JSON", true),
        ("*/*", false),
        ("é, application/problem+json", true),
        ("text/plain\r\nAccept: application/problem+json", true),
        ("", false),
    ] {
        let reply = gate.get("/nowhere").header("Accept", accept).send().await;
        assert_eq!(reply.line("prefers-problem"), prefers.to_string(), "{accept}");
    }
}

async fn forwarded(gate: &TestGate, chain: &str) -> Reply {
    gate.get(THING).header("X-Forwarded-For", chain).header("X-Forwarded-Proto", "https").send().await
}

fn behind_a_proxy() -> TestConfig {
    TestConfig { trusted_proxies: vec!["127.0.0.0/8"], ..TestConfig::default() }
}

#[tokio::test]
async fn sr_37_an_untrusted_peer_cannot_name_another_client() {
    let reply = forwarded(&gate().await, "6.6.6.6, 203.0.113.7").await;
    assert_eq!((reply.line("client"), reply.line("scheme")), ("127.0.0.1", "http"));
}

#[tokio::test]
async fn sr_37_a_trusted_proxy_names_the_client_and_its_scheme() {
    let gate = TestGate::start(behind_a_proxy()).await;
    let reply = forwarded(&gate, "6.6.6.6, 203.0.113.7").await;
    assert_eq!((reply.line("client"), reply.line("scheme")), ("203.0.113.7", "https"));
}

#[tokio::test]
async fn sr_37_entries_left_of_an_invalid_one_do_not_count() {
    let gate = TestGate::start(behind_a_proxy()).await;
    assert_eq!(forwarded(&gate, "203.0.113.7, unknown").await.line("client"), "127.0.0.1");
}

#[tokio::test]
async fn sr_42_a_destination_never_sees_a_csrf_token_in_the_query() {
    let gate = TestGate::with_routes([route("/files/{name}", |_| {})]).await;
    for (query, left) in [
        ("?a=1&_csrf=secret&b=%20", "a=1&b=%20"),
        ("?%5fcsrf=secret&a=1", "a=1"),
        ("?_%63%73rf=secret", ""),
        ("?a=_csrf&_csrf=secret&_csrf=again", "a=_csrf"),
        ("?x_csrf=1", "x_csrf=1"),
        ("", "-"),
    ] {
        let reply = gate.post(&format!("/files/a{query}")).send().await;
        assert_eq!(reply.line("query"), left, "{query}");
        assert!(!reply.body.contains("secret"), "{query}");
    }
}
