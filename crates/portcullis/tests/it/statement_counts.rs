//! What requests cost in statements: one more is a decision, not an accident.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use portcullis_testkit::{PASSWORD, TestApp};
use reqwest::Method;
use serde_json::json;
use tokio::task::JoinSet;

use crate::client::{app, call, client, get, post, register};
use crate::jobs::until_counted;

/// Statements by verb and table. Without those that come from no request: readings of the revocation log, the mail
/// outbox and the signing keys, and the jobs, which delete.
type Statements = BTreeMap<String, u64>;

async fn statements(app: &TestApp) -> Statements {
    let page = client().get(app.url("/metrics")).send().await.expect("answers").text().await.expect("is text");
    let mut counted = Statements::new();
    for line in page.lines() {
        let Some(rest) = line.strip_prefix("database_query_duration_seconds_count{operation=\"") else { continue };
        let (labels, count) = rest.split_once("\"} ").expect("labels end");
        let (operation, table) = labels.split_once("\",table=\"").expect("two labels");
        let background =
            [("SELECT", "revocations"), ("SELECT", "mail_outbox"), ("SELECT", "signing_keys"), ("SELECT", "none")];
        if !background.contains(&(operation, table)) && operation != "DELETE" && table != "jobs" {
            counted.insert(format!("{operation} {table}"), count.parse().expect("a number"));
        }
    }
    counted
}

/// Waits for the first run of the jobs whose statements would be counted. The next one comes a minute later.
pub(crate) async fn until_first_jobs_have_run(app: &TestApp) {
    for job in ["end_left_sessions", "finish_deletions"] {
        until_counted(app, &format!("jobs_total{{job=\"{job}\",result=\"success\"}}")).await;
    }
}

/// What was counted since.
async fn since(before: &Statements, app: &TestApp) -> Vec<String> {
    let mut spent = Vec::new();
    for (statement, count) in statements(app).await {
        for _ in before.get(&statement).copied().unwrap_or(0)..count {
            spent.push(statement.clone());
        }
    }
    spent
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sign_in_requests_cost_their_fixed_number_of_statements() {
    // The printer of mails runs in development only.
    let app = app().env("PORTCULLIS_ENV", "test").start();
    let account = register(&app).await;
    until_first_jobs_have_run(&app).await;

    let before = statements(&app).await;
    let credentials = json!({ "email": account.email, "password": PASSWORD });
    let login = post(&app, "/api/v1/auth/login", &credentials).await;
    assert_eq!(login.status, 200, "{}", login.body);
    assert_eq!(
        since(&before, &app).await,
        [
            "BEGIN transaction",
            "COMMIT transaction",
            "INSERT audit_log",
            "INSERT sessions",
            "INSERT sign_in_attempts",
            "INSERT sign_in_attempts",
            "SELECT users",
            "UPDATE sessions",
            "UPDATE users"
        ]
    );
    let access = login.body["data"]["tokens"]["accessToken"].as_str().expect("a token").to_owned();

    let before = statements(&app).await;
    let body = json!({ "refreshToken": login.body["data"]["tokens"]["refreshToken"] });
    let refreshed = post(&app, "/api/v1/auth/refresh", &body).await;
    assert_eq!(refreshed.status, 200, "{}", refreshed.body);
    assert_eq!(
        since(&before, &app).await,
        [
            "BEGIN transaction",
            "COMMIT transaction",
            "INSERT audit_log",
            "INSERT refresh_grace",
            "SELECT sessions",
            "UPDATE sessions"
        ]
    );

    let before = statements(&app).await;
    let profile = call(&app, Method::GET, "/api/v1/auth/profile", &access, None).await;
    assert_eq!(profile.status, 200, "{}", profile.body);
    // Once for the session and once for the account, and from then on neither.
    assert_eq!(since(&before, &app).await, ["SELECT sessions", "SELECT users"]);
    let before = statements(&app).await;
    for _ in 0..10 {
        assert_eq!(call(&app, Method::GET, "/api/v1/auth/profile", &access, None).await.status, 200);
    }
    assert!(since(&before, &app).await.is_empty(), "a profile whose session is known asked the database");

    let before = statements(&app).await;
    assert_eq!(call(&app, Method::POST, "/api/v1/auth/logout", &access, None).await.status, 200);
    assert_eq!(
        since(&before, &app).await,
        ["BEGIN transaction", "COMMIT transaction", "INSERT audit_log", "INSERT revocations", "UPDATE sessions"]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_of_health_checks_costs_few_statements() {
    let app = Arc::new(app().env("PORTCULLIS_ENV", "test").start());
    until_first_jobs_have_run(&app).await;
    let (before, begun) = (statements(&app).await, Instant::now());
    let mut burst = JoinSet::new();
    for n in 0..300 {
        let app = Arc::clone(&app);
        let path = ["/api/v1/health/ready", "/api/v1/health/detailed", "/api/v1/health/services"][n % 3];
        burst.spawn(async move { get(&app, path).await.status });
    }
    for status in burst.join_all().await {
        assert_eq!(status, 200);
    }
    let spent = since(&before, &app).await;
    let most = usize::try_from(begun.elapsed().as_millis() / 250).expect("few") + 2;
    assert!(spent.len() <= most, "{} statements, at most {most}: {spent:?}", spent.len());
}
