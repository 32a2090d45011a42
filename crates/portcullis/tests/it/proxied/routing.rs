//! Which spellings of a path reach a proxied route.

use super::{gateway, get_raw};
use crate::client::register;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_alias_and_every_spelling_reach_the_same_route() {
    let (app, _) = gateway().await;
    let account = register(&app).await;
    let authorization = format!("Authorization: Bearer {}\r\n", account.access);
    for path in ["/api/projects/7", "/api/v1/projects/7", "/api//v1/./projects/x/../7", "/api/v1/%70rojects/7"] {
        let anonymous = get_raw(&app, path, "");
        assert!(anonymous.starts_with("HTTP/1.1 401"), "{path}: {anonymous}");
        let signed_in = get_raw(&app, path, &authorization);
        assert!(signed_in.starts_with("HTTP/1.1 200"), "{path}: {signed_in}");
        assert!(signed_in.contains("\"target\":\"/projects/7\""), "{path}: {signed_in}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ambiguous_or_unknown_path_never_reaches_the_upstream() {
    let (app, _) = gateway().await;
    for path in [
        "/api/v1/projects%2f7",
        "/api/v1/projects/..%2f7",
        "/api/v1/projects/%00",
        "/API/v1/projects/7",
        "/api/v1/Projects/7",
    ] {
        let response = get_raw(&app, path, "");
        assert!(response.starts_with("HTTP/1.1 40") && !response.contains("\"target\""), "{path}: {response}");
    }
}
