//! Upstreams that do not respond.

use super::gateway;
use crate::client::{app, get};

#[tokio::test]
async fn a_missing_upstream_is_502_and_other_routes_go_on() {
    let (app, _) = gateway().await;
    let response = get(&app, "/api/v1/dead/x").await;
    assert_eq!((response.status, response.error()), (502, "Bad gateway"));
    assert!(response.body["requestId"].is_string());
    assert_eq!(get(&app, "/api/v1/open/x").await.status, 200);
}

#[tokio::test]
async fn an_upstream_that_does_not_respond_in_time_is_504() {
    let (app, _) = gateway().await;
    let response = get(&app, "/api/v1/open/never").await;
    assert_eq!((response.status, response.error()), (504, "Gateway timeout"));
}

#[tokio::test]
async fn an_upstream_whose_name_is_unknown_says_so() {
    // No name server is asked for a label of more than 63 characters.
    let name = format!("{}.invalid", "a".repeat(64));
    let app = app()
        .settings(&format!(
            "[upstreams.unknown]\ntargets = [\"http://{name}\"]\n[[routes]]\npath = \"/api/v1/x\"\nupstream = \"unknown\"\n\
             auth = \"none\"\n"
        ))
        .start();
    let response = get(&app, "/api/v1/x").await;
    assert_eq!((response.status, response.error()), (502, "Bad gateway"));
    assert_eq!(response.header("proxy-status"), "portcullis; error=dns_error");
    let line = app.log_line_with("an upstream did not answer a request");
    assert!(line.contains(&name) && line.contains("cannot be resolved; hint: check `targets`"), "{line}");
}
