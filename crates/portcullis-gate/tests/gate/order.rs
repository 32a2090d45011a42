//! Refusals come in the contract's order (§1): of two reasons the earlier is given.

use portcullis_model::Role;
use portcullis_model::policy::{AuthRequirement, BodyLimit, CsrfPolicy, Methods};

use crate::bed::{Bed, Setup, csrf_endpoint, own, route};
use crate::client::{Answer, raw};

/// A route that asks for everything at once.
async fn strict() -> Bed {
    let mut strict = route("/api/v1/strict", |policy| {
        policy.auth = AuthRequirement::Required;
        policy.minimum_role = Some(Role::Manager);
        policy.csrf = CsrfPolicy::Checked;
        policy.max_body = BodyLimit::Bytes(10);
    });
    strict.methods = Methods::Only(vec!["POST".to_owned()]);
    let spent = route("/api/v1/spent", |policy| {
        policy.limits = own("1/1h");
        policy.auth = AuthRequirement::Required;
        policy.csrf = CsrfPolicy::Checked;
    });
    Bed::start(Setup { routes: vec![strict, spent, csrf_endpoint()], ..Setup::default() }).await
}

const UNKNOWN_VERSION: (&str, &str) = ("Accept-Version", "v9");

#[tokio::test]
async fn framing_comes_before_the_path_and_the_path_before_the_route() {
    let bed = strict().await;
    let both = bed.post("/nowhere%2f").header("Content-Length", "3").header("Transfer-Encoding", "chunked");
    assert_eq!(both.refusal().await, "Malformed(Framing)");
    assert_eq!(bed.post("/nowhere%2f").refusal().await, "Malformed(Path)");
    assert_eq!(bed.post("/nowhere").refusal().await, "NotFound");
}

#[tokio::test]
async fn an_unknown_route_and_a_wrong_method_come_before_the_version() {
    let bed = strict().await;
    let (name, value) = UNKNOWN_VERSION;
    assert_eq!(bed.get("/api/nowhere").header(name, value).refusal().await, "NotFound");
    let wrong = bed.call("DELETE", "/api/strict").header(name, value).refusal().await;
    assert_eq!(wrong, "MethodNotAllowed { allow: \"POST\" }");
}

#[tokio::test]
async fn size_comes_before_the_version_and_the_version_before_limits() {
    let bed = strict().await;
    let (name, value) = UNKNOWN_VERSION;
    let large = bed.post("/api/strict").header(name, value).body("text/plain", "eleven bytes");
    assert_eq!(large.refusal().await, "PayloadTooLarge");
    bed.post("/api/spent").send().await;
    let unknown = bed.post("/api/spent").header(name, value).refusal().await;
    assert_eq!(unknown, "UnsupportedVersion { supported: [\"v1\"] }");
}

#[tokio::test]
async fn limits_come_before_csrf_and_csrf_before_authentication() {
    let bed = strict().await;
    assert!(bed.post("/api/spent").refusal().await.starts_with("InvalidCsrf"), "the first is within the limit");
    assert!(bed.post("/api/spent").refusal().await.starts_with("RateLimited"));
    assert!(bed.post("/api/strict").refusal().await.starts_with("InvalidCsrf"));
    assert!(bed.post("/api/strict").bearer("garbage").refusal().await.starts_with("InvalidCsrf"));
}

#[tokio::test]
async fn authentication_comes_before_permission() {
    let bed = strict().await;
    let issued = bed.get("/api/csrf-token").send().await;
    let (token, pre) = (issued.line("token"), issued.line("pre"));
    let call = || {
        let cookies = format!("portcullis-csrf={token}; portcullis-pre={pre}");
        bed.post("/api/strict").header("Cookie", &cookies).header("X-CSRF-Token", token)
    };
    assert_eq!(call().refusal().await, "CredentialRequired");
    assert_eq!(call().bearer("garbage").refusal().await, "InvalidCredential");
    bed.sign_in("developer", Role::Developer);
    bed.sign_in("manager", Role::Manager);
    let two = call().bearer("developer").header("X-API-Key", "pk_x").refusal().await;
    assert_eq!(two, "TwoCredentials");
    assert_eq!(call().bearer("developer").refusal().await, "NotPermitted");
    assert_eq!(call().bearer("manager").refusal().await, "permit");
}

#[tokio::test]
async fn a_method_is_wrong_for_everyone_whoever_calls() {
    let bed = strict().await;
    bed.sign_in("manager", Role::Manager);
    for call in [bed.get("/api/v1/strict"), bed.get("/api/v1/strict").bearer("manager")] {
        assert_eq!(call.refusal().await, "MethodNotAllowed { allow: \"POST\" }");
    }
}

#[tokio::test]
async fn a_url_without_end_is_refused_before_anything_is_made_of_it() {
    let bed = strict().await;
    let target = format!("/api/v1/strict?{}", "x".repeat(16 * 1024));
    assert_eq!(bed.post(&target).refusal().await, "UrlTooLong");
}

#[tokio::test]
async fn a_target_that_is_no_path_is_malformed() {
    let bed = strict().await;
    assert_eq!(bed.call("OPTIONS", "*").refusal().await, "Malformed(Path)");
    let own = bed.address.to_string();
    assert_eq!(bed.call("CONNECT", &own).refusal().await, "Malformed(Path)");
    assert_eq!(bed.call("CONNECT", "example.com:443").refusal().await, "Malformed(Framing)", "two hosts");
    let asked = async |text: &str| Answer::read(raw(bed.address, text.as_bytes()).await);
    let absolute = "POST http://a/api/v1/strict HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    assert!(asked(absolute).await.refusal().starts_with("InvalidCsrf"), "the absolute form has a path");
    let elsewhere = absolute.replace("http://a/", "http://elsewhere/");
    assert_eq!(asked(&elsewhere).await.refusal(), "Malformed(Framing)", "which of the two hosts counts is a guess");
}
