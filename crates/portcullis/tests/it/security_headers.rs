//! The security headers of responses (SR-29), and the API's description of itself.

use portcullis_testkit::TestApp;

use crate::client::{app, client, get, send};
use crate::proxied::upstream;

/// A gateway with HSTS, a route to an upstream with the security headers and one without.
async fn gateway() -> TestApp {
    let (upstream, _) = upstream().await;
    let settings = format!(
        "[headers]\nhsts = \"365d\"\n[upstreams.u]\ntargets = [\"http://{upstream}\"]\n\
         [[routes]]\npath = \"/api/v1/with/{{*rest}}\"\nupstream = \"u\"\nauth = \"none\"\n\
         [[routes]]\npath = \"/api/v1/without/{{*rest}}\"\nupstream = \"u\"\nauth = \"none\"\nsecurity_headers = false\n"
    );
    app().settings(&settings).start()
}

#[tokio::test]
async fn sr_29_every_response_has_the_security_headers() {
    let app = gateway().await;
    for path in ["/api/v1/health", "/api/v1/nowhere", "/api/v1/auth/profile", "/metrics", "/api/v1/with/x", "/api/%2f"]
    {
        let response = get(&app, path).await;
        for (name, value) in [
            ("strict-transport-security", "max-age=31536000"),
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "strict-origin-when-cross-origin"),
            ("content-security-policy", "frame-ancestors 'none'"),
            ("x-frame-options", "DENY"),
        ] {
            assert_eq!(response.header(name), value, "{path}: {name}");
        }
    }
}

#[tokio::test]
async fn sr_29_an_upstreams_own_policy_is_kept() {
    let app = gateway().await;
    let framed = get(&app, "/api/v1/with/framed").await;
    assert_eq!(framed.header("content-security-policy"), "frame-ancestors https://partner.example");
    assert_eq!((framed.header("x-frame-options"), framed.header("x-content-type-options")), ("", "nosniff"));
}

#[tokio::test]
async fn sr_29_a_route_can_leave_the_security_headers_out() {
    let app = gateway().await;
    let response = get(&app, "/api/v1/without/x").await;
    assert_eq!((response.status, response.header("x-content-type-options")), (200, ""));
}

#[tokio::test]
async fn sr_29_the_setup_page_keeps_its_own_policy() {
    let app = gateway().await;
    assert!(get(&app, "/setup").await.header("content-security-policy").contains("script-src 'sha256-"));
}

#[tokio::test]
async fn the_openapi_document_is_served_with_an_etag() {
    let app = app().start();
    for path in ["/api/docs.json", "/api/v1/docs.json"] {
        let document = get(&app, path).await;
        assert_eq!((document.status, document.header("content-type")), (200, "application/json"));
        assert_eq!(document.body["openapi"], "3.1.0");
        assert!(document.body["paths"]["/api/v1/auth/login"]["post"]["responses"]["401"].is_object());
        let etag = document.header("etag").to_owned();
        let unchanged = send(client().get(app.url(path)).header("if-none-match", &etag)).await;
        assert_eq!((unchanged.status, unchanged.header("etag")), (304, etag.as_str()));
        assert_eq!(unchanged.body, "");
    }
}

#[tokio::test]
async fn the_api_page_lists_the_endpoints() {
    let app = app().start();
    let page = get(&app, "/api/docs").await;
    assert_eq!((page.status, page.header("content-type")), (200, "text/html; charset=utf-8"));
    assert!(page.header("content-security-policy").starts_with("default-src 'none'"), "{:?}", page.headers);
    let text = page.body.as_str().expect("a page");
    assert!(text.contains("Sign in") && text.contains("/api/v1/auth/login"));
}
