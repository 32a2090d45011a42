//! What a route may ask for beyond a credential and permissions.

use std::sync::atomic::Ordering;
use std::time::Duration;

use portcullis_model::policy::{AuthRequirement, RoutePolicy};
use portcullis_model::{ApiKeyScopes, Role};

use crate::bed::{Bed, Setup, route};
use crate::people::session;

async fn bed(change: impl FnOnce(&mut RoutePolicy)) -> Bed {
    let asking = route("/api/v1/x", |policy| {
        policy.auth = AuthRequirement::Required;
        change(policy);
    });
    Bed::start(Setup { routes: vec![asking], trusted_proxies: vec!["127.0.0.1/32"], ..Setup::default() }).await
}

#[tokio::test]
async fn an_address_that_was_never_confirmed_is_not_enough_where_one_is_asked_for() {
    let bed = bed(|policy| policy.verified_email = true).await;
    bed.sign_in("confirmed", Role::Viewer);
    let mut other = session(Role::Admin);
    other.email_verified = false;
    bed.tokens.issue("unconfirmed", &bed.sessions.put(other), i64::MAX);
    assert_eq!(bed.get("/api/x").bearer("confirmed").refusal().await, "permit");
    assert_eq!(bed.get("/api/x").bearer("unconfirmed").refusal().await, "EmailNotVerified");
    assert_eq!(bed.get("/api/x").refusal().await, "CredentialRequired", "401 comes before 403");
}

#[tokio::test]
async fn a_sign_in_that_is_too_long_ago_does_not_do_and_a_key_never_does() {
    let bed = bed(|policy| policy.max_session_age = Some(Duration::from_secs(600))).await;
    let mut fresh = session(Role::Viewer);
    fresh.authenticated_at = bed.clock.unix_seconds();
    bed.tokens.issue("fresh", &bed.sessions.put(fresh), i64::MAX);
    assert_eq!(bed.get("/api/x").bearer("fresh").refusal().await, "permit");
    bed.clock.advance(Duration::from_secs(590));
    assert_eq!(bed.get("/api/x").bearer("fresh").refusal().await, "permit");
    bed.clock.advance(Duration::from_secs(20));
    assert_eq!(bed.get("/api/x").bearer("fresh").refusal().await, "SignInTooOld { most: 600s }");
    let key = bed.api_key(ApiKeyScopes::All);
    assert_eq!(bed.get("/api/x").header("X-API-Key", &key).refusal().await, "SignInRequired");
}

#[tokio::test]
async fn a_route_may_be_for_some_networks_only() {
    let bed = bed(|policy| {
        policy.auth = AuthRequirement::None;
        policy.networks = vec!["10.0.0.0/8".parse().expect("a net"), "2001:db8::/32".parse().expect("a net")];
    })
    .await;
    let from = |client: &str| bed.get("/api/x").header("X-Forwarded-For", client).refusal();
    for inside in ["10.1.2.3", "::ffff:10.1.2.3", "2001:db8::7", "[2001:db8::7]:443"] {
        assert_eq!(from(inside).await, "permit", "{inside}");
    }
    for outside in ["11.0.0.1", "2001:db9::1", "10.1.2.3, 11.0.0.1", "nonsense"] {
        assert_eq!(from(outside).await, "NetworkNotAllowed", "{outside}");
    }
}

#[tokio::test]
async fn a_route_may_refuse_while_revocations_cannot_be_read() {
    let asking = |template, needs| {
        route(template, move |policy| {
            policy.auth = AuthRequirement::Required;
            policy.needs_database = needs;
        })
    };
    let routes = vec![asking("/api/v1/strict", true), asking("/api/v1/lenient", false)];
    let bed = Bed::start(Setup { routes, ..Setup::default() }).await;
    bed.sign_in("ada", Role::Viewer);
    assert_eq!(bed.get("/api/strict").bearer("ada").refusal().await, "permit");
    bed.sessions.behind.store(true, Ordering::SeqCst);
    assert_eq!(bed.get("/api/strict").bearer("ada").refusal().await, "Unavailable");
    assert_eq!(bed.get("/api/strict").refusal().await, "CredentialRequired", "whoever is nobody learns no more");
    assert_eq!(bed.get("/api/lenient").bearer("ada").refusal().await, "permit");
}
