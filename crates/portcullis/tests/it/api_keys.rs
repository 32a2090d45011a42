//! API keys as clients and upstreams see them (docs/contract.md, "Users, audit log and API keys").

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::client::{app, call, client, get, id_of, refused, register, register_confirmed, send};
use crate::proxied::upstream;
use crate::shell_users::{administrator, bearer_gateway, shell_user};

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
