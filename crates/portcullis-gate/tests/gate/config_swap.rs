//! A configuration is one value, which is swapped as a whole between requests.

use crate::test_gate::{TestConfig, TestGate, by_caller, private_route, route};

#[tokio::test]
async fn the_next_request_is_decided_by_the_new_configuration() {
    let gate = TestGate::start(TestConfig::default()).await;
    assert_eq!(gate.get("/api/things/1").verdict().await, "permit");
    assert_eq!(gate.get("/api/others").verdict().await, "NotFound");
    let routes = vec![private_route("/api/v1/things/{*rest}"), route("/api/v1/others", |_| {})];
    gate.swap(TestConfig { routes, ..TestConfig::default() });
    assert_eq!(gate.get("/api/things/1").verdict().await, "CredentialRequired");
    assert_eq!(gate.get("/api/others").verdict().await, "permit");
}

#[tokio::test]
async fn a_swap_keeps_the_counts_of_rate_limits() {
    let limited = || route("/api/v1/limited", |policy| policy.limits = by_caller("1/1h"));
    let gate = TestGate::with_routes([limited()]).await;
    assert_eq!(gate.get("/api/limited").verdict().await, "permit");
    gate.swap(TestConfig { routes: vec![route("/api/v1/another", |_| {}), limited()], ..TestConfig::default() });
    assert!(gate.get("/api/limited").verdict().await.starts_with("RateLimited"));
}

#[tokio::test]
async fn a_swap_keeps_the_metric_series_of_a_route() {
    let gate = TestGate::start(TestConfig::default()).await;
    gate.get("/api/things/1").send().await;
    gate.swap(TestConfig::default());
    gate.get("/api/things/1").send().await;
    gate.assert_metric("http_requests_total{method=\"GET\",route=\"/api/v1/things/{*rest}\",status_code=\"200\"} 2");
}

#[tokio::test]
async fn the_counters_of_refusals_begin_at_zero() {
    let limited = |name: &'static str| route(name, |policy| policy.limits = by_caller("1/1h"));
    let gate = TestGate::with_routes([route("/api/v1/open", |_| {})]).await;
    for reason in ["no_cookie", "two_cookies", "no_token", "mismatch", "forged", "cross_site"] {
        gate.assert_metric(&format!("csrf_refusals_total{{reason=\"{reason}\"}} 0"));
        gate.assert_metric(&format!("csrf_reports_total{{reason=\"{reason}\"}} 0"));
    }
    gate.swap(TestConfig { routes: vec![limited("/api/v1/limited")], ..TestConfig::default() });
    gate.assert_metric("rate_limited_total{limit=\"route\"} 0");
}
