//! The audit log as clients see it (docs/contract.md, "Users, audit log and API keys").

use portcullis_testkit::PASSWORD;
use reqwest::Method;
use serde_json::json;

use crate::client::{call, client, id_of, post, refused, register, send};
use crate::shell_users::{administrator, bearer_gateway};

#[tokio::test]
async fn sr_36_the_audit_log_says_who_did_what_to_whom_from_where() {
    let app = bearer_gateway().start();
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
