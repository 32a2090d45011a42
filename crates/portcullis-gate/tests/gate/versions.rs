//! The version that a request asks for, and what its response says of it (docs/contract.md, "API versions").

use std::time::Duration;

use portcullis_gate::Version;
use portcullis_model::Timestamp;

use crate::client::Call;
use crate::test_gate::{TestConfig, TestGate, proxied_route, route, route_for};

fn version(name: &str) -> Version {
    Version { documentation: None, ..Version::current(name) }
}

async fn gate_with(versions: Vec<Version>) -> TestGate {
    let routes = vec![proxied_route("/api/v1/x"), proxied_route("/api/v2/x"), route("/metrics", |_| {})];
    TestGate::start(TestConfig { routes, versions, ..TestConfig::default() }).await
}

async fn gate() -> TestGate {
    gate_with(vec![version("v1"), version("v2")]).await
}

fn at(seconds: u64) -> Option<Timestamp> {
    Some(Timestamp::UNIX_EPOCH + Duration::from_secs(seconds))
}

/// A time in Unix seconds that no test's clock reaches by itself.
const FAR: u64 = 4_000_000_000;

#[tokio::test]
async fn the_path_counts_before_headers_query_and_default() {
    let gate = gate().await;
    let get = |target: &str, headers: &[(&str, &str)]| -> Call {
        headers.iter().fold(gate.get(target), |call, (name, value)| call.header(name, value))
    };
    for (call, served) in [
        (get("/api/x", &[]), "v1"),
        (get("/api/x?api_version=v2", &[]), "v2"),
        (get("/api/x?a=1&api%5Fversion=v2", &[]), "v1"),
        (get("/api/x?api_version=v1", &[("X-API-Version", "v2")]), "v2"),
        (get("/api/x?api_version=v1", &[("X-API-Version", "v1"), ("Accept-Version", "v2")]), "v2"),
        (get("/api/x?api_version=nonsense", &[("Accept-Version", "v2")]), "v2"),
        (get("/api/v1/x?api_version=v2", &[("X-API-Version", "v2"), ("Accept-Version", "v2")]), "v1"),
        (get("/api/v2/x", &[("Accept-Version", "nonsense")]), "v2"),
    ] {
        let reply = call.send().await;
        assert_eq!((reply.verdict(), reply.header("x-api-version")), ("permit", Some(served)));
        assert_eq!(reply.line("path"), format!("/api/{served}/x"));
    }
}

#[tokio::test]
async fn a_text_that_is_no_version_is_invalid() {
    let gate = gate().await;
    for text in ["1", "V1", "v0", "v01", "v1000", "v1.0", "v1,v2", "latest", "v-1", "v١", "../v1"] {
        assert_eq!(gate.get("/api/x").header("Accept-Version", text).verdict().await, "InvalidVersion", "{text}");
    }
    assert_eq!(gate.get("/api/x").header("X-API-Version", "").verdict().await, "InvalidVersion");
    assert_eq!(gate.get("/api/x?api_version=").verdict().await, "InvalidVersion");
}

#[tokio::test]
async fn a_version_that_is_not_served_is_unsupported() {
    let gate = gate().await;
    for text in ["v3", "v9", "v10", "v999"] {
        let verdict = gate.get("/api/x").header("X-API-Version", text).verdict().await;
        assert_eq!(verdict, "UnsupportedVersion { supported: [\"v1\", \"v2\"] }", "{text}");
    }
}

#[tokio::test]
async fn a_path_with_an_invalid_version_is_invalid() {
    let gate = gate().await;
    for path in ["/api/v0/x", "/api/V1/x", "/api/v01/x", "/api/v1000/x", "/api/v0", "/api/v00"] {
        assert_eq!(gate.get(path).verdict().await, "InvalidVersion", "{path}");
    }
}

#[tokio::test]
async fn a_path_of_an_unserved_version_is_400_where_another_has_it() {
    let routes = [route("/api/v1/x", |_| {}), route_for(&["GET"], "/api/v2/only", |_| {}), route("/{*rest}", |_| {})];
    let versions = vec![version("v1"), version("v2")];
    let gate = TestGate::start(TestConfig { routes: routes.into(), versions, ..TestConfig::default() }).await;
    let unsupported = "UnsupportedVersion { supported: [\"v1\", \"v2\"] }";
    for path in ["/api/v9/x", "/api/v999/x", "/api/v9/only", "/api/v9//x"] {
        assert_eq!(gate.get(path).verdict().await, unsupported, "{path}");
    }
    assert_eq!(
        gate.post("/api/v9/only").verdict().await,
        "MethodNotAllowed { allow: \"GET, HEAD\" }",
        "405 comes first"
    );
    for path in ["/api/v9/nope", "/api/v3", "/api/v3/", "/api/v9/X", "/api/v9/x/"] {
        assert_eq!(gate.get(path).verdict().await, "NotFound", "{path}");
    }
}

#[tokio::test]
async fn a_path_without_a_route_is_not_found() {
    let gate = gate().await;
    for path in ["/api/v9/nope", "/api/v1/nope", "/api/vx/x", "/api/v", "/api/version", "/api/nope"] {
        assert_eq!(gate.get(path).verdict().await, "NotFound", "{path}");
    }
    assert_eq!(gate.get("/api/nope").header("Accept-Version", "V1").verdict().await, "NotFound", "404 comes first");
}

#[tokio::test]
async fn every_response_under_api_names_a_version() {
    let gate = gate().await;
    for target in
        ["/api", "/api/", "/api/x", "/api/nope", "/api/v0/x", "/api/v9/x", "/api/v1/x", "/api/x%2f", "/api/x/%"]
    {
        assert_eq!(gate.get(target).send().await.header("x-api-version"), Some("v1"), "{target}");
    }
    let unsupported = gate.get("/api/x").header("Accept-Version", "v9").send().await;
    assert_eq!(unsupported.header("x-api-version"), Some("v1"));
    let framing = gate.post("/api/x").second_host().send().await;
    assert_eq!(framing.header("x-api-version"), Some("v1"));
}

#[tokio::test]
async fn no_response_outside_api_names_a_version() {
    let gate = gate().await;
    for target in ["/metrics", "/nope", "/apis/x", "/api/../metrics"] {
        assert_eq!(gate.get(target).send().await.header("x-api-version"), None, "{target}");
    }
}

/// A gate whose `v1` is deprecated in favour of `v2`, and ends at FAR.
async fn gate_with_deprecated_v1() -> TestGate {
    let (deprecated_at, sunset_at, successor) = (at(1_700_000_000), at(FAR), Some("v2".to_owned()));
    gate_with(vec![Version { deprecated_at, sunset_at, successor, ..version("v1") }, version("v2")]).await
}

const SUCCESSOR_LINK: &str = "</api/v2>; rel=\"successor-version\"";

#[tokio::test]
async fn responses_of_a_deprecated_version_say_so() {
    let gate = gate_with_deprecated_v1().await;
    for target in ["/api/x", "/api/v1/x", "/api/v1/nope"] {
        let reply = gate.get(target).send().await;
        assert_eq!(reply.header("deprecation"), Some("@1700000000"), "{target}");
        assert_eq!(reply.header("sunset"), Some("Tue, 02 Oct 2096 07:06:40 GMT"), "{target}");
        assert_eq!(reply.header("link"), Some(SUCCESSOR_LINK), "{target}");
    }
    let current = gate.get("/api/v2/x").send().await;
    assert_eq!((current.header("deprecation"), current.header("sunset"), current.header("link")), (None, None, None));
}

#[tokio::test]
async fn after_its_sunset_a_version_is_refused_with_its_successor() {
    let gate = gate_with_deprecated_v1().await;
    gate.clock.advance(Duration::from_secs(FAR));
    for call in [gate.get("/api/v1/x"), gate.get("/api/x").header("Accept-Version", "v1")] {
        let reply = call.send().await;
        assert_eq!(reply.verdict(), "VersionSunset { successor: Some(\"v2\") }");
        assert_eq!(reply.header("link"), Some(SUCCESSOR_LINK));
    }
    let unnamed = gate.get("/api/x").send().await;
    assert_eq!(
        (unnamed.verdict(), unnamed.header("x-api-version")),
        ("permit", Some("v2")),
        "the successor takes over"
    );
    assert_eq!(gate.get("/api/v1/nope").verdict().await, "NotFound", "404 comes before 410");
}

#[tokio::test]
async fn after_its_sunset_a_version_is_no_longer_offered() {
    let gate = gate_with_deprecated_v1().await;
    gate.clock.advance(Duration::from_secs(FAR));
    let unsupported = gate.get("/api/x").header("Accept-Version", "v9").verdict().await;
    assert_eq!(unsupported, "UnsupportedVersion { supported: [\"v2\"] }");
    assert_eq!(gate.get("/api/x").header("Accept-Version", "v2").verdict().await, "permit");
}

#[tokio::test]
async fn v1_is_served_even_if_no_setting_names_it() {
    let gate = gate_with(vec![version("v2")]).await;
    assert_eq!(gate.get("/api/x").send().await.header("x-api-version"), Some("v1"));
}

#[tokio::test]
async fn every_version_is_listed_with_v1_as_the_default() {
    let gate = gate_with(vec![version("v2")]).await;
    let state = gate.inner.versions(gate.clock.now());
    assert_eq!((state.current.as_str(), state.supported), ("v1", vec!["v1".to_owned(), "v2".to_owned()]));
    assert_eq!(state.versions.len(), 2);
}
