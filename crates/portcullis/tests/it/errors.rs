//! The gateway's own errors, as an operator sees them.

use std::time::{Duration, Instant};

use portcullis_testkit::{PrivatePostgres, TestApp};
use reqwest::Method;
use serde_json::{Value, json};

use crate::client::call;
use crate::shell_users::{administrator, bearer_gateway, shell_user};

const ERRORS: &str = "/api/v1/errors";

/// A gateway on which listing API keys is a 500, because the table has another name.
async fn broken_gateway() -> (PrivatePostgres, TestApp, String) {
    let server = PrivatePostgres::shared();
    let url = server.database();
    let app = bearer_gateway().env("DATABASE_URL", &url).start();
    let root = administrator(&app).await;
    let database = url.rsplit('/').next().expect("the address ends with the name");
    server.run_sql_in(database, "ALTER TABLE api_keys RENAME TO taken_away");
    (server, app, root)
}

/// The error of the endpoint. The job that prunes API keys may fail for want of the table too.
fn of_endpoint(errors: &Value) -> Option<&Value> {
    errors.as_array().expect("a list").iter().find(|error| error["route"] == "/api/v1/api-keys")
}

/// Waits until the error of the endpoint is listed, and returns it.
async fn listed(app: &TestApp, token: &str) -> Value {
    let begun = Instant::now();
    loop {
        let errors = call(app, Method::GET, ERRORS, token, None).await;
        assert_eq!(errors.status, 200, "{}", errors.body);
        if let Some(error) = of_endpoint(&errors.body["data"]["errors"]) {
            return error.clone();
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "never listed: {}", errors.body);
    }
}

#[tokio::test]
async fn a_500_is_listed_until_it_is_deleted() {
    let (_server, app, root) = broken_gateway().await;
    let failed = call(&app, Method::GET, "/api/v1/api-keys?note=hunter2", &root, None).await;
    assert_eq!(failed.status, 500, "{}", failed.body);
    let error = listed(&app, &root).await;
    assert_eq!((&error["kind"], &error["route"]), (&json!("request"), &json!("/api/v1/api-keys")));
    assert_eq!((&error["count"], &error["release"]), (&json!(1), &json!(env!("CARGO_PKG_VERSION"))));
    assert_eq!(error["lastRequestId"], failed.body["requestId"]);
    let message = error["message"].as_str().expect("a message");
    assert!(message.contains("relation \"api_keys\" does not exist"), "{message}");
    assert!(!error.to_string().contains("hunter2") && !failed.body.to_string().contains("relation"), "{error}");

    let pagination = &call(&app, Method::GET, ERRORS, &root, None).await.body["data"]["pagination"];
    assert_eq!((&pagination["page"], &pagination["next"]), (&json!(1), &Value::Null));

    let id = error["id"].as_str().expect("an id");
    let printed: Value = serde_json::from_str(&app.run(&["errors", "list", "--json"], "")).expect("JSON");
    assert_eq!(of_endpoint(&printed["errors"]), Some(&error));
    assert!(app.run(&["errors", "list"], "").contains(id));

    let path = format!("{ERRORS}/{id}");
    assert_eq!(call(&app, Method::DELETE, &path, &root, None).await.status, 200);
    assert_eq!(call(&app, Method::DELETE, &path, &root, None).await.status, 404);
    assert!(!app.run(&["errors", "list"], "").contains(id));
    let events = call(&app, Method::GET, "/api/v1/audit-logs?action=errors.delete", &root, None).await;
    assert_eq!(events.body["data"]["auditLogs"][0]["details"]["id"], id, "{}", events.body);
}

#[tokio::test]
async fn errors_need_their_permissions() {
    let app = bearer_gateway().start();
    let manager = shell_user(&app, "manager", "MANAGER").await.access;
    let viewer = shell_user(&app, "viewer", "VIEWER").await.access;
    assert_eq!(call(&app, Method::GET, ERRORS, &viewer, None).await.status, 403);
    assert_eq!(call(&app, Method::GET, ERRORS, &manager, None).await.status, 200);
    let path = format!("{ERRORS}/0198c0de-0000-7000-8000-000000000009");
    assert_eq!(call(&app, Method::DELETE, &path, &manager, None).await.status, 403);
}

#[tokio::test]
async fn what_was_not_written_yet_is_written_at_the_stop() {
    let (_server, mut app, root) = broken_gateway().await;
    for _ in 0..3 {
        assert_eq!(call(&app, Method::GET, "/api/v1/api-keys", &root, None).await.status, 500);
    }
    app.stop();
    let printed: Value = serde_json::from_str(&app.run(&["errors", "list", "--json"], "")).expect("JSON");
    let error = of_endpoint(&printed["errors"]).expect("the error is listed");
    assert_eq!(error["count"], 3, "{printed}");
    let id = error["id"].as_str().expect("an id");
    let deleted: Value = serde_json::from_str(&app.run(&["errors", "delete", id, "--json"], "")).expect("JSON");
    assert_eq!(deleted, json!({ "deleted": id }));
}
