//! What the gate notices about its surroundings: proxies in front of it, and bytes that are no request.

use http::Response;
use portcullis_model::policy::Environment;

use crate::test_gate::{TestConfig, TestGate, route};

async fn gate_that_trusts(proxies: Vec<&'static str>) -> TestGate {
    let routes = vec![route("/api/v1/x", |_| {})];
    TestGate::start(TestConfig { routes, trusted_proxies: proxies, ..TestConfig::default() }).await
}

#[tokio::test]
async fn sr_37_a_forwarder_that_is_not_trusted_is_warned_of() {
    let gate = gate_that_trusts(vec![]).await;
    gate.get("/api/x").send().await;
    assert_eq!(gate.inner.warnings(), Vec::<String>::new(), "nothing was forwarded");
    gate.get("/api/x").header("x-forwarded-for", "203.0.113.7").send().await;
    let warnings = gate.inner.warnings();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].starts_with("127.0.0.1 sends X-Forwarded-For") && warnings[0].contains("trusted_proxies"));
    gate.swap(TestConfig { trusted_proxies: vec!["127.0.0.0/8"], ..TestConfig::default() });
    assert_eq!(gate.inner.warnings(), Vec::<String>::new(), "it is trusted by now");
}

#[tokio::test]
async fn a_trusted_proxy_is_known_in_either_spelling() {
    let gate = gate_that_trusts(vec!["127.0.0.0/8"]).await;
    for (address, is_trusted) in
        [("127.0.0.1", true), ("::ffff:127.0.0.1", true), ("203.0.113.7", false), ("::1", false)]
    {
        assert_eq!(gate.inner.is_trusted_proxy(address.parse().expect("an address")), is_trusted, "{address}");
    }
    gate.get("/api/x").header("x-forwarded-for", "203.0.113.7").send().await;
    assert_eq!(gate.inner.warnings(), Vec::<String>::new());
}

#[tokio::test]
async fn sr_40_bytes_that_are_no_request_are_counted_and_end_the_connection() {
    let gate = gate_that_trusts(vec![]).await;
    let mut context = gate.inner.unparsed_request(&std::net::SocketAddr::from(([127, 0, 0, 1], 1)).into());
    let mut response = Response::new(());
    *response.status_mut() = http::StatusCode::BAD_REQUEST;
    gate.inner.finish(&mut context, &mut response);
    assert_eq!(response.headers()["connection"], "close");
    assert_eq!(response.headers()["x-request-id"], context.request_id().as_str());
    gate.assert_metric("http_requests_total{method=\"_OTHER\",route=\"unmatched\",status_code=\"400\"} 1");
}

#[tokio::test]
async fn a_request_without_a_route_is_answered_with_its_id() {
    let gate = gate_that_trusts(vec![]).await;
    let request = http::Request::builder().uri("/api/x?y").body(()).expect("a request");
    let mut context = gate.inner.begin(&std::net::SocketAddr::from(([127, 0, 0, 1], 1)).into(), &request);
    assert_eq!((context.raw_path(), context.is_proxied()), ("/api/x", false));
    let mut response = Response::new(());
    gate.inner.finish(&mut context, &mut response);
    assert_eq!(response.headers()["x-request-id"], context.request_id().as_str());
}

#[tokio::test]
async fn a_reload_changes_the_environment() {
    let gate = gate_that_trusts(vec![]).await;
    assert_eq!(gate.inner.environment(), Environment::Development);
    gate.swap(TestConfig { environment: Environment::Production, ..TestConfig::default() });
    assert_eq!(gate.inner.environment(), Environment::Production);
}
