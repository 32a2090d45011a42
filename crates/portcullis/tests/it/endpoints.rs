//! Every row of the table of endpoints, over the real server: who may call it, what a wrong body is told, and what a
//! good call returns. The document that the server publishes is the expectation.

mod good_calls;

use std::collections::BTreeSet;

use portcullis_api::{Endpoint, description, endpoints};
use portcullis_model::permission::BuiltInPermission;
use portcullis_testkit::{PASSWORD, TestApp};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::client::{TestResponse, app, call, client, post, send};
use crate::shell_users::administrator;

/// The id of nobody and nothing.
const UNKNOWN_ID: &str = "0198c0de-0000-7000-8000-00000000ffff";

const LOGOUT: &str = "/api/v1/auth/logout";

fn gateway() -> TestApp {
    // Bearer tokens need no CSRF token here.
    app().env("PORTCULLIS__CSRF__MODE", "cookie").env("PORTCULLIS__PASSWORD__THROTTLE", "false").start()
}

/// The document that the server publishes.
fn document() -> Value {
    serde_json::from_str(description().json()).expect("the document is JSON")
}

/// What the document says of an endpoint.
fn described<'a>(document: &'a Value, endpoint: &Endpoint) -> &'a Value {
    &document["paths"][endpoint.template][endpoint.method.as_str().to_ascii_lowercase()]
}

/// Replaces the reference to a schema by the schema.
fn resolved<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    let target = schema["$ref"].as_str().and_then(|target| document.pointer(&target[1..]));
    target.unwrap_or(schema)
}

/// The schema of the body that an endpoint reads.
fn body_schema<'a>(document: &'a Value, endpoint: &Endpoint) -> Option<&'a Value> {
    let body = described(document, endpoint).get("requestBody")?;
    Some(resolved(document, &body["content"]["application/json"]["schema"]))
}

/// A request to an endpoint about nothing that exists, with a body that cannot be valid where it reads one.
fn request(app: &TestApp, endpoint: &Endpoint) -> RequestBuilder {
    let path = endpoint.template.replace("{role}", "ADMIN").replace("{permission}", "REPORTS_VIEW");
    let path = path.replace("{id}", UNKNOWN_ID).replace("{session}", UNKNOWN_ID).replace("{requestId}", "unknown");
    let method = Method::from_bytes(endpoint.method.as_str().as_bytes()).expect("a method");
    let request = client().request(method, app.url(&path));
    if body_schema(&document(), endpoint).is_some() { request.json(&json!({ "email": 5 })) } else { request }
}

/// Creates a user without any permission and signs in.
async fn viewer(app: &TestApp) -> (String, String) {
    let create = "users create --email vera@example.com --username vera --first-name Vera --last-name Viewer \
                  --role VIEWER --password-stdin";
    app.run(&create.split_whitespace().collect::<Vec<_>>(), PASSWORD);
    let body = json!({ "email": "vera@example.com", "password": PASSWORD });
    let signed_in = post(app, "/api/v1/auth/login", &body).await.body;
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    (text(&signed_in["data"]["user"]["id"]), text(&signed_in["data"]["tokens"]["accessToken"]))
}

fn name(endpoint: &Endpoint) -> String {
    format!("{} {}", endpoint.method, endpoint.template)
}

fn code(response: &TestResponse) -> &str {
    response.body["code"].as_str().unwrap_or_default()
}

#[tokio::test]
async fn an_endpoint_asks_for_the_credential_it_declares() {
    let app = gateway();
    // A refresh token in the body of a logout is a credential, too: the handler asks for one of the two.
    for endpoint in endpoints().iter().filter(|endpoint| endpoint.template != LOGOUT) {
        let response = send(request(&app, endpoint)).await;
        let asks = code(&response) == "auth.token_required";
        assert_eq!(asks, !endpoint.is_open(), "{}: {} {}", name(endpoint), response.status, response.body);
    }
}

#[tokio::test]
async fn an_endpoint_asks_for_the_permission_it_declares() {
    let app = gateway();
    let root = administrator(&app).await;
    let (id, token) = viewer(&app).await;
    let needed: BTreeSet<Option<&str>> =
        endpoints().iter().map(|one| one.permission().map(BuiltInPermission::as_str)).collect();
    // Without any permission first, then with each alone.
    for held in needed {
        let body = json!({ "permissions": held.into_iter().collect::<Vec<_>>() });
        let path = format!("/api/v1/users/{id}/permissions");
        let set = call(&app, Method::PUT, &path, &root, Some(&body)).await;
        assert_eq!(set.status, 200, "{}", set.body);
        for endpoint in endpoints().iter().filter(|endpoint| endpoint.template != LOGOUT) {
            let permission = endpoint.permission().map(BuiltInPermission::as_str);
            let response = send(request(&app, endpoint).bearer_auth(&token)).await;
            let refused = code(&response) == "auth.insufficient_permissions";
            let expected = permission.is_some() && permission != held;
            assert_eq!(refused, expected, "{} with {held:?}: {} {}", name(endpoint), response.status, response.body);
        }
    }
}

#[tokio::test]
async fn an_endpoint_for_signed_in_users_refuses_api_keys() {
    let app = gateway();
    let root = administrator(&app).await;
    let created = call(&app, Method::POST, "/api/v1/api-keys", &root, Some(&json!({ "name": "all" }))).await;
    let key = created.body["data"]["secret"].as_str().expect("a key");
    for endpoint in endpoints().iter().filter(|endpoint| !endpoint.is_open()) {
        let response = send(request(&app, endpoint).bearer_auth(key)).await;
        let refused = code(&response) == "auth.sign_in_required";
        assert_eq!(refused, endpoint.is_for_signed_in_users(), "{}: {}", name(endpoint), response.body);
    }
}

/// A value of another type than the schema's.
fn mistyped(schema: &Value) -> Value {
    if schema["type"] == "boolean" || schema["type"][0] == "boolean" { json!("yes") } else { json!(5) }
}

fn problems(response: &TestResponse) -> Vec<String> {
    assert_eq!((response.status, response.error()), (400, "Validation failed"), "{}", response.body);
    let problems = response.body["details"]["body"].as_array().expect("problems of the body");
    problems.iter().map(|problem| problem.as_str().expect("a sentence").to_owned()).collect()
}

#[tokio::test]
async fn a_mistyped_body_is_told_every_problem() {
    let app = gateway();
    let root = administrator(&app).await;
    let document = document();
    for endpoint in endpoints() {
        let Some(schema) = body_schema(&document, endpoint) else { continue };
        let fields = schema["properties"].as_object().expect("a body has fields");
        let body: Value = fields.iter().map(|(field, schema)| (field.clone(), mistyped(schema))).collect();
        let told = problems(&send(request(&app, endpoint).bearer_auth(&root).json(&body)).await);
        assert_eq!(told.len(), fields.len(), "{}: {told:?}", name(endpoint));
        for field in fields.keys() {
            let starts = |sentence: &String| sentence.starts_with(&format!("{field} must be "));
            assert!(told.iter().any(starts), "{}: nothing on {field} in {told:?}", name(endpoint));
        }
    }
}

#[tokio::test]
async fn an_empty_body_is_told_every_missing_field() {
    let app = gateway();
    let root = administrator(&app).await;
    let document = document();
    for endpoint in endpoints() {
        let Some(schema) = body_schema(&document, endpoint) else { continue };
        let required = schema["required"].as_array().cloned().unwrap_or_default();
        if required.is_empty() {
            continue;
        }
        let told = problems(&send(request(&app, endpoint).bearer_auth(&root).json(&json!({}))).await);
        let required = required.iter().map(|field| format!("{} is required", field.as_str().expect("a name")));
        assert_eq!(told, required.collect::<Vec<_>>(), "{}", name(endpoint));
    }
}
