//! How an operator inspects and resets rate limits.

use portcullis_gate::{RateLimitKey, RateLimitReset};
use portcullis_model::{ApiKeyScopes, Limit, LimitBy, Role, SessionSource, api_key};

use crate::limits;
use crate::test_gate::{TestGate, rate, route};

fn this_address() -> RateLimitKey {
    RateLimitKey::address("127.0.0.1".parse().expect("an address"))
}

/// A gate at which this address has reached the limit `auth`, and used some of two others.
async fn used_gate() -> TestGate {
    let gate = TestGate::start(limits::config()).await;
    for _ in 0..4 {
        gate.get("/api/login").send().await;
    }
    gate.get("/api/own").send().await;
    gate
}

/// The name, the route and the remaining requests of each limit that the key has used.
async fn usage(gate: &TestGate, key: RateLimitKey) -> Vec<String> {
    let usage = gate.inner.rate_limit_usage(key).await;
    usage.iter().map(|u| format!("{} {} {}", u.limit.name, u.route.as_deref().unwrap_or("-"), u.remaining)).collect()
}

fn reset_everywhere(limits: usize) -> RateLimitReset {
    RateLimitReset { limits, on_every_replica: true }
}

#[tokio::test]
async fn a_key_without_requests_has_no_usage() {
    let gate = TestGate::start(limits::config()).await;
    assert_eq!(usage(&gate, this_address()).await, Vec::<String>::new());
}

#[tokio::test]
async fn the_usage_of_each_limit_is_shown_and_not_counted() {
    let gate = used_gate().await;
    for _ in 0..2 {
        assert_eq!(usage(&gate, this_address()).await, ["auth - 0", "api - 9", "route /api/v1/own 1"]);
    }
}

#[tokio::test]
async fn a_limit_is_reset_by_its_name() {
    let gate = used_gate().await;
    assert!(gate.get("/api/login").verdict().await.starts_with("RateLimited"));
    assert_eq!(gate.inner.reset_rate_limits(this_address(), Some("auth")).await, reset_everywhere(1));
    assert_eq!(gate.get("/api/login").verdict().await, "permit");
}

#[tokio::test]
async fn all_limits_of_a_key_are_reset_together() {
    let gate = used_gate().await;
    assert_eq!(gate.inner.reset_rate_limits(this_address(), None).await, reset_everywhere(3));
    assert_eq!(usage(&gate, this_address()).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_users_usage_is_apart_from_their_address() {
    let gate = used_gate().await;
    let ada = gate.sign_in("ada", Role::Developer);
    gate.get("/api/own").bearer("ada").send().await;
    assert_eq!(usage(&gate, RateLimitKey::User(ada.user_id)).await, ["route /api/v1/own 1"]);
}

/// A gate at which each kind of limit has counted one request of its own.
async fn gate_with_every_kind() -> TestGate {
    let by = |name: &str, by| Limit::new(name, rate("9/1h").expect("on"), by);
    let limits = vec![
        by("caller", LimitBy::Caller),
        by("key", LimitBy::ApiKey),
        by("role", LimitBy::Role),
        by("everybody", LimitBy::Everybody),
        by("tenant", LimitBy::Header("x-tenant".into())),
    ];
    TestGate::with_routes([route("/api/v1/x", |policy| policy.limits = limits)]).await
}

#[tokio::test]
async fn each_kind_of_key_is_counted_by_its_own_limits() {
    let gate = gate_with_every_kind().await;
    let text = gate.api_key(ApiKeyScopes::All);
    let digest = api_key::digest(&text).expect("well-formed");
    let key = gate.sessions.cached_key(&digest).expect("it was made").id;
    gate.get("/api/x").header("x-api-key", &text).header("x-tenant", "acme").send().await;
    let used = async |key| {
        let usage = gate.inner.rate_limit_usage(key).await;
        usage.iter().map(|usage| usage.limit.name.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(used(RateLimitKey::ApiKey(key)).await, ["caller", "key"]);
    assert_eq!(used(RateLimitKey::Role(Some(Role::Admin))).await, ["role"]);
    assert_eq!(used(RateLimitKey::Everybody).await, ["everybody"]);
    assert_eq!(used(this_address()).await, Vec::<String>::new());
    assert_eq!(RateLimitKey::ApiKey(key).describe(), format!("API key {key}"));
}

#[tokio::test]
async fn operators_read_who_a_limit_counted() {
    let gate = used_gate().await;
    let ada = gate.sign_in("ada", Role::Developer);
    assert_eq!(RateLimitKey::User(ada.user_id).describe(), format!("user {}", ada.user_id));
    assert_eq!(this_address().describe(), "127.0.0.1");
    let network = RateLimitKey::address("2001:db8::7".parse().expect("an address"));
    assert_eq!(network.describe(), "2001:db8::/64");
    assert_eq!(RateLimitKey::Role(None).describe(), "role:-");
    assert_eq!(RateLimitKey::Everybody.describe(), "everybody");
}

#[tokio::test]
async fn all_limits_in_force_are_listed_with_their_routes() {
    let gate = TestGate::start(limits::config()).await;
    let listed: Vec<String> = gate
        .inner
        .config()
        .limits()
        .iter()
        .map(|(route, limit)| format!("{} {}", limit.name, route.as_deref().unwrap_or("-")))
        .collect();
    assert_eq!(listed, ["auth -", "api -", "route /api/v1/own"]);
}
