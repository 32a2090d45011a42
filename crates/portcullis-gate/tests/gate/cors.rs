//! CORS by exact origin, on every response (docs/contract.md, "CORS"; SR-29).

use portcullis_model::Role;
use portcullis_model::policy::{AuthRequirement, CorsPolicy, CsrfPolicy};

use crate::client::{Call, Reply};
use crate::test_gate::{TestConfig, TestGate, by_caller, private_route, proxied_route, route, route_for};

const APP: &str = "https://app.example.com";
const PARTNER: &str = "https://partner.example";

/// A gate that allows the origin APP, with a route for each kind of refusal.
async fn gate() -> TestGate {
    let routes = vec![
        private_route("/api/v1/private"),
        route("/api/v1/checked", |policy| policy.csrf = CsrfPolicy::Checked),
        route("/api/v1/limited", |policy| policy.limits = by_caller("1/1h")),
        route_for(&["GET"], "/api/v1/get", |_| {}),
        route("/api/v1/open", |_| {}),
    ];
    TestGate::start(TestConfig { routes, origins: vec![APP, "http://localhost:3000"], ..TestConfig::default() }).await
}

fn preflight(gate: &TestGate, target: &str, method: &str) -> Call {
    gate.call("OPTIONS", target).header("Access-Control-Request-Method", method)
}

#[track_caller]
fn assert_readable_by(reply: &Reply, origin: &str) {
    let exposed = "X-Request-Id, X-API-Version, RateLimit, RateLimit-Policy, Retry-After, Deprecation, Sunset";
    for (name, value) in [
        ("access-control-allow-origin", origin),
        ("access-control-allow-credentials", "true"),
        ("access-control-expose-headers", exposed),
        ("vary", "Origin"),
    ] {
        assert_eq!(reply.header(name), Some(value), "{name} of {reply:?}");
    }
}

#[tokio::test]
async fn every_verdict_can_be_read_by_an_allowed_origin() {
    let gate = gate().await;
    gate.get("/api/limited").send().await;
    for (call, verdict) in [
        (gate.get("/api/open"), "permit"),
        (gate.get("/nowhere"), "NotFound"),
        (gate.post("/api/get"), "MethodNotAllowed"),
        (gate.get("/a%2fb"), "Malformed"),
        (gate.post("/api/open").second_host(), "Malformed"),
        (gate.get("/api/v0/x"), "InvalidVersion"),
        (gate.get("/api/limited"), "RateLimited"),
        (gate.post("/api/checked"), "InvalidCsrf"),
        (gate.get("/api/private"), "CredentialRequired"),
    ] {
        let reply = call.header("Origin", APP).send().await;
        assert!(reply.verdict().starts_with(verdict), "{reply:?}");
        assert_readable_by(&reply, APP);
    }
}

#[tokio::test]
async fn sr_29_another_origin_gets_no_cors_header_and_no_failure() {
    let gate = gate().await;
    for origin in ["https://evil.example", "null", "https://app.example.com.evil", "http://app.example.com", "*", "é"]
    {
        for call in [gate.get("/api/open"), gate.get("/nowhere"), preflight(&gate, "/api/open", "POST")] {
            let reply = call.header("Origin", origin).send().await;
            assert!(reply.status < 500, "{reply:?}");
            assert_eq!(reply.header("access-control-allow-origin"), None, "{origin}");
            assert_eq!(reply.header("access-control-allow-credentials"), None, "{origin}");
            assert_eq!(reply.header("vary"), Some("Origin"), "a cache must not serve it to an allowed origin");
        }
    }
}

#[tokio::test]
async fn a_preflight_needs_neither_credential_nor_csrf_token() {
    let gate = gate().await;
    for target in ["/api/private", "/api/checked", "/api/limited", "/api/open"] {
        let reply = preflight(&gate, target, "DELETE").header("Origin", APP).send().await;
        assert_eq!(reply.status, 204, "{target}");
        assert_readable_by(&reply, APP);
        let methods = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";
        assert_eq!(reply.header("access-control-allow-methods"), Some(methods));
        let headers = "Content-Type, Authorization, X-CSRF-Token, X-Requested-With, X-API-Version, Accept-Version, \
                       X-API-Key, X-Request-Id, Idempotency-Key, traceparent, tracestate";
        assert_eq!(reply.header("access-control-allow-headers"), Some(headers));
    }
}

#[tokio::test]
async fn a_preflight_counts_against_no_limit() {
    let gate = gate().await;
    for _ in 0..3 {
        let reply = preflight(&gate, "/api/limited", "DELETE").header("Origin", APP).send().await;
        assert_eq!((reply.status, reply.header("x-ratelimit-limit")), (204, None));
    }
    assert_eq!(gate.get("/api/limited").verdict().await, "permit");
}

#[tokio::test]
async fn a_preflight_is_not_a_refusal() {
    let gate = gate().await;
    assert_eq!(preflight(&gate, "/api/open", "POST").header("Origin", APP).verdict().await, "preflight");
    assert!(gate.inner.latest_refusals(1).is_empty());
}

#[tokio::test]
async fn options_without_a_preflights_headers_goes_to_the_route() {
    let gate = gate().await;
    assert_eq!(gate.call("OPTIONS", "/api/open").verdict().await, "permit");
    assert_eq!(gate.call("OPTIONS", "/api/open").header("Origin", APP).verdict().await, "permit");
    assert_eq!(gate.call("OPTIONS", "/api/get").verdict().await, "MethodNotAllowed { allow: \"GET, HEAD\" }");
}

#[tokio::test]
async fn a_preflight_for_an_invalid_method_goes_to_the_route() {
    let gate = gate().await;
    for method in ["POST, GET", "", "A B"] {
        assert_eq!(preflight(&gate, "/api/open", method).header("Origin", APP).verdict().await, "permit", "{method:?}");
    }
}

#[tokio::test]
async fn a_preflight_for_a_method_of_no_route_is_refused() {
    let gate = gate().await;
    for method in ["BREW", "get", "TRACE"] {
        let verdict = preflight(&gate, "/api/open", method).header("Origin", APP).verdict().await;
        assert!(verdict.starts_with("MethodNotAllowed"), "{method:?}: {verdict}");
    }
}

#[tokio::test]
async fn a_preflight_names_the_method_that_its_route_names() {
    let cache = route_for(&["GET", "PURGE"], "/cache", |_| {});
    let gate = TestGate::start(TestConfig { routes: vec![cache], origins: vec![APP], ..TestConfig::default() }).await;
    for (method, list) in [
        ("GET", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"),
        ("PURGE", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, PURGE"),
    ] {
        let reply = preflight(&gate, "/cache", method).header("Origin", APP).send().await;
        assert_eq!((reply.status, reply.header("access-control-allow-methods")), (204, Some(list)));
    }
}

#[tokio::test]
async fn a_preflight_that_no_route_matches_is_refused() {
    let gate = gate().await;
    assert_eq!(preflight(&gate, "/nowhere", "GET").header("Origin", APP).verdict().await, "NotFound");
    let refused = preflight(&gate, "/api/get", "DELETE").header("Origin", APP).verdict().await;
    assert_eq!(refused, "MethodNotAllowed { allow: \"GET, HEAD\" }");
}

#[tokio::test]
async fn without_allowed_origins_no_response_depends_on_the_origin() {
    let gate = TestGate::start(TestConfig::default()).await;
    let reply = gate.get("/api/v1/things/1").header("Origin", APP).send().await;
    assert_eq!((reply.header("access-control-allow-origin"), reply.header("vary")), (None, None));
}

#[tokio::test]
async fn a_route_may_have_allowed_origins_of_its_own() {
    let partners = route("/api/v1/partners", |policy| policy.allowed_origins = Some(vec![PARTNER.to_owned()]));
    let closed = route("/api/v1/closed", |policy| policy.allowed_origins = Some(Vec::new()));
    let routes = vec![partners, closed, route("/api/v1/open", |_| {})];
    let gate = TestGate::start(TestConfig { routes, origins: vec![APP], ..TestConfig::default() }).await;
    for (target, allowed) in [("/api/partners", Some(PARTNER)), ("/api/closed", None), ("/api/open", Some(APP))] {
        for origin in [APP, PARTNER, "null"] {
            for call in [gate.get(target), preflight(&gate, target, "POST")] {
                let reply = call.header("Origin", origin).send().await;
                let expected = allowed.filter(|allowed| *allowed == origin);
                assert_eq!(reply.header("access-control-allow-origin"), expected, "{target} {origin}");
                assert_eq!(reply.header("access-control-allow-credentials"), expected.map(|_| "true"));
            }
        }
    }
    let reply = gate.get("/api/closed").header("Origin", APP).send().await;
    assert_eq!(reply.header("vary"), None, "no origin is allowed, so none makes a difference");
}

/// A gate whose route leaves CORS to its upstream, for clients of these networks.
async fn gate_that_leaves_cors(networks: &[&str]) -> TestGate {
    let mut theirs = proxied_route("/api/v1/theirs");
    theirs.policy.auth = AuthRequirement::Required;
    theirs.policy.cors = CorsPolicy::Upstream;
    theirs.policy.networks = networks.iter().map(|net| net.parse().expect("a net")).collect();
    TestGate::start(TestConfig { routes: vec![theirs], origins: vec![APP], ..TestConfig::default() }).await
}

#[tokio::test]
async fn an_upstream_that_answers_cors_gets_the_preflights() {
    let gate = gate_that_leaves_cors(&[]).await;
    gate.sign_in("ada", Role::Admin);
    for origin in [APP, PARTNER] {
        let reply = preflight(&gate, "/api/theirs", "POST").header("Origin", origin).bearer("ada").send().await;
        // It needs no credential, and none is looked at.
        assert_eq!((reply.verdict(), reply.line("principal")), ("permit", "anonymous"));
        assert_eq!(reply.header("access-control-allow-origin"), None, "the upstream decides about {origin}");
        assert_eq!(gate.post("/api/theirs").header("Origin", origin).verdict().await, "CredentialRequired");
    }
}

#[tokio::test]
async fn sr_29_the_gateways_refusals_keep_its_own_cors() {
    let gate = gate_that_leaves_cors(&["203.0.113.0/24"]).await;
    for call in [preflight(&gate, "/api/theirs", "POST"), gate.post("/api/theirs")] {
        let reply = call.header("Origin", APP).send().await;
        assert_ne!(reply.verdict(), "permit");
        assert_readable_by(&reply, APP);
    }
}

#[tokio::test]
async fn a_route_adds_to_the_lists_of_the_gateway() {
    let lists = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
    let own = route("/api/v1/own", |policy| {
        policy.cors = CorsPolicy::Gateway {
            request_headers: lists(&["X-Tenant", "X-Request-Id"]),
            expose_headers: lists(&["X-Total"]),
        };
    });
    let gate = TestGate::start(TestConfig { routes: vec![own], origins: vec![APP], ..TestConfig::default() }).await;
    let reply = gate.get("/api/own").header("Origin", APP).send().await;
    assert!(reply.header("access-control-expose-headers").is_some_and(|list| list.ends_with(", X-Total")), "{reply:?}");
    let reply = preflight(&gate, "/api/own", "GET").header("Origin", APP).send().await;
    let allowed = reply.header("access-control-allow-headers").expect("a list");
    assert!(allowed.ends_with(", X-Tenant") || allowed.contains(", X-Tenant, "), "{allowed}");
    assert_eq!(allowed.matches("X-Request-Id").count(), 1, "{allowed}");
}
