//! Upstreams that do not respond.

use super::gateway;
use crate::client::get;

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
