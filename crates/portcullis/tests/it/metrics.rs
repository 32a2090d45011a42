//! Each metric moves by exactly what happened.

use portcullis_testkit::{PASSWORD, TestApp};
use serde_json::json;

use crate::client::{Account, app, client, get, post, register, send};
use crate::statement_counts::until_first_jobs_have_run;

/// A scraped page of metrics.
struct Page(String);

impl Page {
    async fn scrape(app: &TestApp) -> Self {
        Self(client().get(app.url("/metrics")).send().await.expect("a response").text().await.expect("text"))
    }

    /// The value of a sample, 0 if it is not there.
    fn sample(&self, series: &str) -> f64 {
        let value = |line: &str| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok();
        self.0.lines().find_map(value).unwrap_or(0.0)
    }

    /// The number of SQL statements of all kinds.
    fn statements(&self) -> f64 {
        let counts = self.0.lines().filter(|line| line.starts_with("database_query_duration_seconds_count{"));
        counts.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }

    /// The number of series that count requests.
    fn request_series(&self) -> usize {
        self.0.lines().filter(|line| line.starts_with("http_requests_total{")).count()
    }
}

/// How much samples grew from one page to a later one.
fn growth(before: &Page, after: &Page, series: &str) -> f64 {
    after.sample(series) - before.sample(series)
}

const SUCCESS: &str = "auth_attempts_total{status=\"success\",type=\"login\"}";
const FAILURE: &str = "auth_attempts_total{status=\"failure\",type=\"login\"}";

async fn sign_in(app: &TestApp, account: &Account, password: &str) -> u16 {
    let body = json!({ "email": account.email, "password": password });
    post(app, "/api/auth/login", &body).await.status
}

#[tokio::test]
async fn one_sign_in_moves_each_family_by_that_sign_in() {
    let app = app().start();
    let account = register(&app).await;
    // The welcome mail reads the user too, so the test waits until it is sent.
    app.line_with("mail to");
    until_first_jobs_have_run(&app).await;
    let before = Page::scrape(&app).await;
    assert_eq!(sign_in(&app, &account, PASSWORD).await, 200);
    let after = Page::scrape(&app).await;
    for (series, moved) in [
        (SUCCESS, 1.0),
        (FAILURE, 0.0),
        ("http_requests_total{method=\"POST\",route=\"/api/v1/auth/login\",status_code=\"200\"}", 1.0),
        ("http_request_duration_seconds_count{method=\"POST\",route=\"/api/v1/auth/login\",status_code=\"200\"}", 1.0),
        ("database_query_duration_seconds_count{operation=\"INSERT\",table=\"sessions\"}", 1.0),
        ("database_query_duration_seconds_count{operation=\"INSERT\",table=\"audit_log\"}", 1.0),
        ("database_query_duration_seconds_count{operation=\"UPDATE\",table=\"users\"}", 1.0),
        ("database_query_duration_seconds_count{operation=\"SELECT\",table=\"users\"}", 1.0),
    ] {
        assert_eq!(growth(&before, &after, series), moved, "{series}");
    }
}

#[tokio::test]
async fn a_wrong_password_is_counted_as_a_failure() {
    let app = app().start();
    let account = register(&app).await;
    let before = Page::scrape(&app).await;
    assert_eq!(sign_in(&app, &account, "wrong").await, 401);
    let after = Page::scrape(&app).await;
    assert_eq!((growth(&before, &after, FAILURE), growth(&before, &after, SUCCESS)), (1.0, 0.0));
}

#[tokio::test]
async fn a_cached_session_costs_no_statement() {
    let app = app().start();
    let account = register(&app).await;
    let health = || async {
        let request = client().get(app.url("/api/v1/health")).bearer_auth(&account.access);
        assert_eq!(send(request).await.status, 200);
    };
    health().await;
    until_first_jobs_have_run(&app).await;
    let before = Page::scrape(&app).await;
    for _ in 0..20 {
        health().await;
    }
    let after = Page::scrape(&app).await;
    assert!(growth(&before, &after, "cache_hits_total{cache_type=\"memory\"}") >= 20.0);
    let selects = "database_query_duration_seconds_count{operation=\"SELECT\",table=\"sessions\"}";
    assert_eq!(growth(&before, &after, selects), 0.0);
    assert!(after.statements() > 0.0, "statements are counted");
}

#[tokio::test]
async fn clients_cannot_grow_the_number_of_series() {
    let app = app().start();
    get(&app, "/warm/up").await;
    Page::scrape(&app).await;
    let before = Page::scrape(&app).await.request_series();
    let client = client();
    for n in 0..300 {
        let response = client.get(app.url(&format!("/made/up/{n}"))).send().await.expect("a response");
        assert_eq!(response.status(), 404);
    }
    assert_eq!(Page::scrape(&app).await.request_series(), before);
}

#[tokio::test]
async fn prometheus_own_tool_accepts_the_page() {
    let app = app().start();
    register(&app).await;
    let page = Page::scrape(&app).await;
    let Ok(mut tool) = std::process::Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
    else {
        panic!("promtool is missing. hint: make setup");
    };
    std::io::Write::write_all(&mut tool.stdin.take().expect("piped"), page.0.as_bytes()).expect("promtool reads");
    let output = tool.wait_with_output().expect("promtool ends");
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}
