//! Invalid input to every endpoint that reads a body: a 4xx in the envelope, never a 5xx, and nothing is stored.

use reqwest::Method;
use serde_json::{Value, json};

use crate::client::{Account, TestResponse, app, call, client, get, post, register, send};
use portcullis_testkit::{TestApp, registration};

/// The endpoints that read a body, each with a member that must be a string.
const WITH_BODY: [(&str, &str, &str); 11] = [
    ("POST", "/api/v1/auth/register", "email"),
    ("POST", "/api/v1/auth/login", "email"),
    ("POST", "/api/v1/auth/refresh", "refreshToken"),
    ("POST", "/api/v1/auth/logout", "refreshToken"),
    ("POST", "/api/v1/auth/verify-email", "token"),
    ("POST", "/api/v1/auth/first-administrator", "token"),
    ("POST", "/api/v1/auth/resend-verification", "email"),
    ("POST", "/api/v1/auth/forgot-password", "email"),
    ("POST", "/api/v1/auth/reset-password", "token"),
    ("POST", "/api/v1/auth/change-password", "currentPassword"),
    ("PUT", "/api/v1/auth/profile", "firstName"),
];

/// Whether the endpoint needs a session; the others refuse or ignore one.
fn needs_session(path: &str) -> bool {
    path.ends_with("profile") || path.ends_with("change-password")
}

/// Sends a body to an endpoint, with a session where it needs one.
async fn send_body(
    app: &TestApp,
    user: &Account,
    endpoint: (&str, &str),
    content_type: &str,
    body: Vec<u8>,
) -> TestResponse {
    let (method, path) = endpoint;
    let request = client()
        .request(method.parse::<Method>().expect("a method"), app.url(path))
        .header("content-type", content_type)
        .body(body);
    send(if needs_session(path) { request.bearer_auth(&user.access) } else { request }).await
}

/// Invalid bodies for an endpoint, each with what is wrong with it.
fn invalid_bodies(member: &str) -> Vec<(&'static str, Vec<u8>)> {
    let deep = format!("{{\"x\":{}{}}}", "[".repeat(10_000), "]".repeat(10_000));
    let long = "a".repeat(1_000_000);
    vec![
        ("cut JSON", b"{\"email\":".to_vec()),
        ("not an object", b"[1,2]".to_vec()),
        ("text", b"\"hello\"".to_vec()),
        ("mistyped", format!("{{\"{member}\":5}}").into_bytes()),
        ("mistyped object", format!("{{\"{member}\":{{\"a\":1}}}}").into_bytes()),
        ("1 MB text", format!("{{\"{member}\":\"{long}\"}}").into_bytes()),
        ("over 1 MB", format!("{{\"{member}\":\"{long}{long}\"}}").into_bytes()),
        ("NUL", format!("{{\"{member}\":\"a\\u0000b\"}}").into_bytes()),
        ("raw NUL", b"{\"email\":\"a\0b\"}".to_vec()),
        ("invalid UTF-8", [&b"{\"email\":\""[..], &[0xff, 0xfe], b"\"}"].concat()),
        ("lone surrogate", format!("{{\"{member}\":\"\\ud800\"}}").into_bytes()),
        ("10,000 deep", deep.into_bytes()),
        ("a member twice", format!("{{\"{member}\":\"a\",\"{member}\":\"b\"}}").into_bytes()),
    ]
}

#[tokio::test]
async fn invalid_bodies_are_4xx_and_store_nothing() {
    let app = app().env("PORTCULLIS__CSRF__MODE", "cookie").start();
    let user = register(&app).await;
    for (method, path, member) in WITH_BODY {
        for (what, body) in invalid_bodies(member) {
            let response = send_body(&app, &user, (method, path), "application/json", body).await;
            assert!((400..500).contains(&response.status), "{path} with {what}: {} {}", response.status, response.body);
            assert_envelope(&response.body, response.status, path);
        }
    }
    let users = app.command(&["users", "list", "--json"]).output().expect("the command runs");
    let users: Value = serde_json::from_slice(&users.stdout).expect("a list in JSON");
    assert_eq!(users["users"].as_array().map(Vec::len), Some(1), "{users}");
}

#[tokio::test]
async fn bodies_that_are_not_json_are_415() {
    let app = app().env("PORTCULLIS__CSRF__MODE", "cookie").start();
    let user = register(&app).await;
    for (method, path, _) in WITH_BODY {
        for kind in
            ["text/plain", "application/xml", "multipart/form-data; boundary=x", "application/x-www-form-urlencoded"]
        {
            let response = send_body(&app, &user, (method, path), kind, b"{\"a\":1}".to_vec()).await;
            assert_eq!(response.status, 415, "{path} as {kind}: {}", response.body);
            assert_eq!(response.error(), "Unsupported media type");
        }
    }
}

#[tokio::test]
async fn an_empty_object_names_every_missing_member() {
    let app = app().start();
    let response = post(&app, "/api/v1/auth/register", &json!({})).await;
    assert_eq!((response.status, response.error()), (400, "Validation failed"));
    let problems = response.body["details"]["body"].as_array().expect("a list of sentences").clone();
    for member in ["email", "username", "firstName", "lastName", "password", "confirmPassword"] {
        assert!(problems.iter().any(|p| p.as_str().is_some_and(|p| p.contains(member))), "{member} in {problems:?}");
    }
}

#[tokio::test]
async fn a_missing_body_is_a_validation_error() {
    let app = app().start();
    let response = send(client().post(app.url("/api/v1/auth/login")).header("content-type", "application/json")).await;
    assert_eq!((response.status, response.error()), (400, "Validation failed"));
}

#[tokio::test]
async fn a_login_with_any_wrong_password_is_401() {
    let app = app().start();
    let user = register(&app).await;
    for password in ["", " ", "\u{0}", &"x".repeat(5000), "🦀"] {
        let response = post(&app, "/api/v1/auth/login", &json!({"email": user.email, "password": password})).await;
        assert_eq!((response.status, response.error()), (401, "Invalid credentials"), "{password:.10}");
    }
}

#[tokio::test]
async fn a_login_without_email_or_password_is_400() {
    let app = app().start();
    for body in [json!({"email": "a@example.com"}), json!({"password": "x"}), json!({"email": 1, "password": "x"})] {
        assert_eq!(post(&app, "/api/v1/auth/login", &body).await.status, 400, "{body}");
    }
}

#[tokio::test]
async fn a_logout_with_what_is_no_token_ends_nothing() {
    let app = app().start();
    let user = register(&app).await;
    for text in ["a\0b", &"a".repeat(5000)] {
        let body = json!({ "refreshToken": text, "all": true });
        let refused = call(&app, Method::POST, "/api/v1/auth/logout", &user.access, Some(&body)).await;
        assert_eq!((refused.status, refused.error()), (400, "Validation failed"), "{text:.10}: {}", refused.body);
        let profile = call(&app, Method::GET, "/api/v1/auth/profile", &user.access, None).await;
        assert_eq!(profile.status, 200, "{text:.10}: {}", profile.body);
    }
}

#[tokio::test]
async fn a_registration_that_breaks_a_rule_is_400() {
    let app = app().start();
    for (member, value) in [
        ("email", "not an address"),
        ("email", "a@b@example.com"),
        ("username", "no spaces allowed"),
        ("username", "ab"),
        ("firstName", ""),
        ("lastName", &"x".repeat(51)),
        ("password", "short"),
    ] {
        let mut body = registration("grace");
        body[member] = json!(value);
        if member == "password" {
            body["confirmPassword"] = json!(value);
        }
        let response = post(&app, "/api/v1/auth/register", &body).await;
        assert_eq!(
            (response.status, response.error()),
            (400, "Validation failed"),
            "{member} = {value:?}: {}",
            response.body
        );
    }
}

#[tokio::test]
async fn an_unknown_path_is_404() {
    let app = app().start();
    let response = get(&app, "/api/v1/nothing/here").await;
    assert_eq!((response.status, response.error()), (404, "Route not found"));
    assert_envelope(&response.body, 404, "/api/v1/nothing/here");
}

#[tokio::test]
async fn a_method_that_a_route_lacks_is_405() {
    let app = app().start();
    let response = send(client().delete(app.url("/api/v1/auth/login"))).await;
    assert_eq!((response.status, response.error(), response.header("allow")), (405, "Method not allowed", "POST"));
}

#[tokio::test]
async fn accept_problem_json_gets_a_problem_document() {
    let app = app().start();
    let request = client()
        .get(app.url("/api/v1/auth/profile"))
        .header("accept", "application/problem+json, application/json;q=0.5");
    let response = send(request).await;
    assert_eq!((response.status, response.header("content-type")), (401, "application/problem+json"));
    assert_eq!(response.body["code"], "auth.token_required");
    let link = response.body["type"].as_str().expect("a type").to_owned();
    assert_eq!(link, "/api/docs#auth.token_required");
    let page = get(&app, link.split('#').next().expect("a path")).await;
    assert!(page.body.as_str().is_some_and(|page| page.contains("<tr id=\"auth.token_required\">")));
    assert_eq!(response.body["requestId"], response.header("x-request-id"));
}

fn assert_envelope(body: &Value, status: u16, path: &str) {
    assert_eq!(body["success"], false, "{body}");
    assert_eq!(body["statusCode"], status, "{body}");
    assert_eq!(body["path"], path, "{body}");
    for member in ["error", "message", "code", "requestId", "timestamp"] {
        assert!(body[member].as_str().is_some_and(|text| !text.is_empty()), "{member} in {body}");
    }
}
