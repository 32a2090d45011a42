//! What operators ask: why, who has spent what, and to be forgiven.

use portcullis_testkit::TestApp;
use reqwest::Method;
use serde_json::{Value, json};

use crate::client::{app, call, get, register, send};
use crate::people::administrator;
use crate::proxied;

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

async fn gateway() -> TestApp {
    let (upstream, _) = proxied::upstream().await;
    let settings = format!("[upstreams.u]\ntargets = [\"http://{upstream}\"]\n{ROUTES}");
    portcullis_testkit::TestAppBuilder::new(env!("CARGO_BIN_EXE_portcullis")).settings(&settings).start()
}

async fn explain(app: &TestApp, token: &str, query: &str) -> Value {
    let answer = call(app, Method::GET, &format!("/api/v1/gateway/explain?{query}"), token, None).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.body["data"]["explanation"].clone()
}

#[tokio::test]
async fn sr_46_explain_needs_its_permission_and_tells_what_the_request_would_meet() {
    let app = gateway().await;
    let root = administrator(&app).await;
    let ada = register(&app).await;
    let asked = "/api/v1/gateway/explain?url=/api/managers/x";
    assert_eq!(get(&app, asked).await.status, 401);
    assert_eq!(call(&app, Method::GET, asked, &ada.access, None).await.status, 403);

    let said = explain(&app, &root, &format!("url=/api/managers/x&as={}", ada.email)).await;
    assert_eq!((&said["verdict"], &said["status"]), (&json!("refused"), &json!(403)));
    assert_eq!(said["code"], "auth.insufficient_permissions");
    assert_eq!((&said["route"], &said["destination"]), (&json!("/api/v1/managers/{*rest}"), &json!("the upstream u")));
    assert_eq!(call(&app, Method::GET, "/api/managers/x", &ada.access, None).await.status, 403, "as it was said");
    let said = explain(&app, &root, "url=/api/managers/x&as=root@example.com").await;
    assert_eq!(said["verdict"], "permitted");
    let phases: Vec<&str> =
        said["phases"].as_array().expect("phases").iter().filter_map(|step| step["phase"].as_str()).collect();
    assert_eq!(phases[..3], ["framing", "path", "route"]);
    assert_eq!(explain(&app, &root, "url=/api/managers/x&as=nobody").await["status"], 401);
    assert_eq!(explain(&app, &root, "url=/nowhere&method=DELETE").await["code"], "route.not_found");
    let header = format!("Authorization:%20Bearer%20{}", ada.access);
    let said = explain(&app, &root, &format!("url=/api/managers/x&header={header}")).await;
    assert_eq!(said["status"], 403, "{said}");
    assert!(!said.to_string().contains(&ada.access[..40]), "the credential is repeated: {said}");

    for (query, problem) in [
        ("", "url is required"),
        ("url=nowhere%20here", "url must be a path"),
        ("url=/x&method=GE%20T", "method must be a method"),
        ("url=/x&header=nonsense", "header must be written"),
        ("url=/x&address=here", "address must be an IP address"),
        ("url=/x&as=nobody@nowhere.example", "as must be the id or e-mail address"),
    ] {
        let answer = call(&app, Method::GET, &format!("/api/v1/gateway/explain?{query}"), &root, None).await;
        assert_eq!(answer.status, 400, "{query}: {}", answer.body);
        assert!(
            answer.body["details"]["query"][0].as_str().unwrap_or_default().starts_with(problem),
            "{}",
            answer.body
        );
    }
}

#[tokio::test]
async fn a_refusal_is_found_by_the_request_id_that_its_client_has() {
    let app = gateway().await;
    let root = administrator(&app).await;
    let refused = get(&app, "/api/managers/secret-plan?token=hush").await;
    assert_eq!(refused.status, 401);
    let id = refused.header("x-request-id").to_owned();
    let path = format!("/api/v1/gateway/refusals/{id}");
    assert_eq!(get(&app, &path).await.status, 401);
    let found = call(&app, Method::GET, &path, &root, None).await;
    assert_eq!(found.status, 200, "{}", found.body);
    let refusal = &found.body["data"]["refusal"];
    assert_eq!(
        (&refusal["phase"], &refusal["code"], &refusal["route"]),
        (&json!("authorise"), &json!("auth.token_required"), &json!("/api/v1/managers/{*rest}"))
    );
    assert!(!found.body.to_string().contains("hush"), "{}", found.body);
    let latest = call(&app, Method::GET, "/api/v1/gateway/refusals?limit=1", &root, None).await;
    let list = latest.body["data"]["refusals"].as_array().expect("a list").clone();
    assert_eq!(list.len(), 1, "{}", latest.body);
    let unknown = call(&app, Method::GET, "/api/v1/gateway/refusals/0123", &root, None).await;
    assert_eq!((unknown.status, unknown.error()), (404, "Not found"));
}

#[tokio::test]
async fn limits_are_shown_and_forgiven_over_http_and_in_the_shell() {
    let app = gateway().await;
    let root = administrator(&app).await;
    let ada = register(&app).await;
    for expected in [200, 200, 429] {
        assert_eq!(get(&app, "/api/open").await.status, expected);
    }
    let answer = call(&app, Method::GET, "/api/v1/gateway/limits?address=127.0.0.1", &root, None).await;
    let standings = answer.body["data"]["standings"].as_array().expect("a list").clone();
    let open = standings.iter().find(|standing| standing["route"] == "/api/v1/open").expect("spent");
    assert_eq!((&open["name"], &open["remaining"], &open["rate"]), (&json!("route"), &json!(0), &json!("2/3600s")));
    // A developer may look at nothing and forgive nobody.
    assert_eq!(call(&app, Method::GET, "/api/v1/gateway/limits", &ada.access, None).await.status, 403);
    let token = get(&app, "/api/csrf-token").await;
    let reset = async |token_of: &str, query: &str| {
        let pair = (token.cookie("portcullis-csrf").expect("a pair"), token.cookie("portcullis-pre").expect("a pair"));
        let request = crate::client::client()
            .delete(app.url(&format!("/api/v1/gateway/limits?{query}")))
            .bearer_auth(token_of)
            .header("x-csrf-token", &pair.0)
            .header("cookie", format!("portcullis-csrf={}; portcullis-pre={}", pair.0, pair.1));
        send(request).await
    };
    assert_eq!(reset(&ada.access, "address=127.0.0.1").await.status, 403);
    assert_eq!(reset(&root, "").await.status, 400);
    assert_eq!(reset(&root, "address=127.0.0.1&userId=x").await.status, 400);
    assert_eq!(get(&app, "/api/open").await.status, 429, "nothing was forgiven yet");
    let done = reset(&root, "address=127.0.0.1&name=route").await;
    assert_eq!((done.status, &done.body["data"]["everywhere"]), (200, &json!(true)), "{}", done.body);
    assert_eq!(get(&app, "/api/open").await.status, 200);
    let lines = call(&app, Method::GET, "/api/v1/audit-logs?action=limits.reset", &root, None).await;
    assert_eq!(lines.body["data"]["auditLogs"][0]["details"]["whom"], "127.0.0.1", "{}", lines.body);

    for _ in 0..3 {
        get(&app, "/api/open").await;
    }
    let shown = app.run(&["limits", "show", "--address", "127.0.0.1"], "");
    assert!(shown.contains("/api/v1/open") && shown.contains("LEFT"), "{shown}");
    let all = app.run(&["limits", "show"], "");
    assert!(all.contains("managers") && all.contains("2/3600s") && all.contains("caller"), "{all}");
    assert!(app.run(&["limits", "show", "--user", &ada.email], "").contains("Nothing was spent"));
    for _ in 0..2 {
        call(&app, Method::GET, "/api/managers/x", &root, None).await;
    }
    let shown = app.run(&["limits", "show", "--user", "root@example.com", "--json"], "");
    let shown: Value = serde_json::from_str(&shown).expect("JSON");
    assert_eq!(shown["standings"][0]["name"], "managers");
    assert!(app.run(&["limits", "reset", "--address", "127.0.0.1"], "").starts_with("Forgotten, of "));
    assert_eq!(get(&app, "/api/open").await.status, 200);
    for (arguments, said) in [
        (vec!["limits", "reset"], "it must be said whose limits"),
        (vec!["limits", "show", "--user", "nobody@nowhere.example"], "no account has the id or e-mail address"),
        (vec!["limits", "show", "--api-key", "7"], "is not the id of an API key"),
    ] {
        let failed = app.command(&arguments).output().expect("it runs");
        let stderr = String::from_utf8_lossy(&failed.stderr).into_owned();
        assert!(!failed.status.success() && stderr.contains(said), "{stderr}");
    }
}

#[tokio::test]
async fn the_shell_explains_by_the_settings_at_hand() {
    let app = gateway().await;
    let ada = register(&app).await;
    let said = app.run(&["explain", "GET", "/api/managers/x", "--as", &ada.email], "");
    assert!(said.contains("✗ authorise") && said.contains("403 auth.insufficient_permissions"), "{said}");
    assert!(said.contains("DEVELOPER") && said.contains("at least MANAGER"), "{said}");
    let header = format!("Authorization: Bearer {}", ada.access);
    let said = app.run(&["explain", "GET", "/api/managers/x", "-H", &header, "--json"], "");
    let said: Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!(said["status"], 403, "{said}");
    let said = app.run(&["explain", "GET", "/api/open?x=1", "--as", "nobody"], "");
    assert!(said.contains("It would be let through, to the upstream u."), "{said}");
    assert_eq!(get(&app, "/api/open").await.header("x-ratelimit-remaining"), "1", "explaining was counted");
    let failed = app.command(&["explain", "GET", "/x", "--as", "nobody@nowhere.example"]).output().expect("it runs");
    assert!(String::from_utf8_lossy(&failed.stderr).contains("no account that may sign in"));
}

#[tokio::test]
async fn explaining_without_anybody_makes_nothing() {
    let builder = app().on_sqlite();
    let said = builder.command(&["explain", "GET", "/api/auth/profile"]).output().expect("it runs");
    let text = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.status.success() && text.contains("401 auth.token_required"), "{text}");
    assert!(!builder.folder().join("portcullis-data").exists(), "a question made a folder");
    let login = builder.command(&["explain", "POST", "/api/auth/login", "--json"]).output().expect("it runs");
    let said: Value = serde_json::from_slice(&login.stdout).expect("JSON");
    assert_eq!(said["verdict"], "permitted");
}
