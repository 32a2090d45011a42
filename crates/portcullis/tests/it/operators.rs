//! Tools of operators: explain a decision, find a refusal, inspect and reset rate limits.

use portcullis_testkit::TestApp;
use reqwest::Method;
use serde_json::{Value, json};

use crate::client::{TestResponse, app, call, client, get, register, send};
use crate::proxied;
use crate::shell_users::administrator;

const ROUTES: &str = r#"
[limits]
enabled = true
api = "1000/1h"

[[routes]]
path = "/api/v1/managers/{*rest}"
upstream = "u"
roles = ["MANAGER"]
csrf = false
rate_limit = { rate = "2/1h", name = "managers" }

[[routes]]
path = "/api/v1/open"
upstream = "u"
auth = "none"
rate_limit = { rate = "2/1h", by = "address" }
"#;

/// A gateway with rate limits, a route for managers and an open one.
async fn gateway() -> TestApp {
    let (upstream, _) = proxied::upstream().await;
    let settings = format!("[upstreams.u]\ntargets = [\"http://{upstream}\"]\n{ROUTES}");
    portcullis_testkit::TestAppBuilder::new(env!("CARGO_BIN_EXE_portcullis")).settings(&settings).start()
}

const EXPLAIN: &str = "/api/v1/gateway/explain";
const LIMITS: &str = "/api/v1/gateway/limits";

/// What the gate would decide on a request, as an operator reads it.
async fn explain(app: &TestApp, token: &str, query: &str) -> Value {
    let response = call(app, Method::GET, &format!("{EXPLAIN}?{query}"), token, None).await;
    assert_eq!(response.status, 200, "{}", response.body);
    response.body["data"]["explanation"].clone()
}

#[tokio::test]
async fn sr_46_explain_needs_its_permission() {
    let app = gateway().await;
    let user = register(&app).await;
    let path = format!("{EXPLAIN}?url=/api/managers/x");
    assert_eq!(get(&app, &path).await.status, 401);
    assert_eq!(call(&app, Method::GET, &path, &user.access, None).await.status, 403);
}

#[tokio::test]
async fn sr_46_explain_predicts_the_refusal_of_a_user() {
    let app = gateway().await;
    let root = administrator(&app).await;
    let user = register(&app).await;
    let explanation = explain(&app, &root, &format!("url=/api/managers/x&as={}", user.email)).await;
    assert_eq!((&explanation["verdict"], &explanation["status"]), (&json!("refused"), &json!(403)));
    assert_eq!(explanation["code"], "auth.insufficient_permissions");
    assert_eq!(explanation["route"], "/api/v1/managers/{*rest}");
    assert_eq!(explanation["destination"], "the upstream u");
    assert_eq!(call(&app, Method::GET, "/api/managers/x", &user.access, None).await.status, 403);
}

#[tokio::test]
async fn explain_lists_the_phases_of_a_permitted_request() {
    let app = gateway().await;
    let root = administrator(&app).await;
    let explanation = explain(&app, &root, "url=/api/managers/x&as=root@example.com").await;
    assert_eq!(explanation["verdict"], "permitted");
    let steps = explanation["phases"].as_array().expect("phases");
    let phases: Vec<&str> = steps.iter().filter_map(|step| step["phase"].as_str()).collect();
    assert_eq!(phases[..3], ["framing", "path", "route"]);
}

#[tokio::test]
async fn explain_covers_anonymous_callers_and_unknown_paths() {
    let app = gateway().await;
    let root = administrator(&app).await;
    assert_eq!(explain(&app, &root, "url=/api/managers/x&as=nobody").await["status"], 401);
    assert_eq!(explain(&app, &root, "url=/nowhere&method=DELETE").await["code"], "route.not_found");
}

#[tokio::test]
async fn sr_46_explain_repeats_no_credential() {
    let app = gateway().await;
    let root = administrator(&app).await;
    let user = register(&app).await;
    let header = format!("Authorization:%20Bearer%20{}", user.access);
    let explanation = explain(&app, &root, &format!("url=/api/managers/x&header={header}")).await;
    assert_eq!(explanation["status"], 403, "{explanation}");
    assert!(!explanation.to_string().contains(&user.access[..40]), "{explanation}");
}

#[tokio::test]
async fn explain_refuses_invalid_parameters() {
    let app = gateway().await;
    let root = administrator(&app).await;
    for (query, problem) in [
        ("", "url is required"),
        ("url=nowhere%20here", "url must be a path"),
        ("url=/x&method=GE%20T", "method must be a method"),
        ("url=/x&header=nonsense", "header must be written"),
        ("url=/x&address=here", "address must be an IP address"),
        ("url=/x&as=nobody@nowhere.example", "as must be the id or e-mail address"),
    ] {
        let response = call(&app, Method::GET, &format!("{EXPLAIN}?{query}"), &root, None).await;
        assert_eq!(response.status, 400, "{query}: {}", response.body);
        let told = response.body["details"]["query"][0].as_str().unwrap_or_default();
        assert!(told.starts_with(problem), "{query}: {}", response.body);
    }
}

#[tokio::test]
async fn a_refusal_is_found_by_its_request_id() {
    let app = gateway().await;
    let root = administrator(&app).await;
    let refused = get(&app, "/api/managers/secret-plan?token=hush").await;
    assert_eq!(refused.status, 401);
    let path = format!("/api/v1/gateway/refusals/{}", refused.header("x-request-id"));
    let found = call(&app, Method::GET, &path, &root, None).await;
    assert_eq!(found.status, 200, "{}", found.body);
    let refusal = &found.body["data"]["refusal"];
    assert_eq!(refusal["phase"], "authorise");
    assert_eq!(refusal["code"], "auth.token_required");
    assert_eq!(refusal["route"], "/api/v1/managers/{*rest}");
    assert!(!found.body.to_string().contains("hush"), "the query is not stored: {}", found.body);
}

#[tokio::test]
async fn refusals_need_a_credential() {
    let app = gateway().await;
    let refused = get(&app, "/api/managers/x").await;
    let path = format!("/api/v1/gateway/refusals/{}", refused.header("x-request-id"));
    assert_eq!(get(&app, &path).await.status, 401);
}

#[tokio::test]
async fn the_latest_refusals_are_listed() {
    let app = gateway().await;
    let root = administrator(&app).await;
    for _ in 0..2 {
        get(&app, "/api/managers/x").await;
    }
    let latest = call(&app, Method::GET, "/api/v1/gateway/refusals?limit=1", &root, None).await;
    assert_eq!(latest.body["data"]["refusals"].as_array().map(Vec::len), Some(1), "{}", latest.body);
}

#[tokio::test]
async fn an_unknown_refusal_is_404() {
    let app = gateway().await;
    let root = administrator(&app).await;
    let unknown = call(&app, Method::GET, "/api/v1/gateway/refusals/0123", &root, None).await;
    assert_eq!((unknown.status, unknown.error()), (404, "Not found"));
}

/// A gateway on which this machine has used up the limit of `/api/v1/open`.
async fn limited_gateway() -> TestApp {
    let app = gateway().await;
    for expected in [200, 200, 429] {
        assert_eq!(get(&app, "/api/open").await.status, expected);
    }
    app
}

/// Resets limits over HTTP, with the CSRF token that a DELETE needs.
async fn reset(app: &TestApp, token: &str, query: &str) -> TestResponse {
    let issued = get(app, "/api/csrf-token").await;
    let csrf = issued.cookie("portcullis-csrf").expect("a CSRF cookie");
    let pre_session = issued.cookie("portcullis-pre").expect("a pre-session cookie");
    let request = client()
        .delete(app.url(&format!("{LIMITS}?{query}")))
        .bearer_auth(token)
        .header("x-csrf-token", &csrf)
        .header("cookie", format!("portcullis-csrf={csrf}; portcullis-pre={pre_session}"));
    send(request).await
}

#[tokio::test]
async fn a_used_up_limit_is_shown_over_http() {
    let app = limited_gateway().await;
    let root = administrator(&app).await;
    let response = call(&app, Method::GET, &format!("{LIMITS}?address=127.0.0.1"), &root, None).await;
    let states = response.body["data"]["standings"].as_array().expect("a list").clone();
    let open = states.iter().find(|state| state["route"] == "/api/v1/open").expect("the used limit");
    assert_eq!((&open["name"], &open["remaining"], &open["rate"]), (&json!("route"), &json!(0), &json!("2/3600s")));
}

#[tokio::test]
async fn limits_need_their_permission() {
    let app = limited_gateway().await;
    let user = register(&app).await;
    assert_eq!(call(&app, Method::GET, LIMITS, &user.access, None).await.status, 403);
    assert_eq!(reset(&app, &user.access, "address=127.0.0.1").await.status, 403);
    assert_eq!(get(&app, "/api/open").await.status, 429, "the limit was reset");
}

#[tokio::test]
async fn a_reset_without_one_valid_subject_is_400() {
    let app = limited_gateway().await;
    let root = administrator(&app).await;
    assert_eq!(reset(&app, &root, "").await.status, 400);
    assert_eq!(reset(&app, &root, "address=127.0.0.1&userId=x").await.status, 400);
    assert_eq!(get(&app, "/api/open").await.status, 429, "the limit was reset");
}

#[tokio::test]
async fn a_limit_is_reset_over_http_and_audited() {
    let app = limited_gateway().await;
    let root = administrator(&app).await;
    let done = reset(&app, &root, "address=127.0.0.1&name=route").await;
    assert_eq!((done.status, &done.body["data"]["everywhere"]), (200, &json!(true)), "{}", done.body);
    assert_eq!(get(&app, "/api/open").await.status, 200);
    let events = call(&app, Method::GET, "/api/v1/audit-logs?action=limits.reset", &root, None).await;
    assert_eq!(events.body["data"]["auditLogs"][0]["details"]["whom"], "127.0.0.1", "{}", events.body);
}

#[tokio::test]
async fn limits_show_lists_the_rules() {
    let app = gateway().await;
    let rules = app.run(&["limits", "show"], "");
    assert!(rules.contains("managers") && rules.contains("2/3600s") && rules.contains("caller"), "{rules}");
}

#[tokio::test]
async fn limits_show_prints_the_state_of_an_address() {
    let app = limited_gateway().await;
    let state = app.run(&["limits", "show", "--address", "127.0.0.1"], "");
    assert!(state.contains("/api/v1/open") && state.contains("REMAINING"), "{state}");
}

#[tokio::test]
async fn limits_show_prints_the_state_of_a_user() {
    let app = gateway().await;
    let root = administrator(&app).await;
    call(&app, Method::GET, "/api/managers/x", &root, None).await;
    let state = app.run(&["limits", "show", "--user", "root@example.com", "--json"], "");
    let state: Value = serde_json::from_str(&state).expect("JSON");
    assert_eq!(state["standings"][0]["name"], "managers");
}

#[tokio::test]
async fn limits_show_says_that_a_user_has_used_nothing() {
    let app = gateway().await;
    let user = register(&app).await;
    let state = app.run(&["limits", "show", "--user", &user.email], "");
    assert!(state.contains("No request was counted against a limit."), "{state}");
}

#[tokio::test]
async fn limits_reset_resets_the_limits_of_an_address() {
    let app = limited_gateway().await;
    let output = app.run(&["limits", "reset", "--address", "127.0.0.1"], "");
    assert!(output.starts_with("Reset "), "{output}");
    assert_eq!(get(&app, "/api/open").await.status, 200);
}

#[tokio::test]
async fn limits_commands_explain_invalid_arguments() {
    let app = gateway().await;
    for (arguments, message) in [
        (vec!["limits", "reset"], "specify --address, --user or --api-key"),
        (vec!["limits", "show", "--user", "nobody@nowhere.example"], "no user has the id or e-mail address"),
        (vec!["limits", "show", "--api-key", "7"], "is not the id of an API key"),
    ] {
        let failed = app.command(&arguments).output().expect("the command runs");
        let stderr = String::from_utf8_lossy(&failed.stderr).into_owned();
        assert!(!failed.status.success() && stderr.contains(message), "{stderr}");
    }
}

#[tokio::test]
async fn the_explain_command_names_the_missing_role() {
    let app = gateway().await;
    let user = register(&app).await;
    let text = app.run(&["explain", "GET", "/api/managers/x", "--as", &user.email], "");
    assert!(text.contains("✗ authorise") && text.contains("403 auth.insufficient_permissions"), "{text}");
    assert!(text.contains("DEVELOPER") && text.contains("at least MANAGER"), "{text}");
}

#[tokio::test]
async fn the_explain_command_reads_credentials_from_headers() {
    let app = gateway().await;
    let user = register(&app).await;
    let header = format!("Authorization: Bearer {}", user.access);
    let document = app.run(&["explain", "GET", "/api/managers/x", "-H", &header, "--json"], "");
    let document: Value = serde_json::from_str(&document).expect("JSON");
    assert_eq!(document["status"], 403, "{document}");
    assert_eq!(call(&app, Method::POST, "/api/auth/logout", &user.access, Some(&json!({}))).await.status, 200);
    let document = app.run(&["explain", "GET", "/api/managers/x", "-H", &header, "--json"], "");
    assert!(document.contains("its session ended at 20") && document.contains(" by logout"), "{document}");
    assert!(!document.contains(&user.access[..40]), "{document}");
}

#[tokio::test]
async fn sr_46_the_explain_command_counts_nothing() {
    let app = gateway().await;
    let text = app.run(&["explain", "GET", "/api/open?x=1", "--as", "nobody"], "");
    assert!(text.contains("It would be permitted and go to the upstream u."), "{text}");
    assert_eq!(get(&app, "/api/open").await.header("x-ratelimit-remaining"), "1");
}

#[tokio::test]
async fn the_explain_command_refuses_an_unknown_user() {
    let app = gateway().await;
    let arguments = ["explain", "GET", "/x", "--as", "nobody@nowhere.example"];
    let failed = app.command(&arguments).output().expect("the command runs");
    let stderr = String::from_utf8_lossy(&failed.stderr).into_owned();
    assert!(!failed.status.success() && stderr.contains("no active user has the id or e-mail address"), "{stderr}");
}

#[tokio::test]
async fn explaining_an_anonymous_request_makes_no_files() {
    let builder = app().on_sqlite();
    let output = builder.command(&["explain", "GET", "/api/auth/profile"]).output().expect("the command runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && text.contains("401 auth.token_required"), "{text}");
    assert!(!builder.folder().join("portcullis-data").exists());
}

#[tokio::test]
async fn the_explain_command_prints_json() {
    let builder = app().on_sqlite();
    let output = builder.command(&["explain", "POST", "/api/auth/login", "--json"]).output().expect("it runs");
    let document: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(document["verdict"], "permitted");
}
