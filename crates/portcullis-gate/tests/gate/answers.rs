//! What stands on every answer, whoever gave it.

use crate::bed::{Bed, Setup, route};

#[tokio::test]
async fn every_answer_carries_an_id_of_ours() {
    let bed = Bed::start(Setup::default()).await;
    let mut seen = Vec::new();
    for target in ["/api/v1/things/1", "/nowhere", "/api/v0/x", "/a%2fb", "/api/v1/things/1"] {
        let answer = bed.get(target).header("X-Request-Id", "mine").send().await;
        let id = answer.header("x-request-id").expect("an id").to_owned();
        assert!(id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit() && !b.is_ascii_uppercase()), "{id}");
        assert!(!seen.contains(&id), "each request has its own");
        assert_eq!(answer.line("client-request-id"), "Some(\"mine\")");
        seen.push(id);
    }
}

#[tokio::test]
async fn a_clients_id_that_could_forge_a_log_line_is_dropped() {
    let bed = Bed::start(Setup::default()).await;
    for id in ["a b", "a\tb", "{\"x\":1}", "é", "", &"x".repeat(65)] {
        let answer = bed.get("/api/v1/things/1").header("X-Request-Id", id).send().await;
        assert_eq!(answer.line("client-request-id"), "None", "{id:?}");
    }
}

#[tokio::test]
async fn a_trace_is_continued_and_without_one_ours_begins() {
    let bed = Bed::start(Setup::default()).await;
    let theirs = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let answer = bed.get("/api/v1/things/1").header("traceparent", theirs).send().await;
    let ours = answer.line("traceparent");
    assert!(ours.starts_with("00-0af7651916cd43dd8448eb211c80319c-") && ours.ends_with("-01"), "{ours}");
    assert!(!ours.contains("b7ad6b7169203331"), "the span is ours");
    let answer = bed.get("/api/v1/things/1").header("traceparent", "garbage").send().await;
    let id = answer.header("x-request-id").expect("an id");
    assert_eq!(&answer.line("traceparent")[3..35], id, "the request id is the trace id");
}

#[tokio::test]
async fn a_problem_document_is_for_those_who_prefer_it() {
    // RFC 9110 §12.5.1: a quality of 0 means "not acceptable".
    for (accept, prefers) in [
        ("application/problem+json", true),
        ("application/json", false),
        ("application/problem+json, application/json;q=0.5", true),
        ("application/problem+json;q=0.5, application/json", false),
        ("application/problem+json;q=0", false),
        ("APPLICATION/Problem+JSON", true),
        ("*/*", false),
        ("", false),
    ] {
        let bed = Bed::start(Setup::default()).await;
        let answer = bed.get("/nowhere").header("Accept", accept).send().await;
        assert_eq!(answer.line("prefers-problem"), prefers.to_string(), "{accept}");
    }
}

#[tokio::test]
async fn sr_37_the_clients_address_is_what_trusted_proxies_say() {
    let chain = "6.6.6.6, 203.0.113.7";
    let bed = Bed::start(Setup::default()).await;
    let call = || bed.get("/api/v1/things/1").header("X-Forwarded-For", chain).header("X-Forwarded-Proto", "https");
    let answer = call().send().await;
    assert_eq!((answer.line("client"), answer.line("scheme")), ("127.0.0.1", "http"), "nobody is trusted");
    bed.swap(Setup { trusted_proxies: vec!["127.0.0.0/8"], ..Setup::default() });
    let answer = call().send().await;
    assert_eq!((answer.line("client"), answer.line("scheme")), ("203.0.113.7", "https"));
    let garbled = bed.get("/api/v1/things/1").header("X-Forwarded-For", "203.0.113.7, unknown").send().await;
    assert_eq!(garbled.line("client"), "127.0.0.1", "what stands left of nonsense is unfounded");
}

#[tokio::test]
async fn sr_42_the_csrf_token_is_taken_out_of_the_query_before_a_destination_sees_it() {
    let bed = Bed::start(Setup { routes: vec![route("/files/{name}", |_| {})], ..Setup::default() }).await;
    for (query, left) in [
        ("?a=1&_csrf=secret&b=%20", "a=1&b=%20"),
        ("?%5fcsrf=secret&a=1", "a=1"),
        ("?_%63%73rf=secret", ""),
        ("?a=_csrf&_csrf=secret&_csrf=again", "a=_csrf"),
        ("?x_csrf=1", "x_csrf=1"),
        ("", "-"),
    ] {
        let answer = bed.post(&format!("/files/a{query}")).send().await;
        assert_eq!(answer.line("query"), left, "{query}");
        assert!(!answer.body.contains("secret"));
    }
}
