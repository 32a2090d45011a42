//! What a client sends as a secret, and what the settings hold of one, is nowhere in the log.

use std::io::{Read, Write};
use std::net::TcpStream;

use portcullis_testkit::{PrivatePostgres, TestApp, free_port, registration};
use serde_json::{Value, json};

use crate::client::{app, client, send};

/// The beginning of every secret that the test plants. It has nothing that a rule for texts from outside looks for.
const PLANTED: &str = "planted";

/// A secret of its own for each place.
fn secret(place: &str) -> String {
    format!("{PLANTED}-{place}")
}

/// Sends requests that hold secrets wherever a request may, and returns their statuses.
async fn plant(app: &TestApp) -> Vec<u16> {
    let proxied = || {
        let url = app.url(&format!("/api/v1/projects/x?token={}&_csrf={}", secret("query"), secret("csrf")));
        client()
            .get(url)
            .header("user-agent", secret("agent"))
            .header("referer", format!("https://app.example/?code={}", secret("referer")))
            .header("x-csrf-token", secret("csrf"))
    };
    let body = |path: &str, body: Value| client().post(app.url(path)).json(&body);
    let mut new_user = registration("ada");
    new_user["password"] = secret("password").into();
    new_user["confirmPassword"] = secret("other-password").into();
    let requests = [
        proxied(),
        proxied().bearer_auth(secret("bearer")),
        proxied().basic_auth(secret("user"), Some(secret("basic"))),
        proxied().header("x-api-key", secret("key")),
        proxied().header("cookie", format!("portcullis-session={0}; portcullis-csrf={0}", secret("cookie"))),
        body("/api/v1/auth/login", json!({ "email": "ada@example.com", "password": secret("password") })),
        body("/api/v1/auth/register", new_user),
        body("/api/v1/auth/refresh", json!({ "refreshToken": secret("refresh") })),
        body("/api/v1/auth/reset-password", json!({ "token": secret("reset"), "password": secret("password") })),
        body("/api/v1/auth/verify-email", json!({ "token": secret("verify") })),
        client()
            .post(app.url("/api/v1/auth/login"))
            .header("content-type", "application/json")
            .body(format!("{{\"password\": \"{}\"", secret("broken"))),
    ];
    let mut statuses = Vec::new();
    for request in requests {
        statuses.push(send(request).await.status);
    }
    let mut malformed = TcpStream::connect(app.address()).expect("it listens");
    let head = format!("GET /?token={} HTP/1.1\r\nauthorization: {}\r\n\r\n", secret("line"), secret("header"));
    malformed.write_all(head.as_bytes()).expect("it reads");
    malformed.read_to_end(&mut Vec::new()).expect("it closes");
    statuses
}

#[tokio::test]
async fn sr_47_planted_secrets_are_nowhere_in_the_log() {
    let server = PrivatePostgres::start();
    let url = server.database();
    let name = url.rsplit('/').next().expect("the name of the database");
    let password = url.split(['@', ':']).nth(2).expect("the URL has a password");
    let app = app()
        .env("DATABASE_URL", &url)
        .env("LOG_FORMAT", "json")
        .env("LOG_LEVEL", "debug,portcullis=trace")
        .env("PORTCULLIS__LOG__ACCESS", "all")
        .settings(&format!(
            "[upstreams.projects]\ntargets = [\"http://127.0.0.1:{}\"]\n\n\
             [[routes]]\npath = \"/api/v1/projects/{{*rest}}\"\nupstream = \"projects\"\nauth = \"none\"\n",
            free_port()
        ))
        .start();
    let statuses = plant(&app).await;
    assert!(statuses.contains(&502) && statuses.contains(&401) && statuses.contains(&400), "{statuses:?}");
    server.run_sql_in(name, "ALTER TABLE users RENAME TO taken_away");
    let statuses = plant(&app).await;
    assert!(statuses.contains(&500), "{statuses:?}");
    server.stop();
    let statuses = plant(&app).await;
    assert!(statuses.contains(&503), "{statuses:?}");
    app.terminate();
    let lines = app.log_lines_until("stopping");
    assert!(lines.iter().any(|line| line.contains("internal error")), "the failure of a statement was logged");
    assert!(lines.iter().any(|line| line.contains("the database is not available")), "so was the loss of the database");
    assert!(lines.iter().filter(|line| line.contains("\"target\":\"access\"")).count() >= 3 * statuses.len());
    let leaks: Vec<_> = lines.iter().filter(|line| line.contains(PLANTED) || line.contains(password)).collect();
    assert!(leaks.is_empty(), "{leaks:#?}");
}
