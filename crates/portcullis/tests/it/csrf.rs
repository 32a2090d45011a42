//! The double-submit cookie as a browser meets it, on built-in and on proxied routes (docs/contract.md, "CSRF").

use reqwest::{Method, RequestBuilder};
use serde_json::json;

use crate::client::{Account, TestResponse, app, client, register, send};
use portcullis_testkit::{PASSWORD, TestApp, free_port};

const SAME_ORIGIN: (&str, &str) = ("sec-fetch-site", "same-origin");
const EVIL: &str = "https://evil.example";

/// The cookies of a browser that has signed in by cookie.
struct Browser {
    session: String,
    refresh: String,
}

impl Browser {
    async fn sign_in(app: &TestApp, account: &Account) -> Self {
        let response = send(sign_in_by_cookie(app, account, Some(&our_origin(app)))).await;
        assert_eq!(response.status, 200, "{}", response.body);
        assert!(response.body["data"]["tokens"]["accessToken"].is_null(), "no token reaches a script");
        let cookie = |name| response.cookie(name).expect("a cookie");
        Self { session: cookie("portcullis-session"), refresh: cookie("portcullis-refresh") }
    }

    fn session_cookie(&self) -> String {
        format!("portcullis-session={}", self.session)
    }

    /// The session cookie with a CSRF cookie.
    fn cookies_with(&self, token: &str) -> String {
        format!("{}; portcullis-csrf={token}", self.session_cookie())
    }

    async fn token(&self, app: &TestApp) -> String {
        fetch_token(app, &self.session_cookie()).await.0
    }
}

fn our_origin(app: &TestApp) -> String {
    app.url("").trim_end_matches('/').to_owned()
}

fn sign_in_by_cookie(app: &TestApp, account: &Account, origin: Option<&str>) -> RequestBuilder {
    let body = json!({ "email": account.email, "password": PASSWORD, "transport": "cookie" });
    let request = client().post(app.url("/api/auth/login")).json(&body);
    match origin {
        Some(origin) => request.header("origin", origin),
        None => request,
    }
}

/// Fetches a CSRF token, and the response that sets its cookies.
async fn fetch_token(app: &TestApp, cookies: &str) -> (String, TestResponse) {
    let response = send(client().get(app.url("/api/csrf-token")).header("cookie", cookies)).await;
    (response.body["data"]["csrfToken"].as_str().expect("a token").to_owned(), response)
}

/// Fetches a token without a session, and the cookies that go with it.
async fn fetch_pair(app: &TestApp) -> (String, String) {
    let (token, response) = fetch_token(app, "").await;
    assert_eq!(response.cookie("portcullis-csrf").as_deref(), Some(token.as_str()));
    let pre = response.cookie("portcullis-pre").expect("a pre-session");
    let cookies = format!("portcullis-csrf={token}; portcullis-pre={pre}");
    (token, cookies)
}

#[tokio::test]
async fn a_second_tab_gets_the_same_token() {
    let app = app().start();
    let (token, cookies) = fetch_pair(&app).await;
    assert_eq!(fetch_token(&app, &cookies).await.0, token);
}

#[tokio::test]
async fn auth_endpoints_need_no_csrf_token_with_a_bearer_token() {
    let app = app().start();
    let account = register(&app).await;
    let request = client().put(app.url("/api/v1/auth/profile")).bearer_auth(&account.access);
    assert_eq!(send(request.json(&json!({ "firstName": "Grace" }))).await.status, 200);
}

#[tokio::test]
async fn a_sign_in_by_cookie_needs_our_origin() {
    let app = app().start();
    let account = register(&app).await;
    for origin in [Some(EVIL), Some("null"), None] {
        let response = send(sign_in_by_cookie(&app, &account, origin)).await;
        assert_eq!((response.status, response.error()), (403, "Cross-site request refused"), "{origin:?}");
    }
    Browser::sign_in(&app, &account).await;
}

/// A change of the profile by cookie, with the token in the header.
async fn change_profile(app: &TestApp, cookies: &str, token: Option<&str>, site: Option<&str>) -> TestResponse {
    let mut request = client().put(app.url("/api/v1/auth/profile")).header("cookie", cookies);
    if let Some(token) = token {
        request = request.header("x-csrf-token", token);
    }
    if let Some(site) = site {
        request = request.header(SAME_ORIGIN.0, site);
    }
    send(request.json(&json!({ "firstName": "Grace" }))).await
}

#[tokio::test]
async fn sr_27_a_request_by_cookie_needs_the_token_pair() {
    let app = app().start();
    let account = register(&app).await;
    let browser = Browser::sign_in(&app, &account).await;
    let token = browser.token(&app).await;
    let change = async |cookies: &str, token: Option<&str>| {
        let response = change_profile(&app, cookies, token, Some(SAME_ORIGIN.1)).await;
        (response.status, response.error().to_owned(), response.body["message"].as_str().unwrap_or_default().to_owned())
    };
    let cookies = browser.cookies_with(&token);
    assert_eq!(change(&cookies, Some(&token)).await.0, 200);
    let message = "CSRF token validation failed. Please refresh and try again.";
    let refused = (403, "Invalid CSRF token".to_owned(), message.to_owned());
    assert_eq!(change(&browser.session_cookie(), Some(&token)).await, refused, "only in the header");
    assert_eq!(change(&cookies, None).await, refused, "only in the cookie");
    for wrong in ["", &"x".repeat(50_000), &format!("{token}0"), "a.b"] {
        assert_eq!(change(&cookies, Some(wrong)).await, refused, "{wrong:.70}");
    }
    let doubled = format!("{cookies}; portcullis-csrf={token}");
    assert_eq!(change(&doubled, Some(&token)).await, refused, "two cookies");
}

#[tokio::test]
async fn sr_27_a_request_by_cookie_needs_our_site() {
    let app = app().start();
    let account = register(&app).await;
    let browser = Browser::sign_in(&app, &account).await;
    let token = browser.token(&app).await;
    for site in [Some("cross-site"), Some("same-site"), None] {
        let response = change_profile(&app, &browser.cookies_with(&token), Some(&token), site).await;
        assert_eq!((response.status, response.error()), (403, "Cross-site request refused"), "{site:?}");
    }
}

#[tokio::test]
async fn sr_27_another_users_token_pair_is_refused() {
    let app = app().start();
    let browser = Browser::sign_in(&app, &register(&app).await).await;
    let other = Browser::sign_in(&app, &register(&app).await).await;
    let stolen = other.token(&app).await;
    let cookies = browser.cookies_with(&stolen);
    assert_eq!(change_profile(&app, &cookies, Some(&stolen), Some(SAME_ORIGIN.1)).await.status, 403);
}

fn refresh(app: &TestApp, browser: &Browser, origin: &str) -> RequestBuilder {
    let cookies = format!("{}; portcullis-refresh={}", browser.session_cookie(), browser.refresh);
    client().post(app.url("/api/v1/auth/refresh")).header("cookie", cookies).header("origin", origin)
}

#[tokio::test]
async fn a_refresh_by_cookie_needs_json_and_our_origin() {
    let app = app().start();
    let browser = Browser::sign_in(&app, &register(&app).await).await;
    assert_eq!(send(refresh(&app, &browser, &our_origin(&app)).body("x=1")).await.status, 415);
    assert_eq!(send(refresh(&app, &browser, EVIL).json(&json!({}))).await.error(), "Cross-site request refused");
}

#[tokio::test]
async fn a_refresh_by_cookie_keeps_the_csrf_token() {
    let app = app().start();
    let browser = Browser::sign_in(&app, &register(&app).await).await;
    let token = browser.token(&app).await;
    let response = send(refresh(&app, &browser, &our_origin(&app)).json(&json!({}))).await;
    assert_eq!(response.status, 200, "{}", response.body);
    let session = response.cookie("portcullis-session").expect("a new session cookie");
    assert_ne!(session, browser.session);
    let (after, _) = fetch_token(&app, &format!("portcullis-session={session}; portcullis-csrf={token}")).await;
    assert_eq!(after, token, "the session is the same one, so its token is still valid");
}

/// A gateway with one proxied route, whose upstream cannot be reached: a request that passes the gate gets 502.
fn app_with_a_proxied_route() -> TestApp {
    let port = free_port();
    let settings = format!(
        "[upstreams.u]\ntargets = [\"http://127.0.0.1:{port}\"]\n\
         [[routes]]\npath = \"/api/v1/things/{{*rest}}\"\nupstream = \"u\"\n"
    );
    app().settings(&settings).start()
}

#[tokio::test]
async fn a_proxied_route_refuses_a_request_without_a_token() {
    let app = app_with_a_proxied_route();
    let account = register(&app).await;
    let response = send(client().post(app.url("/api/v1/things/1")).bearer_auth(&account.access)).await;
    assert_eq!((response.status, response.error()), (403, "Invalid CSRF token"));
    assert!(response.body["details"]["hint"].as_str().is_some_and(|hint| hint.contains("cookie")), "{}", response.body);
}

#[tokio::test]
async fn a_proxied_route_finds_the_token_in_header_body_and_query() {
    let app = app_with_a_proxied_route();
    let account = register(&app).await;
    let (token, cookies) = fetch_pair(&app).await;
    let post = |query: &str| {
        let url = app.url(&format!("/api/v1/things/1{query}"));
        client().request(Method::POST, url).bearer_auth(&account.access).header("cookie", &cookies)
    };
    let form = post("").header("content-type", "application/x-www-form-urlencoded");
    for (place, request) in [
        ("header", post("").header("x-csrf-token", &token)),
        ("JSON", post("").json(&json!({ "_csrf": token, "x": 1 }))),
        ("form", form.body(format!("x=1&_csrf={token}"))),
        ("query", post(&format!("?_csrf={token}"))),
    ] {
        assert_eq!(send(request).await.status, 502, "{place}");
    }
}

#[tokio::test]
async fn a_proxied_route_needs_a_credential_beside_the_token() {
    let app = app_with_a_proxied_route();
    let (token, cookies) = fetch_pair(&app).await;
    let request = client().post(app.url("/api/v1/things/1")).header("cookie", cookies).header("x-csrf-token", token);
    assert_eq!(send(request).await.error(), "Access token is required");
}

/// The endpoints that the attacks below are tried on: a built-in one and a proxied one.
const TARGETS: [&str; 2] = ["/api/v1/users", "/api/v1/things/1"];

/// Two browsers of one user, and the CSRF token of each.
struct Attacked {
    app: TestApp,
    browser: Browser,
    token: String,
    other_token: String,
}

async fn attacked() -> Attacked {
    let app = app_with_a_proxied_route();
    let account = register(&app).await;
    let (browser, other) = (Browser::sign_in(&app, &account).await, Browser::sign_in(&app, &account).await);
    let (token, other_token) = (browser.token(&app).await, other.token(&app).await);
    Attacked { app, browser, token, other_token }
}

impl Attacked {
    fn post(&self, target: &str, cookies: &str) -> RequestBuilder {
        client().post(self.app.url(target)).header(SAME_ORIGIN.0, SAME_ORIGIN.1).header("cookie", cookies)
    }
}

#[tokio::test]
async fn sr_25_the_same_attacks_fail_on_built_in_and_proxied_routes() {
    let attacked = attacked().await;
    let (token, other) = (attacked.token.as_str(), attacked.other_token.as_str());
    let (stale, stale_cookies) = fetch_pair(&attacked.app).await;
    let forged = format!("{}.{}", "0".repeat(64), token.split('.').nth(1).expect("two parts"));
    let pair = |token: &str| attacked.browser.cookies_with(token);
    let from_before = format!("{}; {stale_cookies}", attacked.browser.session_cookie());
    for (attack, cookies, header, reason) in [
        ("a forged token", pair(&forged), Some(forged.as_str()), "forged"),
        ("another session's token", pair(other), Some(other), "forged"),
        ("a token from before the sign-in", from_before, Some(&stale), "forged"),
        ("another session's token in the header", pair(token), Some(other), "mismatch"),
        ("a token in the cookie only", pair(token), None, "no_token"),
        ("a token in the header only", attacked.browser.session_cookie(), Some(token), "no_cookie"),
        ("an empty header", pair(token), Some(""), "mismatch"),
        ("an empty pair", pair(""), Some(""), "forged"),
        ("two cookies", format!("{}; portcullis-csrf={other}", pair(token)), Some(token), "two_cookies"),
        ("the beginning of a token", pair(&token[..64]), Some(&token[..64]), "forged"),
    ] {
        for target in TARGETS {
            let request = attacked.post(target, &cookies).json(&json!({}));
            let request = header.into_iter().fold(request, |request, token| request.header("x-csrf-token", token));
            let response = send(request).await;
            assert_eq!((response.status, response.error()), (403, "Invalid CSRF token"), "{attack} on {target}");
            assert_eq!(response.body["details"]["reason"], reason, "{attack} on {target}");
        }
    }
}

#[tokio::test]
async fn sr_25_a_huge_token_is_refused() {
    let attacked = attacked().await;
    let cookies = attacked.browser.cookies_with(&attacked.token);
    let huge = "x".repeat(1 << 20);
    for target in TARGETS {
        let in_header = attacked.post(target, &cookies).header("x-csrf-token", &huge).json(&json!({}));
        assert_eq!(send(in_header).await.status, 431, "the head is too large: {target}");
        let in_body = send(attacked.post(target, &cookies).json(&json!({ "_csrf": huge[..900_000] }))).await;
        assert_eq!((in_body.status, in_body.error()), (403, "Invalid CSRF token"), "{target}");
    }
}

#[tokio::test]
async fn a_valid_pair_passes_on_built_in_and_proxied_routes() {
    let attacked = attacked().await;
    let cookies = attacked.browser.cookies_with(&attacked.token);
    for target in TARGETS {
        let request = attacked.post(target, &cookies).header("x-csrf-token", &attacked.token);
        let response = send(request.json(&json!({}))).await;
        assert!([400, 403, 502].contains(&response.status), "{target}: {}", response.body);
        assert_ne!(response.error(), "Invalid CSRF token", "{target}");
    }
}
