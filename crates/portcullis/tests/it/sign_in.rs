//! Signing in and out as a client sees it.

use portcullis_testkit::{PASSWORD, registration};
use reqwest::Method;
use serde_json::json;

use crate::client::{app, call, client, get, post, refused, register, send};

#[tokio::test]
async fn a_registration_answers_with_the_person_and_no_hash() {
    let app = app().start();
    let response = post(&app, "/api/auth/register", &registration("ada")).await;
    assert_eq!(response.status, 201, "{}", response.body);
    let data = &response.body["data"];
    assert_eq!(data["user"]["role"], "DEVELOPER");
    assert_eq!(data["user"]["isEmailVerified"], false);
    assert_eq!(data["requiresEmailVerification"], true);
    assert_eq!(data["tokens"]["tokenType"], "Bearer");
    assert_eq!(data["tokens"]["expiresIn"], 86_400);
    assert_eq!(response.body["path"], "/api/auth/register");
    let text = response.body.to_string();
    assert!(!text.contains("argon2") && !text.contains("verificationToken"), "{text}");
    for taken in [json!({"email": "ADA@example.com"}), json!({"username": "Ada"})] {
        let mut body = registration("grace");
        for (member, value) in taken.as_object().expect("an object") {
            body[member] = value.clone();
        }
        let response = post(&app, "/api/auth/register", &body).await;
        assert_eq!((response.status, response.error()), (409, "User already exists with this email or username"));
    }
    let mut body = registration("grace");
    body["confirmPassword"] = json!("something else");
    let response = post(&app, "/api/auth/register", &body).await;
    assert_eq!((response.status, response.error()), (400, "Passwords do not match"));
}

#[tokio::test]
async fn sr_22_an_access_token_dies_at_logout() {
    let app = app().start();
    let account = register(&app).await;
    let login =
        post(&app, "/api/auth/login", &json!({ "email": account.email.to_uppercase(), "password": PASSWORD })).await;
    let second = login.body["data"]["tokens"]["accessToken"].as_str().expect("a token").to_owned();
    assert_ne!(second, account.access);
    assert_eq!(call(&app, Method::POST, "/api/auth/logout", &second, None).await.status, 200);
    let response = call(&app, Method::GET, "/api/auth/profile", &second, None).await;
    assert_eq!((response.status, response.error()), (401, "Invalid token"));
    assert_eq!(
        call(&app, Method::GET, "/api/auth/profile", &account.access, None).await.status,
        200,
        "the other session lives"
    );
    let response = post(&app, "/api/auth/logout", &json!({ "refreshToken": account.refresh })).await;
    assert_eq!(response.status, 200, "a refresh token logs out too: {}", response.body);
    assert_eq!(call(&app, Method::GET, "/api/auth/profile", &account.access, None).await.status, 401);
    assert_eq!(post(&app, "/api/auth/logout", &json!({})).await.error(), "Access token is required");
}

#[tokio::test]
async fn logging_out_everywhere_ends_every_session() {
    let app = app().start();
    let account = register(&app).await;
    let login = post(&app, "/api/auth/login", &json!({ "email": account.email, "password": PASSWORD })).await;
    let second = login.body["data"]["tokens"]["accessToken"].as_str().expect("a token").to_owned();
    assert_eq!(call(&app, Method::POST, "/api/auth/logout", &second, Some(&json!({ "all": true }))).await.status, 200);
    for token in [&account.access, &second] {
        assert_eq!(call(&app, Method::GET, "/api/auth/profile", token, None).await.status, 401);
    }
}

#[tokio::test]
async fn sr_32_refresh_rotates_and_concurrent_ones_get_one_successor() {
    let app = app().start();
    let account = register(&app).await;
    let body = json!({ "refreshToken": account.refresh });
    let responses = futures_util::future::join_all((0..6).map(|_| post(&app, "/api/auth/refresh", &body))).await;
    let successors: std::collections::HashSet<_> = responses
        .iter()
        .map(|response| {
            assert_eq!(response.status, 200, "{}", response.body);
            response.body["data"]["tokens"]["refreshToken"].as_str().expect("a token").to_owned()
        })
        .collect();
    assert_eq!(successors.len(), 1);
    assert!(!successors.contains(&account.refresh));
    for bad in ["", "nonsense", &account.access] {
        let response = post(&app, "/api/auth/refresh", &json!({ "refreshToken": bad })).await;
        assert_eq!((response.status, response.error()), (401, "Invalid refresh token"), "{bad:.20}");
    }
}

#[tokio::test]
async fn a_user_reads_and_changes_the_profile_and_sessions() {
    let app = app().start();
    let account = register(&app).await;
    let change = json!({ "firstName": "Grace", "lastName": "Hopper", "avatar": "https://example.com/g.png", "role": "ADMIN", "email": "x@example.com" });
    let response = call(&app, Method::PUT, "/api/auth/profile", &account.access, Some(&change)).await;
    assert_eq!(response.status, 200, "{}", response.body);
    let user = &call(&app, Method::GET, "/api/auth/profile", &account.access, None).await.body["data"]["user"];
    assert_eq!(user["firstName"], "Grace");
    assert_eq!(user["avatar"], "https://example.com/g.png");
    assert_eq!(user["role"], "DEVELOPER");
    assert_eq!(user["email"], account.email);

    let login = post(&app, "/api/auth/login", &json!({ "email": account.email, "password": PASSWORD })).await;
    let second = login.body["data"]["tokens"]["accessToken"].as_str().expect("a token").to_owned();
    let list = call(&app, Method::GET, "/api/auth/sessions", &account.access, None).await;
    let sessions = list.body["data"]["sessions"].as_array().expect("a list").clone();
    assert_eq!(sessions.len(), 2);
    let other = sessions.iter().find(|session| session["current"] == false).expect("the other one");
    let path = format!("/api/auth/sessions/{}", other["id"].as_str().expect("an id"));
    let stranger = register(&app).await;
    assert_eq!(call(&app, Method::DELETE, &path, &stranger.access, None).await.status, 404, "not a stranger's to end");
    assert_eq!(call(&app, Method::DELETE, &path, &account.access, None).await.status, 200);
    assert_eq!(call(&app, Method::GET, "/api/auth/profile", &second, None).await.status, 401);
    assert_eq!(call(&app, Method::DELETE, "/api/auth/sessions/not-an-id", &account.access, None).await.status, 404);
}

#[tokio::test]
async fn versions_are_found_by_url_header_and_query() {
    let app = app().start();
    let response = get(&app, "/api/health").await;
    assert_eq!((response.status, response.header("x-api-version")), (200, "v1"));
    assert_eq!(get(&app, "/api/v9/health").await.error(), "Unsupported API version");
    assert_eq!(get(&app, "/api/v9/nope").await.status, 404);
    assert_eq!(get(&app, "/api/v0/health").await.error(), "Invalid API version");
    let header =
        |name: &'static str, value: &'static str| send(client().get(app.url("/api/health")).header(name, value));
    assert_eq!(header("accept-version", "v1").await.status, 200);
    let response = header("x-api-version", "v7").await;
    assert_eq!((response.status, response.error()), (400, "Unsupported API version"));
    assert_eq!(response.body["details"]["supportedVersions"], json!(["v1"]));
    assert_eq!(header("accept-version", "1").await.error(), "Invalid API version");
    assert_eq!(get(&app, "/api/health?api_version=V1").await.error(), "Invalid API version");
    let versions = get(&app, "/api/versions").await;
    assert_eq!(versions.body["data"]["current"], "v1");
    assert_eq!(versions.body["data"]["supported"], json!(["v1"]));
}

#[tokio::test]
async fn limits_count_by_address_and_say_when_to_return() {
    let app = app().env("PORTCULLIS__LIMITS__ENABLED", "true").env("PORTCULLIS__LIMITS__AUTH", "3/1m").start();
    let body = json!({ "email": "a@example.com", "password": "x" });
    for left in ["2", "1", "0"] {
        let response = post(&app, "/api/auth/login", &body).await;
        assert_eq!((response.status, response.header("x-ratelimit-remaining")), (401, left));
        assert_eq!(response.header("x-ratelimit-limit"), "3");
    }
    let response = post(&app, "/api/auth/login", &body).await;
    assert_eq!((response.status, response.error()), (429, "Too many requests"));
    assert!(
        response.header("retry-after").parse::<u64>().is_ok_and(|seconds| (1..=20).contains(&seconds)),
        "{:?}",
        response.headers
    );
    assert_eq!(get(&app, "/api/health").await.status, 200, "health is never limited");
}

#[tokio::test]
async fn cors_answers_allowed_origins_exactly_and_refusals_too() {
    let app = app().env("ALLOWED_ORIGINS", "https://app.example.com").start();
    let from = |origin: &'static str| send(client().get(app.url("/api/v1/nowhere")).header("origin", origin));
    let response = from("https://app.example.com").await;
    assert_eq!((response.status, response.header("access-control-allow-origin")), (404, "https://app.example.com"));
    assert_eq!(response.header("access-control-allow-credentials"), "true");
    for other in ["https://app.example.com.evil.example", "http://app.example.com", "null"] {
        assert_eq!(from(other).await.header("access-control-allow-origin"), "", "{other}");
    }
    let preflight = client()
        .request(Method::OPTIONS, app.url("/api/v1/auth/login"))
        .header("origin", "https://app.example.com")
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "content-type,x-csrf-token");
    let response = send(preflight).await;
    assert_eq!(response.status, 204, "{}", response.body);
    assert!(response.header("access-control-allow-headers").to_lowercase().contains("x-csrf-token"));
}

#[tokio::test]
async fn two_credentials_are_refused_and_open_routes_ignore_them() {
    let app = app().start();
    let account = register(&app).await;
    let both =
        client().get(app.url("/api/auth/profile")).bearer_auth(&account.access).header("x-api-key", "pk_whatever");
    assert_eq!(send(both).await.status, 400);
    let login = client()
        .post(app.url("/api/auth/login"))
        .bearer_auth("expired.or.nonsense")
        .json(&json!({ "email": account.email, "password": PASSWORD }));
    assert_eq!(send(login).await.status, 200);
    assert_eq!(get(&app, "/api/auth/profile").await.error(), "Access token is required");
    assert_eq!(call(&app, Method::GET, "/api/auth/profile", "nonsense", None).await.error(), "Invalid token");
    let lower =
        client().get(app.url("/api/auth/profile")).header("authorization", format!("bearer {}", account.access));
    assert_eq!(send(lower).await.status, 200);
}

#[tokio::test]
async fn sr_09_failed_sign_ins_are_slowed_down_with_a_time_to_wait() {
    let app = app().start();
    let ada = register(&app).await;
    let guess = json!({ "email": ada.email, "password": "a guess" });
    for _ in 0..5 {
        refused(&post(&app, "/api/v1/auth/login", &guess).await, 401, "Invalid credentials");
    }
    let slow = post(&app, "/api/v1/auth/login", &guess).await;
    refused(&slow, 429, "Too many requests");
    assert_eq!(slow.body["code"], "auth.throttled");
    assert!(matches!(slow.header("retry-after").parse::<u64>(), Ok(1..=2)), "{}", slow.header("retry-after"));
}
