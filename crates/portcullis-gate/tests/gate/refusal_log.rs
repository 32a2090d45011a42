//! The refusal log: the latest refusals by request id, without secrets (SR-47).

use portcullis_gate::{Phase, RefusalRecord};
use portcullis_model::Role;
use portcullis_model::policy::AuthRequirement;

use crate::client::Call;
use crate::test_gate::{TestConfig, TestGate, rate, route};

/// Sends a request that is refused, and returns its entry in the log.
async fn refused(gate: &TestGate, call: Call) -> RefusalRecord {
    let reply = call.send().await;
    gate.inner.refusal_of(reply.header("x-request-id").expect("an id")).expect("it is in the log")
}

/// A gate with one user, `ada`, whose second request within an hour is refused.
async fn limited_gate() -> TestGate {
    let gate = TestGate::start(TestConfig { api_limit: rate("1/1h"), ..TestConfig::default() }).await;
    gate.sign_in("ada", Role::Viewer);
    assert_eq!(gate.get("/api/things/1").verdict().await, "permit");
    gate
}

#[tokio::test]
async fn a_refusal_is_found_by_its_request_id() {
    let gate = limited_gate().await;
    let record = refused(&gate, gate.get("/api/things/1").bearer("ada")).await;
    assert_eq!(record.phase, Phase::AddressLimits);
    assert_eq!((&*record.route, &*record.path), ("/api/v1/things/{*rest}", "/api/things/1"));
    assert_eq!(record.client.to_string(), "127.0.0.1");
    assert_eq!(record.user, None, "the credential was not classified yet");
}

#[tokio::test]
async fn sr_47_a_refusal_is_kept_without_query_and_credential() {
    let gate = limited_gate().await;
    let record = refused(&gate, gate.get("/api/things/1?token=secret").bearer("secret")).await;
    assert!(!format!("{record:?}").contains("secret"), "{record:?}");
}

#[tokio::test]
async fn a_permitted_request_is_not_in_the_log() {
    let gate = limited_gate().await;
    assert!(gate.inner.latest_refusals(10).is_empty());
    assert!(gate.inner.refusal_of("00000000000000000000000000000000").is_none());
}

#[tokio::test]
async fn a_refusal_names_the_user_once_the_credential_is_known() {
    let admins = route("/x", |policy| {
        policy.auth = AuthRequirement::Required;
        policy.minimum_role = Some(Role::Admin);
    });
    let gate = TestGate::with_routes([admins]).await;
    let ada = gate.sign_in("ada", Role::Viewer);
    let record = refused(&gate, gate.get("/x").bearer("ada")).await;
    assert_eq!((record.phase, record.user), (Phase::Authorise, Some(ada.user_id)));
}
