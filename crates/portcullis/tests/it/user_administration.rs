//! The users API, the audit log and API keys, as clients see them (docs/contract.md, "Users, audit log and API keys").

use std::time::Duration;

use portcullis_testkit::{PASSWORD, TestApp, TestAppBuilder};
use reqwest::Method;
use serde_json::{Value, json};

use crate::client::{Account, TestResponse, app, call, client, get, post, register, register_confirmed, send};
use crate::proxied::upstream;

/// A gateway for bearer-only clients.
fn gate() -> TestAppBuilder {
    app().env("PORTCULLIS__CSRF__MODE", "cookie")
}

/// Signs in an administrator made at the shell.
pub(crate) async fn administrator(app: &TestApp) -> String {
    let create = "users create --email root@example.com --username rootuser --first-name Root --last-name User \
                  --role ADMIN --password-stdin";
    let made = app.run(&create.split_whitespace().collect::<Vec<_>>(), PASSWORD);
    assert!(made.contains("root@example.com"), "{made}");
    sign_in(app, "root@example.com").await
}

/// Makes a user with this role at the shell, whose address counts as confirmed, and signs them in.
pub(crate) async fn shell_user(app: &TestApp, name: &str, role: &str) -> Account {
    let email = format!("{name}@example.com");
    let create = format!(
        "users create --email {email} --username {name} --first-name Ada --last-name Lovelace --role {role} \
         --password-stdin"
    );
    app.run(&create.split_whitespace().collect::<Vec<_>>(), PASSWORD);
    let answer = post(app, "/api/v1/auth/login", &json!({ "email": email, "password": PASSWORD })).await;
    let tokens = &answer.body["data"]["tokens"];
    let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("{}", answer.body)).to_owned();
    Account { email, access: text(&tokens["accessToken"]), refresh: text(&tokens["refreshToken"]) }
}

async fn sign_in(app: &TestApp, email: &str) -> String {
    let response = post(app, "/api/v1/auth/login", &json!({ "email": email, "password": PASSWORD })).await;
    response.body["data"]["tokens"]["accessToken"].as_str().unwrap_or_else(|| panic!("{}", response.body)).to_owned()
}

async fn id_of(app: &TestApp, account: &Account) -> String {
    let mine = call(app, Method::GET, "/api/v1/auth/profile", &account.access, None).await;
    mine.body["data"]["user"]["id"].as_str().expect("an id").to_owned()
}

fn refused(response: &TestResponse, status: u16, error: &str) {
    assert_eq!((response.status, response.error()), (status, error), "{}", response.body);
}

#[tokio::test]
async fn an_administrator_invites_lists_edits_and_deletes() {
    let app = gate().start();
    let root = administrator(&app).await;
    let admin =
        async |method: Method, path: &str, body: Option<Value>| call(&app, method, path, &root, body.as_ref()).await;
    let new = json!({ "email": "Ben@Example.com", "username": "Ben42", "firstName": "Ben", "lastName": "Franklin", "role": "TESTER" });
    let made = admin(Method::POST, "/api/v1/users", Some(new.clone())).await;
    assert_eq!(made.status, 201, "{}", made.body);
    let user = &made.body["data"]["user"];
    assert_eq!((&user["email"], &user["role"]), (&json!("ben@example.com"), &json!("TESTER")));
    let id = user["id"].as_str().expect("an id").to_owned();
    assert!(app.line_with("(invitation)").contains("ben@example.com"));
    refused(
        &admin(Method::POST, "/api/v1/users", Some(new)).await,
        409,
        "User already exists with this email or username",
    );

    let listed = admin(Method::GET, "/api/v1/users?limit=1&page=1", None).await;
    assert_eq!(listed.body["data"]["users"][0]["id"], json!(id), "newest first");
    let pagination = &listed.body["data"]["pagination"];
    let next = pagination["next"].as_str().expect("another page");
    let expected = json!({ "page": 1, "limit": 1, "total": 2, "totalIsCapped": false, "pages": 2, "next": next });
    assert_eq!(*pagination, expected);
    let last = admin(Method::GET, &format!("/api/v1/users?limit=1&cursor={next}"), None).await;
    assert_ne!(last.body["data"]["users"][0]["id"], json!(id));
    assert_eq!(
        (&last.body["data"]["pagination"]["next"], last.body["data"]["users"].as_array().map(Vec::len)),
        (&Value::Null, Some(1))
    );
    for (query, why) in [
        ("page=1002&limit=100", "cursor"),
        ("page=100001&limit=1", "cursor"),
        ("cursor=nonsense", "cursor must be pagination.next of another page"),
        ("cursor=&page=2", "cursor"),
    ] {
        for list in ["users", "audit-logs"] {
            let refused = admin(Method::GET, &format!("/api/v1/{list}?{query}"), None).await;
            assert_eq!(refused.status, 400, "{query}: {}", refused.body);
            let problems = refused.body["details"]["query"].to_string();
            assert!(problems.contains(why), "{query}: {problems}");
        }
    }
    assert_eq!(admin(Method::GET, "/api/v1/users?page=1000&limit=100", None).await.status, 200);
    for (query, count) in [
        ("role=ADMIN", 1),
        ("search=BEN%4", 0),
        ("search=ben", 1),
        ("isActive=false", 0),
        ("isActive=true&role=TESTER", 1),
        ("page=3", 0),
    ] {
        let listed = admin(Method::GET, &format!("/api/v1/users?{query}"), None).await;
        assert_eq!(listed.body["data"]["users"].as_array().map(Vec::len), Some(count), "{query}: {}", listed.body);
    }
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
        let listed = admin(Method::GET, &format!("/api/v1/users?{query}"), None).await;
        refused(&listed, 400, "Validation failed");
        assert_eq!(listed.body["details"]["query"].as_array().map(Vec::len), Some(1), "{}", listed.body);
    }

    let shown = admin(Method::GET, &format!("/api/v1/users/{id}"), None).await;
    let user = &shown.body["data"]["user"];
    assert_eq!((&user["rolePermissions"], &user["customPermissions"]), (&json!([]), &json!([])));
    assert!(!shown.body.to_string().contains("argon2") && user["allPermissions"].is_array());
    for nobody in ["11111111-1111-4111-8111-111111111111", "not-a-uuid", "%00", "1"] {
        for (method, rest, body) in [
            (Method::GET, "", None),
            (Method::PUT, "", Some(json!({ "firstName": "X" }))),
            (Method::PUT, "/role", Some(json!({ "role": "VIEWER" }))),
            (Method::GET, "/permissions", None),
            (Method::DELETE, "", None),
        ] {
            let response = admin(method.clone(), &format!("/api/v1/users/{nobody}{rest}"), body).await;
            assert!(matches!(response.status, 404 | 400), "{method} {nobody}{rest}: {}", response.body);
        }
    }
    let edited =
        admin(Method::PUT, &format!("/api/v1/users/{id}"), Some(json!({ "firstName": "Benjamin", "isActive": false })))
            .await;
    assert_eq!(edited.body["data"]["user"]["firstName"], "Benjamin", "{}", edited.body);
    assert_eq!(edited.body["data"]["user"]["isActive"], false);
    refused(
        &admin(Method::PUT, &format!("/api/v1/users/{id}"), Some(json!({ "isActive": "no" }))).await,
        400,
        "Validation failed",
    );
    assert_eq!(admin(Method::DELETE, &format!("/api/v1/users/{id}"), None).await.status, 200);
    assert_eq!(admin(Method::GET, &format!("/api/v1/users/{id}"), None).await.status, 404);

    let mine = admin(Method::GET, "/api/v1/auth/profile", None).await;
    let own = mine.body["data"]["user"]["id"].as_str().expect("an id").to_owned();
    refused(&admin(Method::DELETE, &format!("/api/v1/users/{own}"), None).await, 409, "Last administrator");
    refused(
        &admin(Method::PUT, &format!("/api/v1/users/{own}"), Some(json!({ "isActive": false }))).await,
        409,
        "Last administrator",
    );
    let demoted = admin(Method::PUT, &format!("/api/v1/users/{own}/role"), Some(json!({ "role": "VIEWER" }))).await;
    refused(&demoted, 403, "Insufficient permissions");
}

#[tokio::test]
async fn sr_35_roles_and_permissions_take_effect_at_once() {
    let app = gate().start();
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
    assert_eq!(all.body["data"]["permissions"].as_array().map(Vec::len), Some(12));
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
    let app = gate().start();
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
        let nobody = send(client().request(method.clone(), app.url(&path))).await;
        refused(&nobody, 401, "Access token is required");
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
async fn sr_36_the_audit_log_says_who_did_what_to_whom_from_where() {
    let app = gate().start();
    let root = administrator(&app).await;
    let ada = register(&app).await;
    let id = id_of(&app, &ada).await;
    let role = format!("/api/v1/users/{id}/role");
    let changed = call(&app, Method::PUT, &role, &root, Some(&json!({ "role": "TESTER" }))).await;
    let request_id = changed.header("x-request-id").to_owned();
    let logs = async |query: &str| call(&app, Method::GET, &format!("/api/v1/audit-logs?{query}"), &root, None).await;
    let found = logs(&format!("userId={id}&action=user.set_role")).await;
    assert_eq!(found.body["data"]["pagination"]["total"], 1, "{}", found.body);
    let line = &found.body["data"]["auditLogs"][0];
    assert_eq!((&line["subjectId"], &line["outcome"]), (&json!(id), &json!("success")));
    assert_eq!((&line["requestId"], &line["ip"]), (&json!(request_id), &json!("127.0.0.1")));
    assert_eq!(line["details"], json!({ "from": "DEVELOPER", "to": "TESTER" }));
    assert_ne!(line["userId"], line["subjectId"]);
    post(&app, "/api/v1/auth/login", &json!({ "email": ada.email, "password": "not-this-secret" })).await;
    let failed = logs("outcome=failure").await;
    assert_eq!(failed.body["data"]["auditLogs"][0]["details"], json!({ "reason": "wrong password" }));
    let text = logs("limit=100").await.body.to_string();
    assert!(!text.contains(PASSWORD) && !text.contains("not-this-secret") && !text.contains(&ada.refresh), "{text}");
    for bad in ["userId=x", "from=yesterday", "outcome=maybe", "limit=1000"] {
        refused(&logs(bad).await, 400, "Validation failed");
    }
    let lines = send(
        client().get(app.url("/api/v1/audit-logs?limit=2")).bearer_auth(&root).header("accept", "application/x-ndjson"),
    )
    .await;
    assert_eq!(lines.header("content-type"), "application/x-ndjson");
    assert_eq!(lines.body.as_str().map(|text| text.lines().count()), Some(2));
}

#[tokio::test]
async fn sr_43_an_api_key_is_held_to_its_scopes_and_makes_no_keys() {
    // The default mode: a valid key needs no CSRF pair.
    let app = app().start();
    let ada = shell_user(&app, "ada", "MANAGER").await;
    let origin = app.url("");
    let pair = get(&app, "/api/csrf-token").await;
    let (pre, csrf) =
        (pair.cookie("portcullis-pre").expect("a cookie"), pair.cookie("portcullis-csrf").expect("a cookie"));
    let make = async |body: Value| {
        let request = client().post(app.url("/api/v1/api-keys")).bearer_auth(&ada.access).header("origin", &origin);
        let request = request
            .header("x-csrf-token", &csrf)
            .header("cookie", format!("portcullis-pre={pre}; portcullis-csrf={csrf}"));
        send(request.json(&body)).await
    };
    let made = make(json!({ "name": "deploy", "scopes": ["USER_VIEW"], "expiresAt": "2999-01-01T00:00:00Z" })).await;
    assert_eq!(made.status, 201, "{}", made.body);
    assert_eq!(made.header("cache-control"), "no-store");
    let key = &made.body["data"]["apiKey"];
    let secret = made.body["data"]["secret"].as_str().expect("a secret").to_owned();
    assert!(secret.starts_with(key["prefix"].as_str().expect("a prefix")) && key["lastUsedAt"].is_null());
    assert!(app.line_with("(api_key_created)").contains(&ada.email));
    for bad in [
        json!({}),
        json!({ "name": "x", "scopes": ["USER_DELETE"] }),
        json!({ "name": "x", "scopes": "all" }),
        json!({ "name": "x", "expiresAt": "2020-01-01T00:00:00Z" }),
        json!({ "name": "x", "expiresAt": "soon" }),
    ] {
        refused(&make(bad).await, 400, "Validation failed");
    }

    let by_header = async |method: Method, path: &str| {
        send(client().request(method, app.url(path)).header("x-api-key", &secret).json(&json!({}))).await
    };
    assert_eq!(by_header(Method::GET, "/api/v1/users").await.status, 200);
    assert_eq!(call(&app, Method::GET, "/api/v1/users", &secret, None).await.status, 200, "as a bearer token too");
    assert_eq!(by_header(Method::GET, "/api/v1/auth/profile").await.body["data"]["user"]["email"], json!(ada.email));
    refused(&by_header(Method::POST, "/api/v1/users").await, 403, "Insufficient permissions");
    for (method, path) in [
        (Method::POST, "/api/v1/api-keys"),
        (Method::GET, "/api/v1/api-keys"),
        (Method::POST, "/api/v1/auth/change-password"),
        (Method::PUT, "/api/v1/auth/profile"),
        (Method::GET, "/api/v1/auth/sessions"),
    ] {
        let response = by_header(method.clone(), path).await;
        refused(&response, 403, "Insufficient permissions");
        assert_eq!(response.body["code"], "auth.sign_in_required", "{method} {path}");
    }
    let both = send(client().get(app.url("/api/v1/users")).bearer_auth(&ada.access).header("x-api-key", &secret)).await;
    refused(&both, 400, "Ambiguous credentials");
    let mut typo = secret.clone();
    typo.replace_range(10..11, if &secret[10..11] == "a" { "b" } else { "a" });
    for bad in [typo.as_str(), "pk_", "pk_nonsense", "", &secret[..51]] {
        let response = send(client().post(app.url("/api/v1/users")).header("x-api-key", bad).json(&json!({}))).await;
        refused(&response, 403, "Invalid CSRF token");
        let response = send(client().get(app.url("/api/v1/users")).header("x-api-key", bad)).await;
        refused(&response, 401, "Invalid token");
    }

    let listed = call(&app, Method::GET, "/api/v1/api-keys", &ada.access, None).await;
    assert_eq!(listed.body["data"]["apiKeys"][0]["id"], key["id"]);
    assert!(!listed.body.to_string().contains(&secret));
    let revoke = client().delete(app.url(&format!("/api/v1/api-keys/{}", key["id"].as_str().expect("an id"))));
    let revoke = revoke.bearer_auth(&ada.access).header("origin", &origin).header("x-csrf-token", &csrf);
    let revoked = send(revoke.header("cookie", format!("portcullis-pre={pre}; portcullis-csrf={csrf}"))).await;
    assert_eq!(revoked.status, 200, "{}", revoked.body);
    refused(&by_header(Method::GET, "/api/v1/users").await, 401, "Invalid token");
}

#[tokio::test]
async fn a_scoped_key_administers_users_through_the_api() {
    let app = gate().start();
    let root = administrator(&app).await;
    let scopes = json!(["USER_CREATE", "USER_EDIT", "USER_DELETE"]);
    let made =
        call(&app, Method::POST, "/api/v1/api-keys", &root, Some(&json!({ "name": "hr", "scopes": scopes }))).await;
    let key = made.body["data"]["secret"].as_str().expect("a secret");
    let new = json!({ "email": "ben@example.com", "username": "ben42", "firstName": "Ben", "lastName": "Franklin" });
    let invited = call(&app, Method::POST, "/api/v1/users", key, Some(&new)).await;
    assert_eq!(invited.status, 201, "{}", invited.body);
    let path = format!("/api/v1/users/{}", invited.body["data"]["user"]["id"].as_str().expect("an id"));
    let edited =
        call(&app, Method::PUT, &path, key, Some(&json!({ "firstName": "Benjamin", "isActive": false }))).await;
    assert_eq!((edited.status, &edited.body["data"]["user"]["isActive"]), (200, &json!(false)), "{}", edited.body);
    assert_eq!(call(&app, Method::DELETE, &path, key, None).await.status, 200);
    refused(&call(&app, Method::GET, "/api/v1/users", key, None).await, 403, "Insufficient permissions");
}

#[tokio::test]
async fn sr_51_an_api_key_needs_a_confirmed_address() {
    let app = gate().start();
    let root = administrator(&app).await;
    let ada = register(&app).await;
    let make =
        async || call(&app, Method::POST, "/api/v1/api-keys", &ada.access, Some(&json!({ "name": "deploy" }))).await;
    let early = make().await;
    refused(&early, 403, "Insufficient permissions");
    assert_eq!(early.body["code"], "auth.email_not_verified");
    let path = format!("/api/v1/users/{}", id_of(&app, &ada).await);
    let edit = async |body: Value| call(&app, Method::PUT, &path, &root, Some(&body)).await;
    refused(&edit(json!({ "emailVerified": false })).await, 400, "Validation failed");
    let verified = edit(json!({ "emailVerified": true })).await;
    assert_eq!(verified.body["data"]["user"]["isEmailVerified"], true, "{}", verified.body);
    assert_eq!(make().await.status, 201);
}

#[tokio::test]
async fn sr_61_a_registered_user_reads_nothing_about_others() {
    let app = gate().start();
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

#[tokio::test]
async fn sr_42_upstreams_see_an_api_key_as_its_id_and_scopes() {
    let (upstream, _) = upstream().await;
    let settings = format!(
        "[csrf]\nmode = \"cookie\"\n[upstreams.u]\ntargets = [\"http://{upstream}\"]\n\
         [[routes]]\npath = \"/api/v1/things/{{*rest}}\"\nupstream = \"u\"\nrate_limit = \"2/1h\"\n\
         [[routes]]\npath = \"/api/v1/ranked/{{*rest}}\"\nupstream = \"u\"\nroles = [\"VIEWER\"]\n\
         [[routes]]\npath = \"/api/v1/guarded/{{*rest}}\"\nupstream = \"u\"\npermissions = [\"SYSTEM_VIEW_LOGS\"]\n"
    );
    let app = app().settings(&settings).start();
    let ada = shell_user(&app, "ada", "MANAGER").await;
    let make = async |body: Value| {
        let made = call(&app, Method::POST, "/api/v1/api-keys", &ada.access, Some(&body)).await;
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        (text(&made.body["data"]["secret"]), text(&made.body["data"]["apiKey"]["id"]))
    };
    let (scoped, id) = make(json!({ "name": "scoped", "scopes": ["USER_VIEW"] })).await;
    let (whole, _) = make(json!({ "name": "whole" })).await;
    let by = async |key: &str, path: &str| send(client().get(app.url(path)).header("x-api-key", key)).await;

    let seen = by(&scoped, "/api/v1/things/1").await;
    let headers = &seen.body["headers"];
    assert_eq!((&headers["x-portcullis-api-key"], &headers["x-portcullis-scopes"]), (&json!(id), &json!("USER_VIEW")));
    for absent in ["x-api-key", "authorization", "x-portcullis-role", "x-portcullis-session"] {
        assert!(headers[absent].is_null(), "{absent}: {headers}");
    }
    assert!(headers["x-portcullis-user"].is_string() && !seen.body.to_string().contains(&scoped), "{headers}");
    assert_eq!(by(&whole, "/api/v1/ranked/1").await.body["headers"]["x-portcullis-role"], "MANAGER");
    refused(&by(&scoped, "/api/v1/ranked/1").await, 403, "Insufficient permissions");
    refused(&by(&scoped, "/api/v1/guarded/1").await, 403, "Insufficient permissions");
    assert_eq!(by(&whole, "/api/v1/guarded/1").await.status, 200);

    assert_eq!(by(&scoped, "/api/v1/things/2").await.status, 200);
    refused(&by(&scoped, "/api/v1/things/3").await, 429, "Too many requests");
    assert_eq!(by(&whole, "/api/v1/things/1").await.status, 200, "another key of the same user has its own count");
    assert_eq!(call(&app, Method::GET, "/api/v1/things/1", &ada.access, None).await.status, 200, "so has the user");
}

#[tokio::test]
async fn sr_22_what_runs_by_a_key_ends_with_it() {
    let (upstream, _) = upstream().await;
    let settings = format!(
        "[csrf]\nmode = \"cookie\"\n[upstreams.u]\ntargets = [\"http://{upstream}\"]\n\
         [[routes]]\npath = \"/api/v1/things/{{*rest}}\"\nupstream = \"u\"\nmax_body = \"0\"\n"
    );
    let app = app().settings(&settings).start();
    let ada = register_confirmed(&app).await;
    let made = call(&app, Method::POST, "/api/v1/api-keys", &ada.access, Some(&json!({ "name": "stream" }))).await;
    let (secret, id) = (made.body["data"]["secret"].clone(), made.body["data"]["apiKey"]["id"].clone());
    let endless = futures_util::stream::unfold((), |()| async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        Some((Ok::<_, std::io::Error>(vec![0u8; 64]), ()))
    });
    let request = client().post(app.url("/api/v1/things/upload")).header("x-api-key", secret.as_str().expect("a key"));
    let uploading = tokio::spawn(request.body(reqwest::Body::wrap_stream(endless)).send());
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(!uploading.is_finished(), "the upload runs");
    let path = format!("/api/v1/api-keys/{}", id.as_str().expect("an id"));
    assert_eq!(call(&app, Method::DELETE, &path, &ada.access, None).await.status, 200);
    let ended = tokio::time::timeout(Duration::from_secs(5), uploading).await.expect("it is cut").expect("it ran");
    assert!(ended.is_err() || ended.is_ok_and(|response| response.status() == 401), "the upload went on");
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
