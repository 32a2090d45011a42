//! What a proxied route requires of its callers.

use reqwest::Method;

use super::gateway;
use crate::client::{call, client, get, register, send};

#[tokio::test]
async fn the_role_and_permissions_of_a_route_are_required() {
    let (app, _) = gateway().await;
    let account = register(&app).await;
    for (method, path, status) in [
        (Method::GET, "/api/v1/managers/x", 403),
        (Method::GET, "/api/v1/permitted/x", 200),
        (Method::PUT, "/api/v1/permitted/x", 403),
    ] {
        let response = call(&app, method.clone(), path, &account.access, None).await;
        assert_eq!(response.status, status, "{method} {path}");
        assert!(status == 200 || response.error() == "Insufficient permissions", "{method} {path}");
    }
}

#[tokio::test]
async fn the_rate_limit_of_a_route_is_enforced() {
    let (app, _) = gateway().await;
    for _ in 0..3 {
        assert_eq!(get(&app, "/api/v1/limited/x").await.status, 200);
    }
    let response = get(&app, "/api/v1/limited/x").await;
    assert_eq!((response.status, response.error()), (429, "Too many requests"));
    assert!(response.header("retry-after").parse::<u64>().is_ok_and(|seconds| seconds > 0));
    assert_eq!(response.header("x-ratelimit-remaining"), "0");
}

#[tokio::test]
async fn a_body_over_the_limit_of_its_route_is_413() {
    let (app, _) = gateway().await;
    let response = send(client().post(app.url("/api/v1/open/upload")).body(vec![0u8; 2000])).await;
    assert_eq!((response.status, response.error()), (413, "Payload too large"));
}
