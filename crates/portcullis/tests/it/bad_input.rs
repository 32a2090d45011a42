//! Every endpoint against what it should never accept: a 4xx in the envelope,
//! never a 5xx, and nothing stored.

use reqwest::Method;
use serde_json::{Value, json};

use crate::client::{app, client, get, post, register, send};
use portcullis_testkit::person;

/// The endpoints that read a body, with a member that each needs as a text.
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

/// Elsewhere a session would only be in the way.
fn needs_somebody(path: &str) -> bool {
    path.ends_with("profile") || path.ends_with("change-password")
}

#[tokio::test]
async fn bad_bodies_are_refused_in_the_envelope_and_store_nothing() {
    let app = app().env("PORTCULLIS__CSRF__MODE", "cookie").start();
    let account = register(&app).await;
    let deep = format!("{{\"x\":{}{}}}", "[".repeat(10_000), "]".repeat(10_000));
    let long = "a".repeat(1_000_000);
    for (method, path, member) in WITH_BODY {
        let bodies: Vec<(&str, Vec<u8>)> = vec![
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
            ("10,000 deep", deep.clone().into_bytes()),
            ("a member twice", format!("{{\"{member}\":\"a\",\"{member}\":\"b\"}}").into_bytes()),
        ];
        for (what, body) in bodies {
            let request = client()
                .request(method.parse::<Method>().expect("a method"), app.url(path))
                .header("content-type", "application/json")
                .body(body);
            let request = if needs_somebody(path) { request.bearer_auth(&account.access) } else { request };
            let answer = send(request).await;
            assert!((400..500).contains(&answer.status), "{path} with {what}: {} {}", answer.status, answer.body);
            assert_envelope(&answer.body, answer.status, path);
        }
        for kind in
            ["text/plain", "application/xml", "multipart/form-data; boundary=x", "application/x-www-form-urlencoded"]
        {
            let request = client()
                .request(method.parse::<Method>().expect("a method"), app.url(path))
                .header("content-type", kind)
                .body("{\"a\":1}");
            let request = if needs_somebody(path) { request.bearer_auth(&account.access) } else { request };
            let answer = send(request).await;
            assert_eq!(answer.status, 415, "{path} as {kind}: {}", answer.body);
            assert_eq!(answer.error(), "Unsupported media type");
        }
    }
    let users = app.command(&["users", "list", "--json"]).output().expect("the command runs");
    let users: Value = serde_json::from_slice(&users.stdout).expect("a list in JSON");
    assert_eq!(users["users"].as_array().map(Vec::len), Some(1), "{users}");
}

#[tokio::test]
async fn an_empty_body_names_what_is_missing() {
    let app = app().start();
    let answer = post(&app, "/api/v1/auth/register", &json!({})).await;
    assert_eq!((answer.status, answer.error()), (400, "Validation failed"));
    let problems = answer.body["details"]["body"].as_array().expect("a list of sentences").clone();
    for member in ["email", "username", "firstName", "lastName", "password", "confirmPassword"] {
        assert!(problems.iter().any(|p| p.as_str().is_some_and(|p| p.contains(member))), "{member} in {problems:?}");
    }
    let answer = send(client().post(app.url("/api/v1/auth/login")).header("content-type", "application/json")).await;
    assert_eq!((answer.status, answer.error()), (400, "Validation failed"));
}

#[tokio::test]
async fn at_login_any_text_is_a_password_and_a_missing_one_is_a_mistake() {
    let app = app().start();
    register(&app).await;
    for password in ["", " ", "\u{0}", &"x".repeat(5000), "🦀"] {
        let answer =
            post(&app, "/api/v1/auth/login", &json!({"email": "person1@example.com", "password": password})).await;
        assert_eq!((answer.status, answer.error()), (401, "Invalid credentials"), "{password:.10}");
    }
    for body in [json!({"email": "a@example.com"}), json!({"password": "x"}), json!({"email": 1, "password": "x"})] {
        assert_eq!(post(&app, "/api/v1/auth/login", &body).await.status, 400, "{body}");
    }
}

#[tokio::test]
async fn values_that_break_a_rule_are_told_in_sentences() {
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
        let mut body = person("somebody");
        body[member] = json!(value);
        if member == "password" {
            body["confirmPassword"] = json!(value);
        }
        let answer = post(&app, "/api/v1/auth/register", &body).await;
        assert_eq!(
            (answer.status, answer.error()),
            (400, "Validation failed"),
            "{member} = {value:?}: {}",
            answer.body
        );
    }
}

#[tokio::test]
async fn unknown_routes_and_methods_are_told_before_anything_else() {
    let app = app().start();
    let answer = get(&app, "/api/v1/nothing/here").await;
    assert_eq!((answer.status, answer.error()), (404, "Route not found"));
    assert_envelope(&answer.body, 404, "/api/v1/nothing/here");
    let answer = send(client().delete(app.url("/api/v1/auth/login"))).await;
    assert_eq!((answer.status, answer.error(), answer.header("allow")), (405, "Method not allowed", "POST"));
}

#[tokio::test]
async fn a_client_that_prefers_problem_documents_gets_them() {
    let app = app().start();
    let request = client()
        .get(app.url("/api/v1/auth/profile"))
        .header("accept", "application/problem+json, application/json;q=0.5");
    let answer = send(request).await;
    assert_eq!((answer.status, answer.header("content-type")), (401, "application/problem+json"));
    assert_eq!(answer.body["code"], "auth.token_required");
    assert_eq!(answer.body["requestId"], answer.header("x-request-id"));
}

#[test]
fn sr_39_ambiguous_framing_is_answered_400_and_the_connection_closed() {
    let app = app().start();
    for head in [
        "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
        "Content-Length: 3\r\nContent-Length: 4\r\n",
        "Content-Length: +3\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "X-Folded: a\r\n b\r\n",
    ] {
        let request = format!("POST /api/v1/auth/login HTTP/1.1\r\nHost: localhost\r\n{head}\r\nabc");
        let again = "GET /api/health HTTP/1.1\r\nHost: localhost\r\n\r\n";
        let answer = crate::client::raw(&app, format!("{request}{again}").as_bytes());
        assert!(answer.starts_with("HTTP/1.1 400"), "{head:?}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "the connection went on after {head:?}: {answer}");
    }
}

fn assert_envelope(body: &Value, status: u16, path: &str) {
    assert_eq!(body["success"], false, "{body}");
    assert_eq!(body["statusCode"], status, "{body}");
    assert_eq!(body["path"], path, "{body}");
    for member in ["error", "message", "code", "requestId", "timestamp"] {
        assert!(body[member].as_str().is_some_and(|text| !text.is_empty()), "{member} in {body}");
    }
}
