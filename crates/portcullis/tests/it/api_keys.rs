//! API keys as clients and upstreams see them (docs/contract.md, "Users, audit log and API keys").

use std::sync::atomic::Ordering;
use std::time::Duration;

use portcullis_testkit::TestApp;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::client::{
    Account, TestResponse, app, call, client, get, id_of, refused, register, register_confirmed, send,
};
use crate::proxied::upstream;
use crate::shell_users::{administrator, bearer_gateway, shell_user};

/// A manager at a gateway in its default mode, where making a key needs a CSRF pair.
struct Owner {
    app: TestApp,
    account: Account,
    pre: String,
    csrf: String,
}

/// A key that was made, and its secret.
struct Key {
    secret: String,
    shown: Value,
}

impl Owner {
    async fn start() -> Self {
        let app = app().start();
        let account = shell_user(&app, "ada", "MANAGER").await;
        let pair = get(&app, "/api/csrf-token").await;
        let (pre, csrf) = (pair.cookie("portcullis-pre"), pair.cookie("portcullis-csrf"));
        Self { app, account, pre: pre.expect("a cookie"), csrf: csrf.expect("a cookie") }
    }

    /// A request of the owner's page.
    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let cookies = format!("portcullis-pre={}; portcullis-csrf={}", self.pre, self.csrf);
        let request = client().request(method, self.app.url(path)).bearer_auth(&self.account.access);
        request.header("origin", self.app.url("")).header("x-csrf-token", &self.csrf).header("cookie", cookies)
    }

    async fn make(&self, key: Value) -> TestResponse {
        send(self.request(Method::POST, "/api/v1/api-keys").json(&key)).await
    }

    /// Makes a key with the scope USER_VIEW.
    async fn viewing_key(&self) -> Key {
        let made = self.make(json!({ "name": "deploy", "scopes": ["USER_VIEW"] })).await;
        let secret = made.body["data"]["secret"].as_str().unwrap_or_else(|| panic!("{}", made.body)).to_owned();
        Key { secret, shown: made.body["data"]["apiKey"].clone() }
    }

    /// A request by a key alone.
    async fn by_key(&self, secret: &str, method: Method, path: &str) -> TestResponse {
        send(client().request(method, self.app.url(path)).header("x-api-key", secret).json(&json!({}))).await
    }
}

#[tokio::test]
async fn sr_43_a_new_key_shows_its_secret_once_and_is_announced() {
    let owner = Owner::start().await;
    let key = json!({ "name": "deploy", "scopes": ["USER_VIEW"], "expiresAt": "2999-01-01T00:00:00Z" });
    let made = owner.make(key).await;
    assert_eq!((made.status, made.header("cache-control")), (201, "no-store"), "{}", made.body);
    let key = &made.body["data"]["apiKey"];
    let secret = made.body["data"]["secret"].as_str().expect("a secret");
    assert!(secret.starts_with(key["prefix"].as_str().expect("a prefix")) && key["lastUsedAt"].is_null());
    assert!(owner.app.line_with("(api_key_created)").contains(&owner.account.email));
    let listed = call(&owner.app, Method::GET, "/api/v1/api-keys", &owner.account.access, None).await;
    assert_eq!(listed.body["data"]["apiKeys"][0]["id"], key["id"]);
    assert!(!listed.body.to_string().contains(secret));
}

#[tokio::test]
async fn sr_43_an_invalid_key_is_not_made() {
    let owner = Owner::start().await;
    for bad in [
        json!({}),
        json!({ "name": "x", "scopes": ["USER_DELETE"] }),
        json!({ "name": "x", "scopes": "all" }),
        json!({ "name": "x", "expiresAt": "2020-01-01T00:00:00Z" }),
        json!({ "name": "x", "expiresAt": "soon" }),
    ] {
        refused(&owner.make(bad).await, 400, "Validation failed");
    }
}

#[tokio::test]
async fn sr_43_an_api_key_is_held_to_its_scopes() {
    let owner = Owner::start().await;
    let key = owner.viewing_key().await;
    let by_key = async |method, path| owner.by_key(&key.secret, method, path).await;
    assert_eq!(by_key(Method::GET, "/api/v1/users").await.status, 200);
    assert_eq!(
        call(&owner.app, Method::GET, "/api/v1/users", &key.secret, None).await.status,
        200,
        "as a bearer token"
    );
    let profile = by_key(Method::GET, "/api/v1/auth/profile").await;
    assert_eq!(profile.body["data"]["user"]["email"], json!(owner.account.email));
    refused(&by_key(Method::POST, "/api/v1/users").await, 403, "Insufficient permissions");
}

#[tokio::test]
async fn sr_43_an_api_key_cannot_do_what_needs_a_sign_in() {
    let owner = Owner::start().await;
    let key = owner.viewing_key().await;
    for (method, path) in [
        (Method::POST, "/api/v1/api-keys"),
        (Method::GET, "/api/v1/api-keys"),
        (Method::POST, "/api/v1/auth/change-password"),
        (Method::PUT, "/api/v1/auth/profile"),
        (Method::GET, "/api/v1/auth/sessions"),
    ] {
        let response = owner.by_key(&key.secret, method.clone(), path).await;
        refused(&response, 403, "Insufficient permissions");
        assert_eq!(response.body["code"], "auth.sign_in_required", "{method} {path}");
    }
}

#[tokio::test]
async fn sr_43_a_key_that_is_unknown_or_not_alone_is_refused() {
    let owner = Owner::start().await;
    let Key { secret, .. } = owner.viewing_key().await;
    let token = &owner.account.access;
    let both = client().get(owner.app.url("/api/v1/users")).bearer_auth(token).header("x-api-key", &secret);
    refused(&send(both).await, 400, "Ambiguous credentials");
    let mut typo = secret.clone();
    typo.replace_range(10..11, if &secret[10..11] == "a" { "b" } else { "a" });
    for bad in [typo.as_str(), "pk_", "pk_nonsense", "", &secret[..51]] {
        refused(&owner.by_key(bad, Method::POST, "/api/v1/users").await, 403, "Invalid CSRF token");
        refused(&owner.by_key(bad, Method::GET, "/api/v1/users").await, 401, "Invalid token");
    }
}

#[tokio::test]
async fn sr_43_a_revoked_key_is_refused() {
    let owner = Owner::start().await;
    let key = owner.viewing_key().await;
    assert_eq!(owner.by_key(&key.secret, Method::GET, "/api/v1/users").await.status, 200);
    let path = format!("/api/v1/api-keys/{}", key.shown["id"].as_str().expect("an id"));
    let revoked = send(owner.request(Method::DELETE, &path)).await;
    assert_eq!(revoked.status, 200, "{}", revoked.body);
    refused(&owner.by_key(&key.secret, Method::GET, "/api/v1/users").await, 401, "Invalid token");
}

#[tokio::test]
async fn a_scoped_key_administers_users_through_the_api() {
    let app = bearer_gateway().start();
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
    let app = bearer_gateway().start();
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
    let (upstream, received) = upstream().await;
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
    while received.load(Ordering::Relaxed) == 0 {
        assert!(!uploading.is_finished(), "the upload ended before it began");
        tokio::task::yield_now().await;
    }
    let path = format!("/api/v1/api-keys/{}", id.as_str().expect("an id"));
    assert_eq!(call(&app, Method::DELETE, &path, &ada.access, None).await.status, 200);
    let ended = tokio::time::timeout(Duration::from_secs(60), uploading).await.expect("it is cut").expect("it ran");
    assert!(ended.is_err() || ended.is_ok_and(|response| response.status() == 401), "the upload went on");
}
