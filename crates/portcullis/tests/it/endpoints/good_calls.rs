//! A good call to every endpoint, and its response held against the document.

use std::collections::BTreeSet;

use portcullis_model::Timestamp;
use portcullis_testkit::{PASSWORD, PrivateDatabase, TestApp, database_of, registration};
use reqwest::Method;
use serde_json::{Value, json};

use super::{document, gateway};
use crate::client::{TestResponse, client, get, send};
use crate::passwords::mailed_to;

const NEW_PASSWORD: &str = "a quite different secret";

/// A call to one operation.
struct Case<'a> {
    id: &'a str,
    path: Vec<(&'a str, &'a str)>,
    query: &'a str,
    token: Option<&'a str>,
    idempotency_key: Option<&'a str>,
    body: Option<Value>,
}

impl<'a> Case<'a> {
    /// The operation with this id, without a credential, parameters or a body.
    fn new(id: &'a str) -> Self {
        Self { id, path: Vec::new(), query: "", token: None, idempotency_key: None, body: None }
    }

    fn by(self, token: &'a str) -> Self {
        Self { token: Some(token), ..self }
    }

    fn at(mut self, parameter: &'a str, value: &'a str) -> Self {
        self.path.push((parameter, value));
        self
    }

    fn query(self, query: &'a str) -> Self {
        Self { query, ..self }
    }

    /// Names the request, so that it is done once.
    fn once(self, key: &'a str) -> Self {
        Self { idempotency_key: Some(key), ..self }
    }

    fn body(self, body: Value) -> Self {
        Self { body: Some(body), ..self }
    }
}

/// Makes good calls and remembers which operations they covered.
struct SuccessfulCalls {
    app: TestApp,
    document: Value,
    covered: BTreeSet<String>,
}

impl SuccessfulCalls {
    fn start() -> Self {
        Self { app: gateway(), document: document(), covered: BTreeSet::new() }
    }

    /// The method, the path and the description of an operation.
    fn operation(&self, id: &str) -> (Method, String, &Value) {
        let paths = self.document["paths"].as_object().expect("paths");
        for (path, methods) in paths {
            for (method, operation) in methods.as_object().expect("methods") {
                if operation["operationId"] == id {
                    let method = method.to_ascii_uppercase().parse().expect("a method");
                    return (method, path.clone(), operation);
                }
            }
        }
        panic!("no operation is called {id}")
    }

    /// Makes a call, holds the response against the document, and returns its `data`.
    async fn make(&mut self, case: Case<'_>) -> Value {
        let (method, mut path, operation) = self.operation(case.id);
        for (parameter, value) in &case.path {
            path = path.replace(&format!("{{{parameter}}}"), value);
        }
        let mut request = client().request(method, format!("{}?{}", self.app.url(&path), case.query));
        if let Some(token) = case.token {
            request = request.bearer_auth(token);
        }
        if let Some(key) = case.idempotency_key {
            request = request.header("idempotency-key", key);
        }
        if let Some(body) = &case.body {
            request = request.json(body);
        }
        let response = send(request).await;
        self.check(case.id, operation, &response);
        self.covered.insert(case.id.to_owned());
        response.body["data"].clone()
    }

    fn check(&self, id: &str, operation: &Value, response: &TestResponse) {
        assert!((200..300).contains(&response.status), "{id}: {} {}", response.status, response.body);
        let documented = &operation["responses"][response.status.to_string()];
        let media_type = response.header("content-type").split(';').next().unwrap_or_default();
        let content = &documented["content"][media_type];
        assert!(content.is_object(), "{id}: {} {media_type} is not documented", response.status);
        let mut schema = content["schema"].clone();
        schema["components"] = self.document["components"].clone();
        let validator = jsonschema::validator_for(&schema).expect("a schema");
        let problems: Vec<String> = validator.iter_errors(&response.body).map(|problem| problem.to_string()).collect();
        assert!(problems.is_empty(), "{id}: {problems:?} in {}", response.body);
        let is_first = response.header("idempotency-replayed").is_empty();
        if let Some(message) = content["example"].get("message").filter(|_| is_first) {
            assert_eq!(&response.body["message"], message, "{id}");
        }
    }

    /// The operations of the document that no call covered.
    fn left(&self) -> Vec<String> {
        let paths = self.document["paths"].as_object().expect("paths").values();
        let operations = paths.flat_map(|methods| methods.as_object().expect("methods").values());
        let ids = operations.filter_map(|operation| operation["operationId"].as_str()).map(str::to_owned);
        ids.filter(|id| !self.covered.contains(id)).collect()
    }
}

/// Inserts a group of errors, as one that another replica recorded.
async fn insert_error(app: &TestApp) {
    let (database, bytes) = match database_of(app.folder()) {
        Some(url) => (PrivateDatabase::at(url), "BYTEA"),
        None => (PrivateDatabase::at_file(&app.folder().join("portcullis-data/portcullis.db")), "BLOB"),
    };
    let mut raw = database.connect().await;
    let (id, at) = (raw.new_id(), raw.instant(Timestamp::UNIX_EPOCH));
    raw.run(&format!(
        "INSERT INTO errors (id, fingerprint, kind, message, route, times, first_seen_at, last_seen_at, release) \
         VALUES ({id}, CAST('f' AS {bytes}), 'request', 'm', '/', 1, {at}, {at}, '1')"
    ))
    .await;
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

#[tokio::test]
async fn every_good_call_returns_what_is_documented() {
    let mut calls = SuccessfulCalls::start();
    open_endpoints(&mut calls).await;
    let root = first_administrator(&mut calls).await;
    let (user, session) = own_account(&mut calls).await;
    own_sessions_and_keys(&mut calls, &root).await;
    administration(&mut calls, &root, &user, &session).await;
    diagnosis(&mut calls, &root).await;
    assert_eq!(calls.left(), Vec::<String>::new(), "operations without a good call");
}

async fn open_endpoints(calls: &mut SuccessfulCalls) {
    for id in ["root", "metrics", "setupPage", "jwks", "versions", "openapi", "docs", "csrfToken"] {
        calls.make(Case::new(id)).await;
    }
    for id in ["health", "live", "ready", "detailedHealth", "services"] {
        calls.make(Case::new(id)).await;
    }
}

async fn first_administrator(calls: &mut SuccessfulCalls) -> String {
    let output = calls.app.startup_output().to_owned();
    let (_, rest) = output.split_once("/setup#").expect("the first start prints a link");
    let mut body = registration("rootuser");
    body["token"] = json!(rest.split_whitespace().next().expect("a token"));
    let made = calls.make(Case::new("firstAdministrator").body(body)).await;
    text(&made["tokens"]["accessToken"])
}

/// Registers a user and takes them through every endpoint of their own account. Returns their id and a live session.
async fn own_account(calls: &mut SuccessfulCalls) -> (String, String) {
    let registered = calls.make(Case::new("register").body(registration("ada"))).await;
    let (user, email) = (text(&registered["user"]["id"]), text(&registered["user"]["email"]));
    mailed_to(&calls.app, "verify_email", &email);
    calls.make(Case::new("resendVerification").body(json!({ "email": email }))).await;
    let token = mailed_to(&calls.app, "verify_email", &email);
    calls.make(Case::new("verifyEmail").body(json!({ "token": token }))).await;

    let signed_in = calls.make(Case::new("login").body(json!({ "email": email, "password": PASSWORD }))).await;
    let refresh = json!({ "refreshToken": signed_in["tokens"]["refreshToken"] });
    let refreshed = calls.make(Case::new("refresh").body(refresh)).await;
    let token = text(&refreshed["tokens"]["accessToken"]);
    calls.make(Case::new("profile").by(&token)).await;
    calls.make(Case::new("updateProfile").by(&token).body(json!({ "firstName": "Augusta" }))).await;
    let passwords =
        json!({ "currentPassword": PASSWORD, "newPassword": NEW_PASSWORD, "confirmPassword": NEW_PASSWORD });
    calls.make(Case::new("changePassword").by(&token).body(passwords)).await;
    calls.make(Case::new("logout").by(&token)).await;

    calls.make(Case::new("forgotPassword").body(json!({ "email": email }))).await;
    let token = mailed_to(&calls.app, "reset_password", &email);
    let passwords = json!({ "token": token, "newPassword": PASSWORD, "confirmPassword": PASSWORD });
    calls.make(Case::new("resetPassword").body(passwords)).await;
    let signed_in = calls.make(Case::new("login").body(json!({ "email": email, "password": PASSWORD }))).await;
    let sessions = calls.make(Case::new("sessions").by(&text(&signed_in["tokens"]["accessToken"]))).await;
    (user, text(&sessions["sessions"][0]["id"]))
}

async fn own_sessions_and_keys(calls: &mut SuccessfulCalls, root: &str) {
    let body = json!({ "email": "rootuser@example.com", "password": PASSWORD });
    calls.make(Case::new("login").body(body)).await;
    let sessions = calls.make(Case::new("sessions").by(root)).await;
    let sessions = sessions["sessions"].as_array().expect("sessions");
    let other = sessions.iter().find(|session| session["current"] == false).expect("another session");
    calls.make(Case::new("endSession").by(root).at("id", &text(&other["id"]))).await;

    let create = || Case::new("createApiKey").by(root).once("deploys").body(json!({ "name": "deploys" }));
    let created = calls.make(create()).await;
    let replayed = calls.make(create()).await;
    assert_eq!((&replayed["apiKey"], replayed.get("secret")), (&created["apiKey"], None));
    calls.make(Case::new("apiKeys").by(root)).await;
    calls.make(Case::new("revokeApiKey").by(root).at("id", &text(&created["apiKey"]["id"]))).await;
}

async fn administration(calls: &mut SuccessfulCalls, root: &str, user: &str, session: &str) {
    calls.make(Case::new("users").by(root).query("role=DEVELOPER&limit=5")).await;
    calls.make(Case::new("allPermissions").by(root)).await;
    calls.make(Case::new("rolePermissions").by(root).at("role", "MANAGER")).await;
    calls.make(Case::new("userSessions").by(root).at("id", user)).await;
    calls.make(Case::new("endUserSession").by(root).at("id", user).at("session", session)).await;
    calls.make(Case::new("endUserSessions").by(root).at("id", user)).await;

    let grace =
        json!({ "email": "grace@example.com", "username": "grace", "firstName": "Grace", "lastName": "Hopper" });
    let invite = || Case::new("inviteUser").by(root).once("grace").body(grace.clone());
    let invited = calls.make(invite()).await;
    assert_eq!(calls.make(invite()).await["user"], invited["user"]);
    let id = text(&invited["user"]["id"]);
    calls.make(Case::new("user").by(root).at("id", &id)).await;
    calls.make(Case::new("editUser").by(root).at("id", &id).body(json!({ "lastName": "Murray" }))).await;
    calls.make(Case::new("setRole").by(root).at("id", &id).body(json!({ "role": "TESTER" }))).await;
    calls.make(Case::new("userPermissions").by(root).at("id", &id)).await;
    let permissions = json!({ "permissions": ["SYSTEM_VIEW_LOGS"] });
    calls.make(Case::new("setPermissions").by(root).at("id", &id).body(permissions)).await;
    let named = |id| Case::new(id).by(root).at("permission", "GATEWAY_VIEW");
    calls.make(named("addPermission").at("id", &id)).await;
    calls.make(named("removePermission").at("id", &id)).await;
    calls.make(Case::new("deleteUser").by(root).at("id", &id)).await;
    calls.make(Case::new("auditLogs").by(root).query("limit=100")).await;
}

async fn diagnosis(calls: &mut SuccessfulCalls, root: &str) {
    let query = "url=/api/v1/users&as=rootuser@example.com&header=Accept:%20text/html";
    calls.make(Case::new("explain").by(root).query(query)).await;
    let refused = get(&calls.app, "/api/v1/users").await;
    calls.make(Case::new("refusals").by(root)).await;
    calls.make(Case::new("refusal").by(root).at("requestId", refused.header("x-request-id"))).await;
    calls.make(Case::new("limits").by(root).query("address=127.0.0.1")).await;
    insert_error(&calls.app).await;
    let errors = calls.make(Case::new("errors").by(root).query("limit=5")).await;
    calls.make(Case::new("deleteError").by(root).at("id", &text(&errors["errors"][0]["id"]))).await;
    calls.make(Case::new("resetLimits").by(root).query("address=127.0.0.1&name=auth")).await;
}
