//! Samples move by exactly what happened.

use portcullis_testkit::{PASSWORD, TestApp};
use serde_json::json;

use crate::client::{app, client, get, post, register};

async fn page(app: &TestApp) -> String {
    client().get(app.url("/metrics")).send().await.expect("it answers").text().await.expect("text")
}

fn sample(page: &str, series: &str) -> f64 {
    page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok()).unwrap_or(0.0)
}

fn statements(page: &str) -> f64 {
    page.lines()
        .filter(|line| line.starts_with("database_query_duration_seconds_count{"))
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .sum()
}

#[tokio::test]
async fn one_login_moves_each_family_by_that_login() {
    let app = app().start();
    let account = register(&app).await;
    // The welcome reads its person too, whenever it is sent.
    app.line_with("mail to");
    let before = page(&app).await;
    let login = json!({ "email": account.email, "password": PASSWORD });
    assert_eq!(post(&app, "/api/auth/login", &login).await.status, 200);
    let after = page(&app).await;
    for (series, moved) in [
        ("auth_attempts_total{status=\"success\",type=\"login\"}", 1.0),
        ("auth_attempts_total{status=\"failure\",type=\"login\"}", 0.0),
        ("http_requests_total{method=\"POST\",route=\"/api/v1/auth/login\",status_code=\"200\"}", 1.0),
        ("http_request_duration_seconds_count{method=\"POST\",route=\"/api/v1/auth/login\",status_code=\"200\"}", 1.0),
        ("database_query_duration_seconds_count{operation=\"INSERT\",table=\"sessions\"}", 1.0),
        ("database_query_duration_seconds_count{operation=\"INSERT\",table=\"audit_log\"}", 1.0),
        ("database_query_duration_seconds_count{operation=\"UPDATE\",table=\"users\"}", 1.0),
        ("database_query_duration_seconds_count{operation=\"SELECT\",table=\"users\"}", 1.0),
    ] {
        assert_eq!(sample(&after, series) - sample(&before, series), moved, "{series}");
    }
    let wrong = json!({ "email": account.email, "password": "wrong" });
    assert_eq!(post(&app, "/api/auth/login", &wrong).await.status, 401);
    let failed = page(&app).await;
    let series = "auth_attempts_total{status=\"failure\",type=\"login\"}";
    assert_eq!(sample(&failed, series) - sample(&after, series), 1.0);
}

#[tokio::test]
async fn a_known_session_costs_no_statement() {
    let app = app().start();
    let account = register(&app).await;
    let warm = || async {
        let request = client().get(app.url("/api/v1/nowhere")).bearer_auth(&account.access);
        assert_eq!(crate::client::send(request).await.status, 404);
        crate::client::send(client().get(app.url("/api/v1/health")).bearer_auth(&account.access)).await
    };
    warm().await;
    let before = page(&app).await;
    for _ in 0..20 {
        assert_eq!(warm().await.status, 200);
    }
    let hits = |page: &str| sample(page, "cache_hits_total{cache_type=\"memory\"}");
    let after = page(&app).await;
    assert!(hits(&after) - hits(&before) >= 20.0);
    let selects = "database_query_duration_seconds_count{operation=\"SELECT\",table=\"sessions\"}";
    assert_eq!(sample(&after, selects), sample(&before, selects));
    assert!(statements(&after) > 0.0);
}

#[tokio::test]
async fn clients_cannot_grow_the_number_of_series() {
    let app = app().start();
    get(&app, "/warm/up").await;
    let series = |page: &str| page.lines().filter(|line| line.starts_with("http_requests_total{")).count();
    page(&app).await;
    let before = series(&page(&app).await);
    let client = client();
    for n in 0..300 {
        let response = client.get(app.url(&format!("/made/up/{n}"))).send().await.expect("it answers");
        assert_eq!(response.status(), 404);
    }
    assert_eq!(series(&page(&app).await), before);
}

#[tokio::test]
async fn prometheus_own_tool_accepts_the_page() {
    let app = app().start();
    register(&app).await;
    let page = page(&app).await;
    let Ok(mut tool) = std::process::Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
    else {
        panic!("promtool is missing. hint: make setup");
    };
    std::io::Write::write_all(&mut tool.stdin.take().expect("piped"), page.as_bytes()).expect("promtool reads");
    let output = tool.wait_with_output().expect("promtool ends");
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}
