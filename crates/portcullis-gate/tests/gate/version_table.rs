//! The whole table of docs/contract.md, "API versions": where the version comes from, what kind of route the path is,
//! and in which state the version is.

use std::time::Duration;

use portcullis_gate::Version;
use portcullis_model::Timestamp;

use crate::client::Call;
use crate::test_gate::{TestConfig, TestGate, proxied_route, route};

/// Versions in each state: `v1` deprecated, `v2` served, `v3` past its sunset; `v9` is not served, `v0` is no version.
fn versions() -> Vec<Version> {
    let at = |seconds| Some(Timestamp::UNIX_EPOCH + Duration::from_secs(seconds));
    let v1 = Version { deprecated_at: at(1), successor: Some("v2".to_owned()), ..Version::current("v1") };
    let v3 = Version { sunset_at: at(1), successor: Some("v2".to_owned()), ..Version::current("v3") };
    vec![v1, Version::current("v2"), v3]
}

async fn gate(default_version: &'static str, catch_all: bool) -> TestGate {
    let mut routes = vec![
        route("/api/v1/built-in", |_| {}),
        route("/api/v1/health", |policy| policy.outlives_versions = true),
        proxied_route("/api/v1/proxied"),
        proxied_route("/api/v2/proxied"),
        proxied_route("/api/v3/proxied"),
        proxied_route("/api/v1/first/{*rest}"),
    ];
    if catch_all {
        routes.push(proxied_route("/{*rest}"));
    }
    let versions = versions();
    TestGate::start(TestConfig { routes, versions, default_version, ..TestConfig::default() }).await
}

/// The ways to ask for a version.
#[derive(Clone, Copy, Debug)]
enum Source {
    Url,
    AcceptVersion,
    XApiVersion,
    Query,
}

const SOURCES: [Source; 4] = [Source::Url, Source::AcceptVersion, Source::XApiVersion, Source::Query];
const HEADERS: [Source; 3] = [Source::AcceptVersion, Source::XApiVersion, Source::Query];

fn call(gate: &TestGate, source: Source, version: &str, path: &str) -> Call {
    match source {
        Source::Url => gate.get(&format!("/api/{version}/{path}")),
        Source::AcceptVersion => gate.get(&format!("/api/{path}")).header("Accept-Version", version),
        Source::XApiVersion => gate.get(&format!("/api/{path}")).header("X-API-Version", version),
        Source::Query => gate.get(&format!("/api/{path}?api_version={version}")),
    }
}

/// The verdict in one word.
async fn verdict(call: Call) -> String {
    let verdict = call.verdict().await;
    verdict.split(' ').next().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn every_source_route_and_state_has_its_verdict() {
    for catch_all in [false, true] {
        let gate = gate("v1", catch_all).await;
        for source in SOURCES {
            for (path, state, expected) in [
                ("built-in", "v1", "permit"),
                ("built-in", "v2", "permit"),
                ("built-in", "v3", "VersionSunset"),
                ("built-in", "v9", "UnsupportedVersion"),
                ("built-in", "v0", "InvalidVersion"),
                ("health", "v1", "permit"),
                ("health", "v2", "permit"),
                ("health", "v3", "permit"),
                ("health", "v9", "UnsupportedVersion"),
                ("health", "v0", "InvalidVersion"),
                ("proxied", "v1", "permit"),
                ("proxied", "v2", "permit"),
                ("proxied", "v3", "VersionSunset"),
                ("proxied", "v9", "UnsupportedVersion"),
                ("proxied", "v0", "InvalidVersion"),
                ("first/x", "v1", "permit"),
                ("first/x", "v9", "UnsupportedVersion"),
                ("first/x", "v0", "InvalidVersion"),
            ] {
                let found = verdict(call(&gate, source, state, path)).await;
                assert_eq!(found, expected, "{state} by {source:?} for {path}, catch-all: {catch_all}");
            }
        }
    }
}

#[tokio::test]
async fn a_path_of_no_version_is_404_unless_it_is_no_version_at_all() {
    let gate = gate("v1", false).await;
    for source in SOURCES {
        for state in ["v1", "v2", "v3", "v9"] {
            assert_eq!(verdict(call(&gate, source, state, "nope")).await, "NotFound", "{state} by {source:?}");
        }
    }
    assert_eq!(verdict(call(&gate, Source::Url, "v0", "nope")).await, "InvalidVersion");
    for source in HEADERS {
        assert_eq!(verdict(call(&gate, source, "v0", "nope")).await, "NotFound", "404 comes before 400 by {source:?}");
    }
}

#[tokio::test]
async fn a_catch_all_receives_an_alias_as_it_was_sent() {
    let gate = gate("v1", true).await;
    for target in ["/api/nope", "/api/nope/7?api_version=v2", "/api/", "/api", "/nope"] {
        let reply = gate.get(target).send().await;
        let path = target.split('?').next().unwrap_or_default();
        assert_eq!(
            (reply.verdict(), reply.line("route"), reply.line("path")),
            ("permit", "/{*rest}", path),
            "{target}"
        );
    }
    for source in HEADERS {
        for state in ["v1", "v2", "v3", "v9", "v0"] {
            let reply = call(&gate, source, state, "nope").send().await;
            assert_eq!((reply.verdict(), reply.line("path")), ("permit", "/api/nope"), "{state} by {source:?}");
        }
    }
    let versioned = gate.get("/api/v2/nope").send().await;
    assert_eq!((versioned.verdict(), versioned.line("path")), ("permit", "/api/v2/nope"), "v2 is served");
}

#[tokio::test]
async fn a_version_leads_around_no_route_to_a_catch_all() {
    let gate = gate("v1", true).await;
    // The route exists in v1 only. As `/api/first/x` the catch-all's upstream might read it as that route.
    for source in HEADERS {
        for state in ["v2", "v3"] {
            assert_eq!(verdict(call(&gate, source, state, "first/x")).await, "NotFound", "{state} by {source:?}");
        }
        assert_eq!(verdict(call(&gate, source, "v2", "First/x")).await, "NotFound", "{source:?}");
    }
    for spelling in ["/api/First/x", "/api/first;a/x", "/API/first/x", "/Api/First/x", "/api/v9/First/x"] {
        assert_eq!(verdict(gate.get(spelling)).await, "NotFound", "{spelling}");
    }
}

#[tokio::test]
async fn built_in_endpoints_count_under_their_canonical_template() {
    let gate = gate("v1", false).await;
    for path in ["/api/v1/built-in", "/api/v2/built-in", "/api/built-in"] {
        let reply = gate.get(path).send().await;
        assert_eq!((reply.line("label"), reply.line("route")), ("/api/v1/built-in", "/api/v1/built-in"), "{path}");
    }
    assert_eq!(gate.get("/api/v2/built-in").send().await.header("x-api-version"), Some("v2"));
}

#[tokio::test]
async fn the_alias_means_the_default_of_the_settings() {
    for (default, path, version) in [("v1", "/api/v1/proxied", "v1"), ("v2", "/api/v2/proxied", "v2")] {
        let gate = gate(default, false).await;
        let reply = gate.get("/api/proxied").send().await;
        assert_eq!((reply.line("path"), reply.header("x-api-version")), (path, Some(version)));
        assert_eq!(gate.get("/api/built-in").send().await.header("x-api-version"), Some(version));
        assert_eq!(gate.get("/api/nope").send().await.header("x-api-version"), Some(version));
        assert_eq!(gate.inner.versions(gate.clock.now()).current, version);
    }
}

#[tokio::test]
async fn a_default_past_its_sunset_hands_over() {
    let gate = gate("v3", false).await;
    let reply = gate.get("/api/proxied").send().await;
    assert_eq!((reply.line("path"), reply.header("x-api-version")), ("/api/v2/proxied", Some("v2")));
    assert_eq!(gate.inner.versions(gate.clock.now()).current, "v2");
    assert_eq!(verdict(gate.get("/api/v3/proxied")).await, "VersionSunset");
}

#[tokio::test]
async fn a_sunset_version_still_says_so_where_it_is_served() {
    let gate = gate("v1", false).await;
    let health = gate.get("/api/v3/health").send().await;
    assert_eq!((health.verdict(), health.header("x-api-version")), ("permit", Some("v3")));
    assert!(health.header("sunset").is_some(), "{health:?}");
}
