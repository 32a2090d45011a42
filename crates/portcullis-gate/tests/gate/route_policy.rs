//! What a route may require beyond a credential, a role and permissions.

use std::time::Duration;

use portcullis_model::policy::{AuthRequirement, RoutePolicy};
use portcullis_model::{ApiKeyScopes, Role};
use portcullis_testkit::session;

use crate::test_gate::{TestConfig, TestGate, private_route, route};

/// A gate behind a trusted proxy, with one private route that requires what `change` sets.
async fn gate(change: impl FnOnce(&mut RoutePolicy)) -> TestGate {
    let route = route("/api/v1/x", |policy| {
        policy.auth = AuthRequirement::Required;
        change(policy);
    });
    let trusted_proxies = vec!["127.0.0.1/32"];
    TestGate::start(TestConfig { routes: vec![route], trusted_proxies, ..TestConfig::default() }).await
}

async fn as_token(gate: &TestGate, token: &str) -> String {
    gate.get("/api/x").bearer(token).verdict().await
}

#[tokio::test]
async fn a_route_may_require_a_confirmed_email_address() {
    let gate = gate(|policy| policy.verified_email = true).await;
    gate.sign_in("confirmed", Role::Viewer);
    gate.sign_in_as("unconfirmed", session().role(Role::Admin).unconfirmed_email());
    assert_eq!(as_token(&gate, "confirmed").await, "permit");
    assert_eq!(as_token(&gate, "unconfirmed").await, "EmailNotVerified");
    assert_eq!(gate.get("/api/x").verdict().await, "CredentialRequired", "401 comes before 403");
}

#[tokio::test]
async fn a_route_may_require_a_recent_sign_in() {
    let gate = gate(|policy| policy.max_session_age = Some(Duration::from_secs(600))).await;
    gate.sign_in_as("ada", session().authenticated_at(gate.clock.unix_seconds()));
    assert_eq!(as_token(&gate, "ada").await, "permit");
    gate.clock.advance(Duration::from_secs(590));
    assert_eq!(as_token(&gate, "ada").await, "permit");
    gate.clock.advance(Duration::from_secs(20));
    assert_eq!(as_token(&gate, "ada").await, "SignInTooOld { most: 600s }");
}

#[tokio::test]
async fn an_api_key_is_no_recent_sign_in() {
    let gate = gate(|policy| policy.max_session_age = Some(Duration::from_secs(600))).await;
    let key = gate.api_key(ApiKeyScopes::All);
    assert_eq!(gate.get("/api/x").header("X-API-Key", &key).verdict().await, "SignInRequired");
}

#[tokio::test]
async fn a_route_may_be_limited_to_some_networks() {
    let gate = gate(|policy| {
        policy.auth = AuthRequirement::None;
        policy.networks = vec!["10.0.0.0/8".parse().expect("a net"), "2001:db8::/32".parse().expect("a net")];
    })
    .await;
    let from = |client: &str| gate.get("/api/x").header("X-Forwarded-For", client).verdict();
    for inside in ["10.1.2.3", "::ffff:10.1.2.3", "2001:db8::7", "[2001:db8::7]:443"] {
        assert_eq!(from(inside).await, "permit", "{inside}");
    }
    for outside in ["11.0.0.1", "2001:db9::1", "10.1.2.3, 11.0.0.1", "nonsense"] {
        assert_eq!(from(outside).await, "NetworkNotAllowed", "{outside}");
    }
}

#[tokio::test]
async fn a_route_may_require_that_revocations_are_known() {
    let strict = route("/api/v1/strict", |policy| {
        policy.auth = AuthRequirement::Required;
        policy.needs_database = true;
    });
    let gate = TestGate::with_routes([strict, private_route("/api/v1/lenient")]).await;
    gate.sign_in("ada", Role::Viewer);
    let get = |target: &str| gate.get(target).bearer("ada").verdict();
    assert_eq!(get("/api/strict").await, "permit");
    gate.sessions.set_behind(true);
    assert_eq!(get("/api/strict").await, "Unavailable");
    assert_eq!(get("/api/lenient").await, "permit");
    assert_eq!(gate.get("/api/strict").verdict().await, "CredentialRequired", "401 comes before 503");
}
