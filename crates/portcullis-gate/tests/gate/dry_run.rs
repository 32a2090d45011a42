//! The dry run of `explain`: what it reports, and that it leaves no trace (SR-46).

use std::sync::Arc;
use std::sync::atomic::Ordering;

use http::{HeaderMap, HeaderName, HeaderValue};
use portcullis_gate::{DryRun, DryRunCaller, Explanation, Phase, Verdict};
use portcullis_model::policy::AuthRequirement;
use portcullis_model::{ApiKeyScopes, Role, SessionState};
use portcullis_testkit::session;

use crate::test_gate::{TestConfig, TestGate, by_caller, rate, route};

/// A dry run from this machine, as the caller of the headers.
pub(crate) fn dry_run(method: &str, target: &str, headers: &[(String, String)]) -> DryRun {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(
            HeaderName::try_from(name.as_str()).expect("a name"),
            HeaderValue::from_str(value).expect("a value"),
        );
    }
    DryRun {
        method: method.parse().expect("a method"),
        uri: target.parse().expect("a target"),
        headers: map,
        peer: "127.0.0.1".parse().expect("an address"),
        caller: DryRunCaller::FromHeaders,
    }
}

/// A gate with a private route that permits one request an hour, and a user whose token is `a-secret-token`.
async fn gate_with_ada() -> (TestGate, Arc<SessionState>) {
    let routes = vec![route("/api/v1/x", |policy| {
        policy.auth = AuthRequirement::Required;
        policy.limits = by_caller("1/1h");
    })];
    let gate = TestGate::start(TestConfig { routes, api_limit: rate("2/1h"), ..TestConfig::default() }).await;
    let ada = gate.sign_in_as("a-secret-token", session().last_seen(0));
    (gate, ada)
}

/// The explanation of a request by that user.
async fn explain(gate: &TestGate) -> Explanation {
    let headers = [("authorization", "Bearer a-secret-token"), ("x-csrf-token", "a-secret-csrf")];
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned()));
    gate.inner.explain(&dry_run("GET", "/api/x?_csrf=a-secret-query", &headers)).await
}

#[tokio::test]
async fn a_dry_run_reports_every_phase_after_the_first() {
    let (gate, ada) = gate_with_ada().await;
    let explained = explain(&gate).await;
    assert_eq!(explained.verdict, Verdict::Permitted(()));
    let phases: Vec<Phase> = explained.steps.iter().map(|step| step.phase).collect();
    assert_eq!(phases, Phase::ALL[1..], "the first phase only gives the request its id");
    let steps = format!("{:?}", explained.steps);
    assert!(steps.contains("api, 2/3600s by address: 1 left after this one"), "{steps}");
    assert!(steps.contains(&format!("a bearer token of user {}, DEVELOPER", ada.user_id)), "{steps}");
}

#[tokio::test]
async fn sr_46_a_dry_run_repeats_no_credential() {
    let (gate, _) = gate_with_ada().await;
    let explained = format!("{:?}", explain(&gate).await.steps);
    assert!(!explained.contains("a-secret"), "{explained}");
}

#[tokio::test]
async fn sr_46_a_dry_run_counts_nothing_and_touches_no_session() {
    let (gate, ada) = gate_with_ada().await;
    let seen = ada.last_seen.load(Ordering::SeqCst);
    for _ in 0..5 {
        assert_eq!(explain(&gate).await.verdict, Verdict::Permitted(()));
    }
    assert_eq!(ada.last_seen.load(Ordering::SeqCst), seen);
    assert_eq!(gate.inner.streams().count(), 0);
    assert_eq!(gate.get("/api/x").bearer("a-secret-token").verdict().await, "permit", "the request is still free");
}

#[tokio::test]
async fn a_dry_run_ends_with_the_phase_that_refuses() {
    let (gate, _) = gate_with_ada().await;
    assert_eq!(gate.get("/api/x").bearer("a-secret-token").verdict().await, "permit");
    let explained = explain(&gate).await;
    let last = explained.steps.last().expect("a step");
    assert_eq!(last.phase, Phase::CallerLimits);
    assert!(last.notes[0].starts_with("route, 1/3600s by caller: none left for "), "{last:?}");
}

#[tokio::test]
async fn a_dry_run_may_assume_another_caller() {
    let managers = route("/api/v1/x", |policy| {
        policy.auth = AuthRequirement::Required;
        policy.minimum_role = Some(Role::Manager);
    });
    let gate = TestGate::with_routes([managers]).await;
    let as_role = |role| DryRunCaller::SignedIn(Arc::new(session().role(role).build()));
    for (caller, verdict) in [
        (as_role(Role::Admin), "Permitted(())"),
        (as_role(Role::Viewer), "Refused(NotPermitted)"),
        (DryRunCaller::Anonymous, "Refused(CredentialRequired)"),
    ] {
        let explained = gate.inner.explain(&DryRun { caller, ..dry_run("GET", "/api/x", &[]) }).await;
        assert_eq!(format!("{:?}", explained.verdict), verdict);
    }
}

#[tokio::test]
async fn a_dry_run_describes_every_kind_of_credential() {
    let gate = TestGate::with_routes([route("/api/v1/x", |_| {})]).await;
    gate.sign_in("ada", Role::Developer);
    let scoped = gate.api_key(ApiKeyScopes::Only(Vec::new().into()));
    let whole = gate.api_key(ApiKeyScopes::All);
    let unconfirmed = gate.api_key_of(session().unconfirmed_email(), ApiKeyScopes::All);
    let described = async |headers: &[(&str, &str)]| {
        let headers: Vec<_> = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        format!("{:?}", gate.inner.explain(&dry_run("GET", "/api/x", &headers)).await.steps)
    };
    for (headers, words) in [
        (&[][..], "no credential"),
        (&[("authorization", "Bearer ada"), ("x-api-key", &whole)], "two kinds of credential"),
        (&[("authorization", "Bearer garbage")], "an invalid credential"),
        (&[("authorization", "Bearer garbage")], "the access token is refused: bad signature"),
        (&[("authorization", "Bearer ada"), ("authorization", "Bearer ada")], "Authorization is there twice"),
        (&[("x-api-key", "pk_garbage")], "the API key does not have the form of one"),
        (&[("authorization", "Bearer ada")], "a bearer token of user"),
        (&[("cookie", "portcullis-session=ada")], "the session cookie of user"),
        (&[("x-api-key", &whole)], "an API key of user"),
        (&[("x-api-key", &scoped)], ", held to its scopes"),
        (&[("x-api-key", &unconfirmed)], "an API key whose owner has not confirmed the e-mail address"),
    ] {
        let steps = described(headers).await;
        assert!(steps.contains(words), "{words} in {steps}");
    }
    gate.sessions.set_cold(true);
    gate.sessions.set_unreachable(true);
    let steps = described(&[("authorization", "Bearer ada")]).await;
    assert!(steps.contains("a credential that cannot be checked now"), "{steps}");
}

#[test]
fn the_page_about_the_gate_names_every_phase() {
    let page = include_str!("../../../../docs/gate.md");
    for phase in Phase::ALL {
        assert!(page.contains(&format!("\n| {} |", phase.as_str())), "{}", phase.as_str());
    }
}
