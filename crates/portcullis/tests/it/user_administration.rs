//! The users API as clients see it (docs/contract.md, "Users, audit log and API keys").

use portcullis_testkit::TestApp;
use reqwest::Method;
use serde_json::{Value, json};

use crate::client::{TestResponse, call, client, id_of, refused, register, send};
use crate::shell_users::{administrator, bearer_gateway};

/// A gateway and its administrator.
struct Administration {
    app: TestApp,
    token: String,
}

impl Administration {
    async fn start() -> Self {
        let app = bearer_gateway().start();
        let token = administrator(&app).await;
        Self { app, token }
    }

    /// Calls the API as the administrator. The path is below `/api/v1`.
    async fn call(&self, method: Method, path: &str, body: Option<Value>) -> TestResponse {
        call(&self.app, method, &format!("/api/v1/{path}"), &self.token, body.as_ref()).await
    }

    async fn get(&self, path: &str) -> TestResponse {
        self.call(Method::GET, path, None).await
    }

    async fn put(&self, path: &str, body: Value) -> TestResponse {
        self.call(Method::PUT, path, Some(body)).await
    }

    /// Invites [`ben`] and returns his id.
    async fn invite_ben(&self) -> String {
        let invited = self.call(Method::POST, "users", Some(ben())).await;
        assert_eq!(invited.status, 201, "{}", invited.body);
        invited.body["data"]["user"]["id"].as_str().expect("an id").to_owned()
    }
}

/// An invitation.
fn ben() -> Value {
    json!({ "email": "Ben@Example.com", "username": "Ben42", "firstName": "Ben", "lastName": "Franklin", "role": "TESTER" })
}

/// How many users a list has.
fn users_in(list: &TestResponse) -> usize {
    list.body["data"]["users"].as_array().unwrap_or_else(|| panic!("no list: {}", list.body)).len()
}

#[tokio::test]
async fn an_invited_user_gets_a_mail_and_exists_once() {
    let admin = Administration::start().await;
    let invited = admin.call(Method::POST, "users", Some(ben())).await;
    assert_eq!(invited.status, 201, "{}", invited.body);
    let user = &invited.body["data"]["user"];
    assert_eq!((&user["email"], &user["role"]), (&json!("ben@example.com"), &json!("TESTER")));
    assert!(admin.app.line_with("(invitation)").contains("ben@example.com"));
    let again = admin.call(Method::POST, "users", Some(ben())).await;
    refused(&again, 409, "User already exists with this email or username");
}

#[tokio::test]
async fn users_are_listed_in_pages_newest_first() {
    let admin = Administration::start().await;
    let id = admin.invite_ben().await;
    let first = admin.get("users?limit=1&page=1").await;
    assert_eq!(first.body["data"]["users"][0]["id"], json!(id));
    let pagination = &first.body["data"]["pagination"];
    let next = pagination["next"].as_str().expect("another page");
    let expected = json!({ "page": 1, "limit": 1, "total": 2, "totalIsCapped": false, "pages": 2, "next": next });
    assert_eq!(*pagination, expected);
    let last = admin.get(&format!("users?limit=1&cursor={next}")).await;
    assert_ne!(last.body["data"]["users"][0]["id"], json!(id));
    assert_eq!((&last.body["data"]["pagination"]["next"], users_in(&last)), (&Value::Null, 1));
    assert_eq!(users_in(&admin.get("users?page=3").await), 0, "behind the last page");
}

#[tokio::test]
async fn far_pages_are_reached_by_cursor_only() {
    let admin = Administration::start().await;
    for (query, why) in [
        ("page=1002&limit=100", "cursor"),
        ("page=100001&limit=1", "cursor"),
        ("cursor=nonsense", "cursor must be pagination.next of another page"),
        ("cursor=&page=2", "cursor"),
    ] {
        for list in ["users", "audit-logs"] {
            let refused = admin.get(&format!("{list}?{query}")).await;
            assert_eq!(refused.status, 400, "{query}: {}", refused.body);
            let problems = refused.body["details"]["query"].to_string();
            assert!(problems.contains(why), "{query}: {problems}");
        }
    }
    assert_eq!(admin.get("users?page=1000&limit=100").await.status, 200);
}

#[tokio::test]
async fn the_list_of_users_is_filtered() {
    let admin = Administration::start().await;
    admin.invite_ben().await;
    for (query, count) in [
        ("role=ADMIN", 1),
        ("search=BEN%4", 0),
        ("search=ben", 1),
        ("isActive=false", 0),
        ("isActive=true&role=TESTER", 1),
    ] {
        let listed = admin.get(&format!("users?{query}")).await;
        assert_eq!(users_in(&listed), count, "{query}: {}", listed.body);
    }
}

#[tokio::test]
async fn an_invalid_query_for_users_tells_its_problem() {
    let admin = Administration::start().await;
    for query in [
        "page=-1",
        "page=0",
        "limit=0",
        "limit=1000000000",
        "limit=101",
        "page=x",
        "role=admin",
        "isActive=yes",
        "page=%00",
    ] {
        let listed = admin.get(&format!("users?{query}")).await;
        refused(&listed, 400, "Validation failed");
        assert_eq!(listed.body["details"]["query"].as_array().map(Vec::len), Some(1), "{}", listed.body);
    }
}

#[tokio::test]
async fn a_user_is_shown_without_secrets() {
    let admin = Administration::start().await;
    let id = admin.invite_ben().await;
    let shown = admin.get(&format!("users/{id}")).await;
    let user = &shown.body["data"]["user"];
    assert_eq!((&user["rolePermissions"], &user["customPermissions"]), (&json!([]), &json!([])));
    assert!(!shown.body.to_string().contains("argon2") && user["allPermissions"].is_array());
}

#[tokio::test]
async fn an_unknown_user_is_not_found() {
    let admin = Administration::start().await;
    for unknown_user in ["11111111-1111-4111-8111-111111111111", "not-a-uuid", "%00", "1"] {
        for (method, rest, body) in [
            (Method::GET, "", None),
            (Method::PUT, "", Some(json!({ "firstName": "X" }))),
            (Method::PUT, "/role", Some(json!({ "role": "VIEWER" }))),
            (Method::GET, "/permissions", None),
            (Method::DELETE, "", None),
        ] {
            let response = admin.call(method.clone(), &format!("users/{unknown_user}{rest}"), body).await;
            assert!(matches!(response.status, 404 | 400), "{method} {unknown_user}{rest}: {}", response.body);
        }
    }
}

#[tokio::test]
async fn an_edit_changes_what_it_names() {
    let admin = Administration::start().await;
    let path = format!("users/{}", admin.invite_ben().await);
    let edited = admin.put(&path, json!({ "firstName": "Benjamin", "isActive": false })).await;
    let user = &edited.body["data"]["user"];
    assert_eq!((&user["firstName"], &user["isActive"]), (&json!("Benjamin"), &json!(false)), "{}", edited.body);
    assert_eq!(user["lastName"], "Franklin");
    refused(&admin.put(&path, json!({ "isActive": "no" })).await, 400, "Validation failed");
}

#[tokio::test]
async fn a_deleted_user_is_gone() {
    let admin = Administration::start().await;
    let path = format!("users/{}", admin.invite_ben().await);
    assert_eq!(admin.call(Method::DELETE, &path, None).await.status, 200);
    assert_eq!(admin.get(&path).await.status, 404);
}

#[tokio::test]
async fn the_last_administrator_cannot_leave() {
    let admin = Administration::start().await;
    let mine = admin.get("auth/profile").await;
    let own = format!("users/{}", mine.body["data"]["user"]["id"].as_str().expect("an id"));
    refused(&admin.call(Method::DELETE, &own, None).await, 409, "Last administrator");
    refused(&admin.put(&own, json!({ "isActive": false })).await, 409, "Last administrator");
    let demoted = admin.put(&format!("{own}/role"), json!({ "role": "VIEWER" })).await;
    refused(&demoted, 403, "Insufficient permissions");
}

#[tokio::test]
async fn sr_35_roles_and_permissions_take_effect_at_once() {
    let app = bearer_gateway().start();
    let root = administrator(&app).await;
    let ada = register(&app).await;
    let id = id_of(&app, &ada).await;
    let as_ada = async |path: &str| call(&app, Method::GET, path, &ada.access, None).await.status;
    assert_eq!(as_ada("/api/v1/users").await, 403, "SR-61: anybody may become a DEVELOPER");
    assert_eq!(as_ada("/api/v1/audit-logs").await, 403);
    let permissions = format!("/api/v1/users/{id}/permissions");
    let admin =
        async |method: Method, path: &str, body: Option<Value>| call(&app, method, path, &root, body.as_ref()).await;
    assert_eq!(admin(Method::POST, &format!("{permissions}/SYSTEM_VIEW_AUDIT_LOGS"), None).await.status, 200);
    assert_eq!(as_ada("/api/v1/audit-logs").await, 200);
    let held = admin(Method::GET, &permissions, None).await;
    assert_eq!(held.body["data"]["customPermissions"], json!(["SYSTEM_VIEW_AUDIT_LOGS"]));
    assert_eq!(held.body["data"]["allPermissions"].as_array().map(Vec::len), Some(1), "{}", held.body);
    assert_eq!(admin(Method::DELETE, &format!("{permissions}/SYSTEM_VIEW_AUDIT_LOGS"), None).await.status, 200);
    assert_eq!(as_ada("/api/v1/audit-logs").await, 403);
    let set = admin(Method::PUT, &permissions, Some(json!({ "permissions": ["SYSTEM_VIEW_AUDIT_LOGS"] }))).await;
    assert_eq!((set.status, as_ada("/api/v1/audit-logs").await), (200, 200), "{}", set.body);
    for bad in [
        json!({}),
        json!({ "permissions": "USER_VIEW" }),
        json!({ "permissions": [1] }),
        json!({ "permissions": ["NO_SUCH"] }),
        json!({ "permissions": ["x"] }),
    ] {
        refused(&admin(Method::PUT, &permissions, Some(bad)).await, 400, "Validation failed");
    }
    refused(&admin(Method::POST, &format!("{permissions}/nonsense"), None).await, 400, "Validation failed");
    let role = format!("/api/v1/users/{id}/role");
    assert_eq!(admin(Method::PUT, &role, Some(json!({ "role": "VIEWER" }))).await.status, 200);
    assert_eq!(as_ada("/api/v1/users").await, 403, "the session knows, the token does not");
    refused(&admin(Method::PUT, &role, Some(json!({ "role": "BOSS" }))).await, 400, "Validation failed");
    let all = admin(Method::GET, "/api/v1/users/permissions/all", None).await;
    assert_eq!(all.body["data"]["permissions"].as_array().map(Vec::len), Some(14));
    let of = admin(Method::GET, "/api/v1/users/roles/MANAGER/permissions", None).await;
    assert_eq!(of.body["data"]["permissions"].as_array().map(Vec::len), Some(6), "{}", of.body);
    assert_eq!(admin(Method::GET, "/api/v1/users/roles/BOSS/permissions", None).await.status, 404);
    let sessions = admin(Method::GET, &format!("/api/v1/users/{id}/sessions"), None).await;
    assert_eq!(sessions.body["data"]["sessions"].as_array().map(Vec::len), Some(1), "{}", sessions.body);
    assert_eq!(admin(Method::DELETE, &format!("/api/v1/users/{id}/sessions"), None).await.status, 200);
    assert_eq!(as_ada("/api/v1/auth/profile").await, 401);
}

#[tokio::test]
async fn the_users_api_is_closed_to_who_may_not() {
    let app = bearer_gateway().start();
    let ada = register(&app).await;
    let id = id_of(&app, &ada).await;
    for (method, path) in [
        (Method::POST, "/api/v1/users".to_owned()),
        (Method::PUT, format!("/api/v1/users/{id}")),
        (Method::DELETE, format!("/api/v1/users/{id}")),
        (Method::PUT, format!("/api/v1/users/{id}/role")),
        (Method::PUT, format!("/api/v1/users/{id}/permissions")),
        (Method::POST, format!("/api/v1/users/{id}/permissions/USER_DELETE")),
        (Method::DELETE, format!("/api/v1/users/{id}/sessions")),
        (Method::GET, "/api/v1/audit-logs".to_owned()),
    ] {
        refused(
            &call(&app, method.clone(), &path, &ada.access, Some(&json!({}))).await,
            403,
            "Insufficient permissions",
        );
        let anonymous = send(client().request(method.clone(), app.url(&path))).await;
        refused(&anonymous, 401, "Access token is required");
    }
    // In the default mode a bearer token alone changes nothing either.
    let strict = crate::client::app().start();
    let ada = register(&strict).await;
    refused(
        &call(&strict, Method::POST, "/api/v1/users", &ada.access, Some(&json!({}))).await,
        403,
        "Invalid CSRF token",
    );
}

#[tokio::test]
async fn sr_61_a_registered_user_reads_nothing_about_others() {
    let app = bearer_gateway().start();
    let (ada, other) = (register(&app).await, register(&app).await);
    let id = id_of(&app, &other).await;
    for path in [
        "/api/v1/users".to_owned(),
        format!("/api/v1/users/{id}"),
        format!("/api/v1/users/{id}/permissions"),
        format!("/api/v1/users/{id}/sessions"),
        "/api/v1/users/permissions/all".to_owned(),
        "/api/v1/audit-logs".to_owned(),
        "/api/v1/gateway/refusals".to_owned(),
        "/api/v1/gateway/limits?address=127.0.0.1".to_owned(),
        "/api/v1/gateway/explain?url=/api/v1/users".to_owned(),
    ] {
        let answer = call(&app, Method::GET, &path, &ada.access, None).await;
        refused(&answer, 403, "Insufficient permissions");
        assert_eq!(answer.body["code"], "auth.insufficient_permissions", "{path}");
    }
}
