//! The order of refusals: of two reasons, the earlier phase's is given (docs/contract.md, "Order of refusals").

use portcullis_model::Role;
use portcullis_model::policy::{AuthRequirement, BodyLimit, CsrfPolicy};

use crate::client::{Call, Reply, raw};
use crate::csrf::Pair;
use crate::test_gate::{TestGate, by_caller, csrf_endpoint, route, route_for};

const UNKNOWN_VERSION: (&str, &str) = ("Accept-Version", "v9");

/// A gate with a route that requires everything at once, and one whose limit is reached by the first request.
async fn gate() -> TestGate {
    let strict = route_for(&["POST"], "/api/v1/strict", |policy| {
        policy.auth = AuthRequirement::Required;
        policy.minimum_role = Some(Role::Manager);
        policy.csrf = CsrfPolicy::Checked;
        policy.max_body = BodyLimit::Bytes(10);
    });
    let limited = route("/api/v1/limited", |policy| {
        policy.limits = by_caller("1/1h");
        policy.auth = AuthRequirement::Required;
        policy.csrf = CsrfPolicy::Checked;
    });
    TestGate::with_routes([strict, limited, csrf_endpoint()]).await
}

fn of_unknown_version(call: Call) -> Call {
    call.header(UNKNOWN_VERSION.0, UNKNOWN_VERSION.1)
}

#[tokio::test]
async fn framing_comes_before_the_path() {
    let gate = gate().await;
    assert_eq!(gate.post("/nowhere%2f").second_host().verdict().await, "Malformed(Framing)");
}

#[tokio::test]
async fn the_path_comes_before_the_route() {
    let gate = gate().await;
    assert_eq!(gate.post("/nowhere%2f").verdict().await, "Malformed(Path)");
    assert_eq!(gate.post("/nowhere").verdict().await, "NotFound");
}

#[tokio::test]
async fn route_and_method_come_before_the_version() {
    let gate = gate().await;
    assert_eq!(of_unknown_version(gate.get("/api/nowhere")).verdict().await, "NotFound");
    let wrong = of_unknown_version(gate.call("DELETE", "/api/strict")).verdict().await;
    assert_eq!(wrong, "MethodNotAllowed { allow: \"POST\" }");
}

#[tokio::test]
async fn the_size_comes_before_the_version() {
    let gate = gate().await;
    let large = of_unknown_version(gate.post("/api/strict")).body("text/plain", "eleven bytes");
    assert_eq!(large.verdict().await, "PayloadTooLarge");
}

#[tokio::test]
async fn the_version_comes_before_limits() {
    let gate = gate().await;
    gate.post("/api/limited").send().await;
    let unknown = of_unknown_version(gate.post("/api/limited")).verdict().await;
    assert_eq!(unknown, "UnsupportedVersion { supported: [\"v1\"] }");
}

#[tokio::test]
async fn limits_come_before_csrf() {
    let gate = gate().await;
    assert!(gate.post("/api/limited").verdict().await.starts_with("InvalidCsrf"), "the first is within the limit");
    assert!(gate.post("/api/limited").verdict().await.starts_with("RateLimited"));
}

#[tokio::test]
async fn csrf_comes_before_authentication() {
    let gate = gate().await;
    assert!(gate.post("/api/strict").verdict().await.starts_with("InvalidCsrf"));
    assert!(gate.post("/api/strict").bearer("garbage").verdict().await.starts_with("InvalidCsrf"));
}

#[tokio::test]
async fn authentication_comes_before_permission() {
    let gate = gate().await;
    let pair = Pair::fetch(&gate).await;
    gate.sign_in("developer", Role::Developer);
    gate.sign_in("manager", Role::Manager);
    let call = || gate.post("/api/strict").header("Cookie", &pair.cookies()).header("X-CSRF-Token", &pair.token);
    for (call, verdict) in [
        (call(), "CredentialRequired"),
        (call().bearer("garbage"), "InvalidCredential"),
        (call().bearer("developer").header("X-API-Key", "pk_x"), "TwoCredentials"),
        (call().bearer("developer"), "NotPermitted"),
        (call().bearer("manager"), "permit"),
    ] {
        assert_eq!(call.verdict().await, verdict);
    }
}

#[tokio::test]
async fn a_wrong_method_is_wrong_for_every_caller() {
    let gate = gate().await;
    gate.sign_in("manager", Role::Manager);
    for call in [gate.get("/api/v1/strict"), gate.get("/api/v1/strict").bearer("manager")] {
        assert_eq!(call.verdict().await, "MethodNotAllowed { allow: \"POST\" }");
    }
}

#[tokio::test]
async fn a_target_over_16_kib_is_too_long() {
    let target = format!("/api/v1/strict?{}", "x".repeat(16 * 1024));
    assert_eq!(gate().await.post(&target).verdict().await, "UrlTooLong");
}

#[tokio::test]
async fn a_target_without_a_path_is_malformed() {
    let gate = gate().await;
    assert_eq!(gate.call("OPTIONS", "*").verdict().await, "Malformed(Path)");
    assert_eq!(gate.call("CONNECT", &gate.address.to_string()).verdict().await, "Malformed(Path)");
    assert_eq!(gate.call("CONNECT", "example.com:443").verdict().await, "Malformed(Framing)", "two hosts");
}

#[tokio::test]
async fn an_absolute_target_must_name_the_same_host() {
    let gate = gate().await;
    let send = async |host: &str| {
        let request = format!("POST http://{host}/api/v1/strict HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        Reply::read(raw(gate.address, request.as_bytes()).await).verdict().to_owned()
    };
    assert!(send("a").await.starts_with("InvalidCsrf"), "the path is found");
    assert_eq!(send("elsewhere").await, "Malformed(Framing)");
}
