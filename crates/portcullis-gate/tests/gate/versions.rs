//! Which version a request means, and what its answer says of it (contract §2).

use std::time::Duration;

use portcullis_gate::Version;
use portcullis_model::Timestamp;

use crate::bed::{Bed, Setup, route};

fn version(name: &str) -> Version {
    Version { documentation: None, ..Version::current(name) }
}

async fn two() -> Bed {
    let routes = vec![route("/api/v1/x", |_| {}), route("/api/v2/x", |_| {}), route("/metrics", |_| {})];
    Bed::start(Setup { routes, versions: vec![version("v1"), version("v2")], ..Setup::default() }).await
}

fn at(seconds: u64) -> Option<Timestamp> {
    Some(Timestamp::UNIX_EPOCH + Duration::from_secs(seconds))
}

/// Longer than any test's clock runs.
const FAR: u64 = 4_000_000_000;

#[tokio::test]
async fn the_url_comes_first_then_two_headers_then_the_query_then_the_default() {
    let bed = two().await;
    let x = |target: &str, headers: &[(&str, &str)]| {
        headers.iter().fold(bed.get(target), |call, (name, value)| call.header(name, value))
    };
    for (call, served) in [
        (x("/api/x", &[]), "v1"),
        (x("/api/x?api_version=v2", &[]), "v2"),
        (x("/api/x?a=1&api%5Fversion=v2", &[]), "v1"),
        (x("/api/x?api_version=v1", &[("X-API-Version", "v2")]), "v2"),
        (x("/api/x?api_version=v1", &[("X-API-Version", "v1"), ("Accept-Version", "v2")]), "v2"),
        (x("/api/x?api_version=nonsense", &[("Accept-Version", "v2")]), "v2"),
        (x("/api/v1/x?api_version=v2", &[("X-API-Version", "v2"), ("Accept-Version", "v2")]), "v1"),
        (x("/api/v2/x", &[("Accept-Version", "nonsense")]), "v2"),
    ] {
        let answer = call.send().await;
        assert_eq!(answer.refusal(), "permit");
        assert_eq!(answer.line("path"), format!("/api/{served}/x"));
        assert_eq!(answer.header("x-api-version"), Some(served));
    }
}

#[tokio::test]
async fn what_is_no_version_and_what_is_not_served_are_told_apart() {
    let bed = two().await;
    for text in ["1", "V1", "v0", "v01", "v1000", "v1.0", "v1,v2", "latest", "v-1", "v١", "../v1"] {
        assert_eq!(bed.get("/api/x").header("Accept-Version", text).refusal().await, "InvalidVersion", "{text}");
    }
    assert_eq!(bed.get("/api/x").header("X-API-Version", "").refusal().await, "InvalidVersion");
    assert_eq!(bed.get("/api/x?api_version=").refusal().await, "InvalidVersion");
    for text in ["v3", "v9", "v10", "v999"] {
        let refusal = bed.get("/api/x").header("X-API-Version", text).refusal().await;
        assert_eq!(refusal, "UnsupportedVersion { supported: [\"v1\", \"v2\"] }", "{text}");
    }
}

#[tokio::test]
async fn a_path_of_no_version_is_400_and_one_of_a_version_not_served_404() {
    let bed = two().await;
    for path in ["/api/v0/x", "/api/V1/x", "/api/v01/x", "/api/v1000/x", "/api/v0", "/api/v00"] {
        assert_eq!(bed.get(path).refusal().await, "InvalidVersion", "{path}");
    }
    for path in ["/api/v9/x", "/api/v999/nope", "/api/v3", "/api/v1/nope", "/api/vx/x", "/api/v", "/api/version"] {
        assert_eq!(bed.get(path).refusal().await, "NotFound", "{path}");
    }
}

#[tokio::test]
async fn every_answer_under_api_names_its_version_and_no_other_does() {
    let bed = two().await;
    for target in
        ["/api", "/api/", "/api/x", "/api/nope", "/api/v0/x", "/api/v9/x", "/api/v1/x", "/api/x%2f", "/api/x/%"]
    {
        assert_eq!(bed.get(target).send().await.header("x-api-version"), Some("v1"), "{target}");
    }
    let unknown = bed.get("/api/x").header("Accept-Version", "v9").send().await;
    assert_eq!(unknown.header("x-api-version"), Some("v1"));
    let framing = bed.post("/api/x").header("Content-Length", "1").header("Transfer-Encoding", "chunked").send().await;
    assert_eq!(framing.header("x-api-version"), Some("v1"));
    for target in ["/metrics", "/nope", "/apis/x", "/api/../metrics"] {
        assert_eq!(bed.get(target).send().await.header("x-api-version"), None, "{target}");
    }
}

#[tokio::test]
async fn a_deprecated_version_says_so_until_its_sunset_and_is_gone_after_it() {
    let old = Version {
        deprecated_at: at(1_700_000_000),
        sunset_at: at(FAR),
        successor: Some("v2".to_owned()),
        ..version("v1")
    };
    let routes = vec![route("/api/v1/x", |_| {}), route("/api/v2/x", |_| {})];
    let bed = Bed::start(Setup { routes, versions: vec![old, version("v2")], ..Setup::default() }).await;
    for target in ["/api/x", "/api/v1/x", "/api/v1/nope"] {
        let answer = bed.get(target).send().await;
        assert_eq!(answer.header("deprecation"), Some("@1700000000"), "{target}");
        assert_eq!(answer.header("sunset"), Some("Tue, 02 Oct 2096 07:06:40 GMT"));
        assert_eq!(answer.header("link"), Some("</api/v2>; rel=\"successor-version\""));
    }
    let current = bed.get("/api/v2/x").send().await;
    assert_eq!((current.header("deprecation"), current.header("sunset"), current.header("link")), (None, None, None));
    bed.clock.advance(Duration::from_secs(FAR));
    let gone = "VersionSunset { successor: Some(\"v2\") }";
    assert_eq!(bed.get("/api/v1/x").refusal().await, gone);
    assert_eq!(bed.get("/api/x").refusal().await, gone, "the default too");
    assert_eq!(bed.get("/api/v1/nope").refusal().await, "NotFound", "404 comes before 410");
    let answer = bed.get("/api/v1/x").send().await;
    assert_eq!(answer.header("link"), Some("</api/v2>; rel=\"successor-version\""), "410 says where to go");
    let other = bed.get("/api/x").header("Accept-Version", "v9").refusal().await;
    assert_eq!(other, "UnsupportedVersion { supported: [\"v2\"] }", "nobody is sent to a version that is gone");
    assert_eq!(bed.get("/api/x").header("Accept-Version", "v2").refusal().await, "permit");
}

#[tokio::test]
async fn v1_is_always_there_and_the_document_says_what_is() {
    let routes = vec![route("/api/v1/x", |_| {})];
    let bed = Bed::start(Setup { routes, versions: vec![version("v2")], ..Setup::default() }).await;
    assert_eq!(bed.get("/api/x").send().await.header("x-api-version"), Some("v1"));
    let document = bed.gate.versions_document(bed.clock.now());
    assert_eq!(document["current"], "v1");
    assert_eq!(document["supported"], serde_json::json!(["v1", "v2"]));
    let mut keys: Vec<_> = document["details"]["v1"].as_object().expect("an object").keys().collect();
    keys.sort();
    assert_eq!(keys, ["deprecationDate", "documentation", "releaseDate", "status", "sunsetDate", "version"]);
}
