//! Changing, forgetting and setting passwords as a client sees it.

use portcullis_testkit::{PASSWORD, TestApp};
use reqwest::Method;
use serde_json::{Value, json};

use crate::client::{TestResponse, app, call, client, get, post, register, send};

const NEW: &str = "a quite different secret";

fn change(current: &str, new: &str) -> Value {
    json!({ "currentPassword": current, "newPassword": new, "confirmPassword": new })
}

async fn login(app: &TestApp, email: &str, password: &str) -> TestResponse {
    post(app, "/api/v1/auth/login", &json!({ "email": email, "password": password })).await
}

async fn profile(app: &TestApp, token: &str) -> u16 {
    call(app, Method::GET, "/api/v1/auth/profile", token, None).await.status
}

/// The token of the next mail of this kind, as the development server prints it.
fn mailed(app: &TestApp, template: &str) -> String {
    let line = app.line_with(&format!("({template})"));
    line.split_once('#').expect("the token is in the fragment").1.to_owned()
}

/// The token of the next mail of this kind to this address.
pub(crate) fn mailed_to(app: &TestApp, template: &str, email: &str) -> String {
    loop {
        let line = app.line_with(&format!("({template})"));
        if line.contains(email) {
            return line.split_once('#').expect("the token is in the fragment").1.to_owned();
        }
    }
}

#[tokio::test]
async fn sr_05_a_password_change_needs_the_current_password() {
    let app = app().env("PORTCULLIS__CSRF__MODE", "cookie").start();
    let account = register(&app).await;
    let path = "/api/v1/auth/change-password";
    let other = login(&app, &account.email, PASSWORD).await;
    let other = other.body["data"]["tokens"]["accessToken"].as_str().expect("a token").to_owned();
    let try_change = async |body: Value| call(&app, Method::POST, path, &account.access, Some(&body)).await;
    assert_eq!(post(&app, path, &change(PASSWORD, NEW)).await.status, 401, "nobody is signed in");
    let wrong = try_change(change("a wrong password", NEW)).await;
    assert_eq!((wrong.status, wrong.error()), (400, "Current password is incorrect"));
    let short = try_change(change(PASSWORD, "short")).await;
    assert_eq!((short.status, short.error()), (400, "Validation failed"));
    assert_eq!(short.body["details"]["body"], json!(["Password must be 8 to 128 characters"]));
    let mut differing = change(PASSWORD, NEW);
    differing["confirmPassword"] = json!("something else");
    assert_eq!(try_change(differing).await.error(), "Passwords do not match");
    assert_eq!(profile(&app, &other).await, 200, "a refused change ended a session");

    let link = app.line_with("(verify_email)");
    let token = link.split('#').nth(1).expect("a token").trim();
    assert_eq!(post(&app, "/api/v1/auth/verify-email", &json!({ "token": token })).await.status, 200);
    let changed = try_change(change(PASSWORD, NEW)).await;
    assert_eq!((changed.status, &changed.body["data"]), (200, &Value::Null), "{}", changed.body);
    assert_eq!(profile(&app, &account.access).await, 200, "this session's access token died");
    assert_eq!(profile(&app, &other).await, 401, "another session's access token lives");
    let refreshed = post(&app, "/api/v1/auth/refresh", &json!({ "refreshToken": account.refresh })).await;
    assert_eq!(refreshed.status, 200, "{}", refreshed.body);
    assert_eq!(login(&app, &account.email, PASSWORD).await.status, 401);
    assert_eq!(login(&app, &account.email, NEW).await.status, 200);
    assert!(app.line_with("(password_changed)").contains(&account.email));
}

#[tokio::test]
async fn sr_12_a_forgotten_password_is_reset_once_by_the_mailed_link() {
    let app = app().start();
    let account = register(&app).await;
    let forgot = post(&app, "/api/v1/auth/forgot-password", &json!({ "email": account.email })).await;
    assert_eq!(forgot.status, 200, "{}", forgot.body);
    let token = mailed(&app, "reset_password");
    let path = "/api/v1/auth/reset-password";
    let body = json!({ "token": token, "newPassword": NEW, "confirmPassword": NEW });
    // A mail scanner that follows links spends nothing.
    assert_eq!(get(&app, &format!("{path}?token={token}")).await.status, 405);
    let reset = post(&app, path, &body).await;
    assert_eq!((reset.status, &reset.body["data"]), (200, &Value::Null), "no session begins: {}", reset.body);
    assert!(reset.headers.get("set-cookie").is_none());
    assert_eq!(profile(&app, &account.access).await, 401, "a session outlived the reset");
    assert_eq!(login(&app, &account.email, PASSWORD).await.status, 401);
    let signed_in = login(&app, &account.email, NEW).await;
    assert_eq!(signed_in.body["data"]["user"]["isEmailVerified"], true, "{}", signed_in.body);
    for token in [token.as_str(), "nonsense", ""] {
        let body = json!({ "token": token, "newPassword": NEW, "confirmPassword": NEW });
        let again = post(&app, path, &body).await;
        assert_eq!((again.status, again.error()), (400, "Invalid or expired reset token"));
        assert_eq!(again.body["code"], "auth.invalid_reset_token");
    }
}

#[tokio::test]
async fn sr_10_requested_mails_get_one_response_for_every_address() {
    let app = app().start();
    let account = register(&app).await;
    mailed(&app, "verify_email");
    for path in ["/api/v1/auth/forgot-password", "/api/v1/auth/resend-verification"] {
        let mut responses = Vec::new();
        for email in [account.email.as_str(), "nobody@example.com"] {
            let mut response = post(&app, path, &json!({ "email": email })).await;
            assert_eq!(response.status, 200, "{}", response.body);
            response.body["timestamp"] = Value::Null;
            let names: Vec<_> = response.headers.keys().map(ToString::to_string).collect();
            responses.push((response.body, names));
        }
        assert_eq!(responses[0], responses[1], "{path}");
    }
    let token = mailed(&app, "verify_email");
    let verified = post(&app, "/api/v1/auth/verify-email", &json!({ "token": token })).await;
    assert_eq!(verified.status, 200, "{}", verified.body);
}

#[tokio::test]
async fn sr_27_a_password_change_by_cookie_needs_the_csrf_pair() {
    let app = app().start();
    let account = register(&app).await;
    let origin = app.url("");
    let body = json!({ "email": account.email, "password": PASSWORD, "transport": "cookie" });
    let signed_in = send(client().post(app.url("/api/v1/auth/login")).header("origin", &origin).json(&body)).await;
    let session = signed_in.cookie("portcullis-session").expect("a session cookie");
    let cookie = format!("portcullis-session={session}");
    let change_with = |cookie: &str, csrf: &str| {
        let request = client().post(app.url("/api/v1/auth/change-password")).header("origin", &origin);
        send(request.header("cookie", cookie).header("x-csrf-token", csrf).json(&change(PASSWORD, NEW)))
    };
    let without = change_with(&cookie, "").await;
    assert_eq!((without.status, without.error()), (403, "Invalid CSRF token"));
    let pair = send(client().get(app.url("/api/csrf-token")).header("cookie", &cookie)).await;
    let csrf = pair.body["data"]["csrfToken"].as_str().expect("a token").to_owned();
    let both = format!("{cookie}; portcullis-csrf={}", pair.cookie("portcullis-csrf").expect("a cookie"));
    let changed = change_with(&both, &csrf).await;
    assert_eq!(changed.status, 200, "{}", changed.body);
    let mine = send(client().get(app.url("/api/v1/auth/profile")).header("cookie", &cookie)).await;
    assert_eq!(mine.status, 200, "the session that changed the password ended");
}
