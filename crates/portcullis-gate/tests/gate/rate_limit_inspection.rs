//! How an operator inspects and resets rate limits.

use portcullis_gate::{RateLimitKey, RateLimitReset};
use portcullis_model::Role;

use crate::limits;
use crate::test_gate::TestGate;

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
