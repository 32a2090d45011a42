//! A wall clock that jumps while the gateway runs, by libfaketime. Clocks that only count go on as ever.

use std::path::{Path, PathBuf};

use portcullis_testkit::{PASSWORD, PrivatePostgres, TestApp, TestAppBuilder};
use reqwest::Method;
use serde_json::{Value, json};

use crate::client::{app, call, client, post, register};

/// The wall clock of a gateway.
struct WallClock(tempfile::TempDir);

impl WallClock {
    fn new() -> Self {
        let clock = Self(tempfile::tempdir().expect("a temporary folder"));
        clock.set(0);
        clock
    }

    /// Sets how many seconds it is ahead of the true time.
    fn set(&self, ahead: i64) {
        let new = self.0.path().join("new");
        std::fs::write(&new, format!("{ahead:+}\n")).expect("the folder is writable");
        // At once, so that no reader sees half of it.
        std::fs::rename(new, self.file()).expect("the folder is writable");
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("offset")
    }

    /// A gateway that reads this clock.
    fn of(&self, app: TestAppBuilder) -> TestAppBuilder {
        app.env("LD_PRELOAD", library().display().to_string())
            .env("FAKETIME_TIMESTAMP_FILE", self.file().display().to_string())
            .env("FAKETIME_NO_CACHE", "1")
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            .env("NO_FAKE_STAT", "1")
    }
}

fn library() -> PathBuf {
    let folders = std::fs::read_dir("/usr/lib").into_iter().flatten().flatten();
    let library = |folder: &Path| folder.join("faketime/libfaketime.so.1");
    let found = folders.map(|folder| library(&folder.path())).find(|file| file.exists());
    found.expect("libfaketime is missing. hint: make setup")
}

/// The value of a sample, or the sum of those of a family.
async fn sample(app: &TestApp, name: &str) -> f64 {
    let page = client().get(app.url("/metrics")).send().await.expect("it answers").text().await.expect("text");
    let values = page.lines().filter(|line| line.starts_with(name)).filter_map(|line| line.split(' ').nth(1));
    values.map(|value| value.parse::<f64>().expect("a number")).sum()
}

async fn profile(app: &TestApp, access: &str) -> u16 {
    call(app, Method::GET, "/api/v1/auth/profile", access, None).await.status
}

async fn sign_in(app: &TestApp, email: &str) -> String {
    let response = post(app, "/api/v1/auth/login", &json!({ "email": email, "password": PASSWORD })).await;
    assert_eq!(response.status, 200, "{}", response.body);
    response.body["data"]["tokens"]["accessToken"].as_str().expect("a token").to_owned()
}

/// The time (Unix seconds) of the next log line with this part.
fn logged_at(app: &TestApp, part: &str) -> i64 {
    let line: Value = serde_json::from_str(&app.log_line_with(part)).expect("JSON");
    let time = line["timestamp"].as_str().expect("a time");
    time.parse::<portcullis_model::Timestamp>().expect("RFC 3339").timestamp()
}

#[tokio::test]
async fn with_postgresql_a_jumping_clock_ends_no_session() {
    let (server, clock) = (PrivatePostgres::shared(), WallClock::new());
    let app = clock.of(app().env("DATABASE_URL", server.database())).start();
    let account = register(&app).await;
    for ahead in [7_200, -7_200, 0] {
        clock.set(ahead);
        // The gateway measures twice a second.
        while (sample(&app, "database_clock_difference_seconds").await - ahead as f64).abs() > 1.0 {}
        assert_eq!(profile(&app, &account.access).await, 200, "{ahead}");
        let access = sign_in(&app, &account.email).await;
        assert_eq!(profile(&app, &access).await, 200, "{ahead}");
    }
}

#[tokio::test]
async fn with_sqlite_a_jump_ends_what_has_expired_by_it() {
    let clock = WallClock::new();
    let database = format!("sqlite://{}", clock.0.path().join("portcullis.db").display());
    let limits = [("PORTCULLIS__LIMITS__ENABLED", "true"), ("PORTCULLIS__LIMITS__AUTH", "20/1h")];
    let app = app().env("DATABASE_URL", database).env("LOG_FORMAT", "json").env("PORTCULLIS__LOG__ACCESS", "all");
    let app = app.env("JWT_EXPIRES_IN", "15m");
    let app = limits.iter().fold(clock.of(app), |app, (name, value)| app.env(name, *value)).start();
    let account = register(&app).await;
    assert_eq!(profile(&app, &account.access).await, 200);
    let began = logged_at(&app, "/api/v1/auth/profile");

    clock.set(3_600);
    assert_eq!(profile(&app, &account.access).await, 401, "the access token lives 15 minutes");
    let refreshed = post(&app, "/api/v1/auth/refresh", &json!({ "refreshToken": account.refresh })).await;
    assert_eq!(refreshed.status, 200, "{}", refreshed.body);
    let access = refreshed.body["data"]["tokens"]["accessToken"].as_str().expect("a token");
    assert_eq!(profile(&app, access).await, 200);
    let jumped = logged_at(&app, "\"status\":401") - began;
    assert!((3_600..3_700).contains(&jumped), "the log shows the machine's time: {jumped}");

    clock.set(0);
    // A token from the future is not valid yet, and the limit of sign-ins has not begun anew.
    assert_eq!(profile(&app, access).await, 401);
    let access = sign_in(&app, &account.email).await;
    assert_eq!(profile(&app, &access).await, 200);
    let limited = async || post(&app, "/api/v1/auth/login", &json!({})).await.status == 429;
    let mut sent = 1;
    while !limited().await {
        sent += 1;
    }
    assert!(sent <= 18, "{sent} more requests passed a limit of 20");
    let took = sample(&app, "http_request_duration_seconds_sum").await;
    assert!((0.0..600.0).contains(&took), "durations do not jump: {took}");
}
