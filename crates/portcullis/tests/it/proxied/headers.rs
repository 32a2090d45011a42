//! The headers of the request to the upstream and of the response to the client.

use portcullis_testkit::TestApp;
use reqwest::RequestBuilder;
use serde_json::Value;

use super::gateway;
use crate::client::{TestResponse, client, get, register, send};

/// Asks for `path` as a new user. The upstream's response says what it received.
async fn get_signed_in(
    app: &TestApp,
    path: &str,
    change: impl FnOnce(RequestBuilder) -> RequestBuilder,
) -> TestResponse {
    let account = register(app).await;
    let response = send(change(client().get(app.url(path)).bearer_auth(&account.access))).await;
    assert_eq!(response.status, 200, "{}", response.body);
    response
}

/// Returns the headers that the upstream receives for a user's request.
async fn received(change: impl FnOnce(RequestBuilder) -> RequestBuilder) -> Value {
    let (app, _) = gateway().await;
    get_signed_in(&app, "/api/v1/projects/7", change).await.body["headers"].clone()
}

#[tokio::test]
async fn an_upstream_is_told_the_user_and_no_credential() {
    let headers = received(|request| request).await;
    assert_eq!(headers["x-portcullis-role"], "DEVELOPER");
    assert!(headers["x-portcullis-user"].as_str().is_some_and(|id| id.len() == 36), "{headers}");
    assert!(headers["x-portcullis-session"].is_string());
    for removed in ["authorization", "x-api-key"] {
        assert!(headers[removed].is_null(), "{removed} in {headers}");
    }
}

#[tokio::test]
async fn a_client_cannot_forge_the_headers_of_identity() {
    let forged = |request: RequestBuilder| {
        request
            .header("x-portcullis-user", "forged")
            .header("x_portcullis_role", "ADMIN")
            .header("x-forwarded-for", "203.0.113.9")
    };
    let headers = received(forged).await;
    assert!(headers["x-portcullis-user"].as_str().is_some_and(|id| id.len() == 36), "{headers}");
    assert!(headers["x_portcullis_role"].is_null(), "{headers}");
    assert_eq!(headers["x-forwarded-for"], "127.0.0.1");
}

#[tokio::test]
async fn an_upstream_receives_no_hop_by_hop_header() {
    let headers = received(|request| request.header("connection", "keep-alive, x-hop").header("x-hop", "1")).await;
    assert!(headers["x-hop"].is_null(), "{headers}");
}

#[tokio::test]
async fn an_upstream_receives_the_cookies_of_others_only() {
    let cookies = "theirs=1; portcullis-csrf=abc; portcullis-pre=def";
    assert_eq!(received(|request| request.header("cookie", cookies)).await["cookie"], "theirs=1");
}

#[tokio::test]
async fn an_upstream_receives_the_query_without_the_csrf_token() {
    let (app, _) = gateway().await;
    let response = get_signed_in(&app, "/api/v1/projects/7/files?x=1&_csrf=secret&y=2", |request| request).await;
    assert_eq!(response.body["target"], "/projects/7/files?x=1&y=2");
}

#[tokio::test]
async fn an_upstream_and_its_client_see_the_same_request_id() {
    let (app, _) = gateway().await;
    let response = get_signed_in(&app, "/api/v1/projects/7", |request| request).await;
    let headers = &response.body["headers"];
    assert_eq!(headers["x-request-id"], response.header("x-request-id"));
    assert!(headers["traceparent"].is_string());
}

#[tokio::test]
async fn an_upstream_cannot_set_cookies_with_our_names() {
    let (app, _) = gateway().await;
    let response = get(&app, "/api/v1/open/x").await;
    let cookies: Vec<_> = response.headers.get_all("set-cookie").iter().collect();
    assert_eq!(cookies, ["theirs=1"]);
}

#[tokio::test]
async fn a_proxied_response_names_its_version() {
    let (app, _) = gateway().await;
    assert_eq!(get(&app, "/api/v1/open/x").await.header("x-api-version"), "v1");
}
