//! Periodic jobs in a running gateway: their status in health reports and metrics.

use std::time::{Duration, Instant};

use portcullis_testkit::{PrivatePostgres, TestApp};
use reqwest::Method;
use serde_json::{Value, json};

use crate::client::{app, call, get};
use crate::shell_users::administrator;

/// A job that must have run by the time a test looks.
const JOB: &str = "prune_idempotency_keys";

/// A gateway with an administrator, in which a job fails: its table has another name.
async fn gateway_with_a_failing_job() -> (TestApp, String) {
    let server = PrivatePostgres::shared();
    let url = server.database();
    let mut app = app().env("DATABASE_URL", &url).start();
    let root = administrator(&app).await;
    until_entry(&app, &root, JOB, |job| !job["lastSuccessAt"].is_null()).await;
    app.stop();
    let database = url.rsplit('/').next().expect("the address ends with the name");
    server.run_sql_in(database, "ALTER TABLE idempotency_keys RENAME TO keys_elsewhere");
    server.run_sql_in(database, "UPDATE jobs SET next_run_at = now()");
    app.start_again();
    until(&app, "degraded").await;
    (app, root)
}

/// Waits until health has this status.
async fn until(app: &TestApp, status: &str) -> Value {
    let begun = Instant::now();
    loop {
        let health = get(app, "/api/health/detailed").await;
        assert_eq!(health.status, 200, "{}", health.body);
        if health.body["data"]["status"] == status {
            return health.body["data"].clone();
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "never {status}: {}", health.body);
    }
}

/// A job's entry in the health report as an operator sees it.
async fn entry(app: &TestApp, token: &str, job: &str) -> Value {
    let health = call(app, Method::GET, "/api/health/detailed", token, None).await;
    let jobs = health.body["data"]["jobs"]["jobs"].as_array().expect("operators see the jobs").clone();
    jobs.into_iter().find(|entry| entry["name"] == job).expect("the job is listed")
}

/// Waits until a job's entry is as the test needs it.
async fn until_entry(app: &TestApp, token: &str, job: &str, is_met: impl Fn(&Value) -> bool) {
    let begun = Instant::now();
    loop {
        let entry = entry(app, token, job).await;
        if is_met(&entry) {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "{job} stays {entry}");
    }
}

/// Waits until a sample, which this is the beginning of, is there and not zero.
pub(crate) async fn until_counted(app: &TestApp, sample: &str) {
    let begun = Instant::now();
    loop {
        let page = get(app, "/metrics").await.body.as_str().expect("text").to_owned();
        if page.lines().any(|line| line.strip_prefix(sample).is_some_and(|value| value.trim() != "0")) {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "no {sample} above zero in {page}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failing_job_makes_health_degraded_with_200() {
    let (app, root) = gateway_with_a_failing_job().await;
    let health = until(&app, "degraded").await;
    assert_eq!(health["database"]["status"], "healthy");
    until_entry(&app, &root, JOB, |job| job["lastResult"] == "failure").await;
    until_entry(&app, &root, "prune_revocations", |job| job["lastResult"] == "success").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn anonymous_callers_see_the_jobs_status_word_only() {
    let app = app().start();
    assert_eq!(until(&app, "healthy").await["jobs"], json!({ "status": "healthy" }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_are_counted_by_name_and_result() {
    let (app, _) = gateway_with_a_failing_job().await;
    until_counted(&app, &format!("jobs_total{{job=\"{JOB}\",result=\"failure\"}} ")).await;
    // Its last success was before the restart, and is read from the database.
    until_counted(&app, &format!("job_last_success_timestamp_seconds{{job=\"{JOB}\"}} ")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operators_see_when_a_job_last_succeeded() {
    let app = app().start();
    let root = administrator(&app).await;
    until_entry(&app, &root, JOB, |job| !job["lastSuccessAt"].is_null()).await;
    assert_eq!(entry(&app, &root, JOB).await["lastResult"], "success");
}
