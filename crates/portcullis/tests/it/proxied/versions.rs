//! Versions of the API in front of upstreams.

use std::net::SocketAddr;

use hyper::Response;
use portcullis_testkit::TestApp;
use serde_json::json;

use super::{full, get_raw, serve};
use crate::client::{TestResponse, app, client, get, send};

/// An upstream whose every response is one text.
async fn text_upstream(text: &'static str) -> SocketAddr {
    serve(move |_| async move { Response::new(full(text.as_bytes())) }).await
}

/// A gateway with an upstream for each of three versions: `v1` is deprecated, `v2` current, `v3` past its sunset.
async fn gateway_with_versions() -> TestApp {
    let (one, two) = (text_upstream("one").await, text_upstream("two").await);
    let settings = format!(
        r#"
[versions.v1]
released_at = "2025-01-01T00:00:00Z"
deprecated_at = "2026-01-01T00:00:00Z"
successor = "v2"

[versions.v2]
documentation = "https://docs.example.com/v2"

[versions.v3]
sunset_at = "2020-01-01T00:00:00Z"

[upstreams.one]
targets = ["http://{one}"]

[upstreams.two]
targets = ["http://{two}"]

[[routes]]
path = "/api/v1/p"
upstream = "one"
auth = "none"

[[routes]]
path = "/api/v2/p"
upstream = "two"
auth = "none"

[[routes]]
path = "/api/v3/p"
upstream = "two"
auth = "none"
"#
    );
    app().settings(&settings).start()
}

async fn get_version(app: &TestApp, path: &str, version: Option<(&str, &str)>) -> TestResponse {
    let request = client().get(app.url(path));
    send(version.into_iter().fold(request, |request, (name, value)| request.header(name, value))).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_version_of_the_api_may_have_its_own_upstream() {
    let app = gateway_with_versions().await;
    for (path, version, upstream) in [
        ("/api/v1/p", None, "one"),
        ("/api/p", None, "one"),
        ("/api/v2/p", None, "two"),
        ("/api/p", Some(("accept-version", "v2")), "two"),
        ("/api/p", Some(("x-api-version", "v2")), "two"),
        ("/api/p?api_version=v2", None, "two"),
        ("/api/v1/p", Some(("accept-version", "v2")), "one"),
    ] {
        let response = get_version(&app, path, version).await;
        assert_eq!((response.status, response.body.as_str()), (200, Some(upstream)), "{path} {version:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deprecated_version_names_its_successor() {
    let response = get_version(&gateway_with_versions().await, "/api/p", None).await;
    assert!(response.header("deprecation").starts_with('@'), "{:?}", response.headers);
    assert!(response.header("link").contains("/api/v2"), "{:?}", response.headers);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_version_in_a_path_is_valid_served_and_in_force() {
    let app = gateway_with_versions().await;
    for (path, status) in [
        ("/api/v3/p", 410),
        ("/api/v0/p", 400),
        ("/api/v999/p", 400),
        ("/api/v999/q", 404),
        ("/api/V1/p", 400),
        ("/api/v1/../v2/p", 200),
    ] {
        let response = get_raw(&app, path, "");
        assert!(response.starts_with(&format!("HTTP/1.1 {status}")), "{path}: {response}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invalid_version_is_refused() {
    let app = gateway_with_versions().await;
    for invalid in ["v0", "1", "V1", "../", "v1000", "v01"] {
        let response = get_version(&app, "/api/p", Some(("accept-version", invalid))).await;
        assert_eq!((response.status, response.error()), (400, "Invalid API version"), "{invalid}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unsupported_version_is_refused_with_the_supported_ones() {
    let app = gateway_with_versions().await;
    let response = get_version(&app, "/api/p", Some(("accept-version", "v999"))).await;
    assert_eq!((response.status, response.error()), (400, "Unsupported API version"));
    assert_eq!(response.body["details"]["supportedVersions"], json!(["v1", "v2"]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_versions_document_describes_the_settings() {
    let app = gateway_with_versions().await;
    let details = get(&app, "/api/versions").await.body["data"]["details"].clone();
    assert_eq!(details["v1"]["releaseDate"], "2025-01-01T00:00:00.000Z");
    assert_eq!(details["v2"]["documentation"], "https://docs.example.com/v2");
    assert_eq!(details["v3"]["status"], "sunset");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn built_in_endpoints_are_the_same_under_every_version() {
    let app = gateway_with_versions().await;
    for (path, version, status) in [
        ("/api/v2/health", None, 200),
        ("/api/health", Some(("accept-version", "v2")), 200),
        ("/api/v2/docs.json", None, 200),
        ("/api/v2/auth/profile", None, 401),
        ("/api/v2/users/7", None, 401),
        ("/api/v3/auth/profile", None, 410),
        ("/api/v9/auth/profile", None, 400),
        ("/api/v9/health", None, 400),
        ("/api/v9/nope", None, 404),
        ("/api/v0/health", None, 400),
    ] {
        assert_eq!(get_version(&app, path, version).await.status, status, "{path} {version:?}");
    }
    for path in ["/api/v3/health", "/api/v3/health/ready", "/api/v3/versions", "/api/v3/csrf-token"] {
        let response = get_version(&app, path, None).await;
        assert_eq!((response.status, response.header("x-api-version")), (200, "v3"), "{path} outlives its version");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_default_past_its_sunset_leaves_its_place_to_v2() {
    let two = text_upstream("two").await;
    let settings = format!(
        "[versions.v1]\nsunset_at = 2020-01-01T00:00:00Z\nsuccessor = \"v2\"\n[versions.v2]\n\
         [upstreams.two]\ntargets = [\"http://{two}\"]\n\
         [[routes]]\npath = \"/api/v1/p\"\nupstream = \"two\"\nauth = \"none\"\n\
         [[routes]]\npath = \"/api/v2/p\"\nupstream = \"two\"\nauth = \"none\"\n"
    );
    let app = app().settings(&settings).start();
    for (path, status, version) in [
        ("/api/p", 200, "v2"),
        ("/api/v1/p", 410, "v1"),
        ("/api/health", 200, "v2"),
        ("/api/v1/health", 200, "v1"),
        ("/api/versions", 200, "v2"),
        ("/api/csrf-token", 200, "v2"),
        ("/api/v1/csrf-token", 200, "v1"),
        ("/api/v1/auth/profile", 410, "v1"),
        ("/api/auth/profile", 401, "v2"),
    ] {
        let response = get_version(&app, path, None).await;
        assert_eq!((response.status, response.header("x-api-version")), (status, version), "{path}");
    }
    let versions = get(&app, "/api/versions").await.body["data"].clone();
    assert_eq!((&versions["current"], &versions["sunset"]), (&json!("v2"), &json!(["v1"])));
    assert_eq!(versions["details"]["v1"]["documentation"], "/api/docs");
}
