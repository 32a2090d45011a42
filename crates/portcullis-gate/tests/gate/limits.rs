//! Rate limits, and what responses say of them (docs/contract.md, "Rate limits").

use std::time::Duration;

use portcullis_model::policy::LimitClass;
use portcullis_model::{ApiKeyScopes, Limit, LimitBy, Multipliers, Role};
use portcullis_testkit::session;

use crate::client::Call;
use crate::test_gate::{TestConfig, TestGate, by_caller, rate, route};

/// A configuration with a route of each class, and `/api/v1/own` with a limit of its own by caller.
pub(crate) fn config() -> TestConfig {
    let of_class = |template, class| route(template, move |policy| policy.limit_class = class);
    let routes = vec![
        of_class("/api/v1/login", LimitClass::Auth),
        of_class("/api/v1/things", LimitClass::Api),
        of_class("/api/v1/health", LimitClass::Exempt),
        route("/api/v1/own", |policy| policy.limits = by_caller("2/1m")),
    ];
    TestConfig { routes, auth_limit: rate("3/1m"), api_limit: rate("10/1m"), ..TestConfig::default() }
}

async fn gate() -> TestGate {
    TestGate::start(config()).await
}

async fn is_permitted(call: Call) -> bool {
    let verdict = call.verdict().await;
    assert!(verdict == "permit" || verdict.starts_with("RateLimited"), "{verdict}");
    verdict == "permit"
}

#[tokio::test]
async fn exactly_the_burst_passes_of_many_requests_at_once() {
    let gate = TestGate::start(TestConfig { api_limit: rate("30/1h"), ..config() }).await;
    // Fewer than a listener's backlog of 128, so that the kernel drops none of them.
    let calls = (0..100).map(|_| is_permitted(gate.get("/api/things")));
    let permitted = futures_util::future::join_all(calls).await;
    assert_eq!(permitted.iter().filter(|permitted| **permitted).count(), 30);
    gate.assert_metric("rate_limited_total{limit=\"api\"} 70");
}

#[tokio::test]
async fn responses_tell_how_many_requests_are_left() {
    let gate = gate().await;
    for left in ["2", "1", "0"] {
        let reply = gate.get("/api/login").send().await;
        assert_eq!((reply.verdict(), reply.header("retry-after")), ("permit", None));
        assert_eq!(reply.header("ratelimit-policy"), Some("\"auth\";q=3;w=60"));
        assert_eq!(reply.header("x-ratelimit-limit"), Some("3"));
        assert_eq!(reply.header("x-ratelimit-remaining"), Some(left));
        assert!(reply.header("ratelimit").is_some_and(|text| text.starts_with(&format!("\"auth\";r={left};t="))));
    }
}

/// A gate at which this address has reached the limit `auth`.
async fn gate_at_the_limit() -> TestGate {
    let gate = gate().await;
    for _ in 0..3 {
        assert!(is_permitted(gate.get("/api/login")).await);
    }
    gate
}

#[tokio::test]
async fn a_refusal_tells_when_the_whole_burst_is_free_again() {
    let gate = gate_at_the_limit().await;
    let now = gate.clock.unix_seconds();
    let refused = gate.get("/api/login").send().await;
    let reset: i64 = refused.header("x-ratelimit-reset").expect("when").parse().expect("a Unix time");
    assert!((now + 40..=now + 62).contains(&reset), "{}", reset - now);
}

#[tokio::test]
async fn a_client_that_waits_as_told_is_let_in_once() {
    let gate = gate_at_the_limit().await;
    let refused = gate.get("/api/login").send().await;
    let wait: u64 = refused.header("retry-after").expect("when").parse().expect("seconds");
    assert!((1..=20).contains(&wait), "{wait}");
    gate.clock.advance(Duration::from_secs(wait));
    assert!(is_permitted(gate.get("/api/login")).await);
    assert!(!is_permitted(gate.get("/api/login")).await);
}

#[tokio::test]
async fn an_alias_is_limited_with_its_route() {
    let gate = gate_at_the_limit().await;
    assert!(!is_permitted(gate.get("/api/v1/login")).await);
}

#[tokio::test]
async fn each_class_is_counted_apart() {
    let gate = gate_at_the_limit().await;
    assert!(!is_permitted(gate.get("/api/login")).await);
    assert!(is_permitted(gate.get("/api/things")).await);
}

#[tokio::test]
async fn health_and_unknown_paths_are_not_limited() {
    let gate = gate().await;
    for target in ["/api/health", "/nowhere"] {
        for _ in 0..20 {
            let reply = gate.get(target).send().await;
            assert!(!reply.verdict().starts_with("RateLimited"), "{target}");
            assert_eq!(reply.header("x-ratelimit-limit"), None, "{target}");
        }
    }
}

#[tokio::test]
async fn a_limit_by_caller_counts_each_user_apart() {
    let gate = gate().await;
    for token in ["ada", "grace"] {
        gate.sign_in(token, Role::Developer);
        for permitted in [true, true, false] {
            assert_eq!(is_permitted(gate.get("/api/own").bearer(token)).await, permitted, "{token}");
        }
    }
}

#[tokio::test]
async fn a_limit_by_caller_counts_all_sessions_of_a_user_together() {
    let gate = gate().await;
    let first = gate.sign_in("first", Role::Developer);
    gate.sign_in_as("second", session().user(first.user_id));
    for (token, permitted) in [("first", true), ("second", true), ("first", false)] {
        assert_eq!(is_permitted(gate.get("/api/own").bearer(token)).await, permitted, "{token}");
    }
}

#[tokio::test]
async fn a_limit_by_caller_counts_the_address_of_anonymous_ones() {
    let gate = gate().await;
    assert!(is_permitted(gate.get("/api/own")).await);
    assert!(is_permitted(gate.get("/api/own").bearer("garbage")).await);
    let third = gate.get("/api/own").bearer("other garbage").send().await;
    assert!(third.verdict().starts_with("RateLimited"), "an invented token gives no fresh count");
    assert_eq!(third.header("ratelimit-policy"), Some("\"route\";q=2;w=60"));
}

/// The verdict on a request to the limit `auth` that a trusted proxy forwards.
async fn forwarded(gate: &TestGate, client: &str) -> bool {
    is_permitted(gate.get("/api/login").header("X-Forwarded-For", client)).await
}

async fn gate_behind_a_proxy() -> TestGate {
    TestGate::start(TestConfig { trusted_proxies: vec!["127.0.0.1/32"], ..config() }).await
}

#[tokio::test]
async fn limits_count_the_client_behind_a_trusted_proxy() {
    let gate = gate_behind_a_proxy().await;
    for _ in 0..3 {
        assert!(forwarded(&gate, "203.0.113.1").await);
    }
    assert!(!forwarded(&gate, "203.0.113.1").await);
    assert!(!forwarded(&gate, "6.6.6.6, 203.0.113.1").await, "an address that the client adds changes nothing");
    assert!(forwarded(&gate, "203.0.113.2").await);
}

#[tokio::test]
async fn addresses_of_one_ipv6_network_are_counted_together() {
    let gate = gate_behind_a_proxy().await;
    for client in ["2001:db8::1", "2001:db8::2", "2001:db8::ffff:ffff:ffff"] {
        assert!(forwarded(&gate, client).await);
    }
    assert!(!forwarded(&gate, "2001:db8::3").await);
}

#[tokio::test]
async fn responses_tell_of_the_tightest_limit() {
    let gate = gate().await;
    assert_eq!(gate.get("/api/own").send().await.header("x-ratelimit-limit"), Some("2"));
    let gate = TestGate::start(TestConfig { api_limit: rate("1/1m"), ..config() }).await;
    assert_eq!(gate.get("/api/own").send().await.header("x-ratelimit-limit"), Some("1"));
}

#[tokio::test]
async fn without_the_limits_for_all_routes_a_routes_own_holds() {
    let gate = TestGate::start(TestConfig { auth_limit: None, api_limit: None, ..config() }).await;
    for _ in 0..20 {
        assert!(is_permitted(gate.get("/api/login")).await);
    }
    for permitted in [true, true, false] {
        assert_eq!(is_permitted(gate.get("/api/own")).await, permitted);
    }
}

/// A gate with one route, which permits one request an hour for each key.
async fn gate_counting_by(by: LimitBy) -> TestGate {
    let limited = route("/limited", |policy| policy.limits = vec![Limit::new("own", rate("1/1h").expect("on"), by)]);
    let gate = TestGate::start(TestConfig {
        routes: vec![limited],
        trusted_proxies: vec!["127.0.0.1/32"],
        ..TestConfig::default()
    })
    .await;
    for (token, role) in [("ada", Role::Developer), ("grace", Role::Developer), ("alan", Role::Viewer)] {
        gate.sign_in(token, role);
    }
    gate
}

#[tokio::test]
async fn a_limit_for_everybody_counts_all_requests_together() {
    let gate = gate_counting_by(LimitBy::Everybody).await;
    assert!(is_permitted(gate.get("/limited")).await);
    assert!(!is_permitted(gate.get("/limited").header("X-Forwarded-For", "203.0.113.9")).await);
}

#[tokio::test]
async fn a_limit_by_role_counts_callers_of_a_role_together() {
    let gate = gate_counting_by(LimitBy::Role).await;
    assert!(is_permitted(gate.get("/limited").bearer("ada")).await);
    assert!(!is_permitted(gate.get("/limited").bearer("grace")).await, "of the same role");
    assert!(is_permitted(gate.get("/limited").bearer("alan")).await, "of another role");
    assert!(is_permitted(gate.get("/limited")).await, "without a role");
}

#[tokio::test]
async fn a_limit_by_header_counts_by_its_value() {
    let gate = gate_counting_by(LimitBy::Header("x-tenant".into())).await;
    assert!(is_permitted(gate.get("/limited").header("X-Tenant", "a")).await);
    assert!(!is_permitted(gate.get("/limited").header("X-Tenant", "a").bearer("ada")).await);
    assert!(is_permitted(gate.get("/limited").header("X-Tenant", "b")).await);
}

#[tokio::test]
async fn a_limit_by_header_counts_the_address_without_it() {
    let gate = gate_counting_by(LimitBy::Header("x-tenant".into())).await;
    assert!(is_permitted(gate.get("/limited")).await);
    assert!(!is_permitted(gate.get("/limited")).await);
}

#[tokio::test]
async fn a_limit_by_api_key_counts_each_key_apart() {
    let gate = gate_counting_by(LimitBy::ApiKey).await;
    let (first, second) = (gate.api_key(ApiKeyScopes::All), gate.api_key(ApiKeyScopes::All));
    for (key, permitted) in [(&first, true), (&first, false), (&second, true)] {
        assert_eq!(is_permitted(gate.get("/limited").header("X-API-Key", key)).await, permitted);
    }
}

#[tokio::test]
async fn a_limit_by_api_key_does_not_count_other_callers() {
    let gate = gate_counting_by(LimitBy::ApiKey).await;
    for _ in 0..3 {
        assert!(is_permitted(gate.get("/limited").bearer("ada")).await);
    }
}

/// A limit by caller of two requests an hour, and so many times as many for administrators.
fn multiplied(name: &str, times: u32) -> Option<Limit> {
    let limit = Limit::new(name, rate("2/1h").expect("on"), LimitBy::Caller);
    Some(Limit { multipliers: Multipliers::new([(Role::Admin, times)]), ..limit })
}

#[tokio::test]
async fn reads_and_writes_are_counted_apart_and_multiplied_by_role() {
    let (reads_limit, writes_limit) = (multiplied("reads", 2), multiplied("writes", 3));
    let gate = TestGate::start(TestConfig { reads_limit, writes_limit, ..TestConfig::default() }).await;
    gate.sign_in("ada", Role::Developer);
    gate.sign_in("root", Role::Admin);
    for (token, method, name, most) in [
        ("ada", "GET", "reads", 2),
        ("ada", "PATCH", "writes", 2),
        ("root", "GET", "reads", 4),
        ("root", "PATCH", "writes", 6),
    ] {
        for left in (0..most).rev() {
            let reply = gate.call(method, "/api/things/1").bearer(token).send().await;
            assert_eq!(reply.verdict(), "permit", "{token} {method}");
            assert_eq!(reply.header("x-ratelimit-remaining"), Some(left.to_string().as_str()));
            assert_eq!(reply.header("x-ratelimit-limit"), Some(most.to_string().as_str()));
        }
        let refused = gate.call(method, "/api/things/1").bearer(token).send().await;
        assert!(refused.verdict().ends_with(&format!("limit: \"{name}\" }}")), "{}", refused.verdict());
        assert_eq!(refused.header("ratelimit-policy"), Some(&*format!("\"{name}\";q={most};w=3600")));
    }
}

#[tokio::test]
async fn an_exempt_route_has_no_limit_for_reads() {
    let routes = vec![route("/api/v1/health", |policy| policy.limit_class = LimitClass::Exempt)];
    let reads_limit = multiplied("reads", 1);
    let gate = TestGate::start(TestConfig { routes, reads_limit, ..TestConfig::default() }).await;
    assert_eq!(gate.get("/api/health").send().await.header("x-ratelimit-limit"), None);
}

#[tokio::test]
async fn a_request_over_the_callers_limit_spares_the_shared_limit() {
    let own = route("/api/v1/own", |policy| policy.limits = by_caller("1/1h"));
    let open = route("/api/v1/open", |_| {});
    let gate =
        TestGate::start(TestConfig { routes: vec![own, open], api_limit: rate("2/1h"), ..TestConfig::default() }).await;
    gate.sign_in("ada", Role::Developer);
    for permitted in [true, false, false, false] {
        assert_eq!(is_permitted(gate.get("/api/own").bearer("ada")).await, permitted);
    }
    assert!(is_permitted(gate.get("/api/open")).await, "only one of the two shared requests was counted");
}
