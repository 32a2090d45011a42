//! From SQLite to PostgreSQL with `portcullis move`: people notice nothing.

use portcullis_testkit::{PASSWORD, PrivatePostgres};
use reqwest::Method;
use serde_json::{Value, json};

use crate::client::{app, call, post, register};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_move_old_passwords_tokens_and_sessions_go_on() {
    let secrets = |builder: portcullis_testkit::TestAppBuilder| {
        builder
            .env("CSRF_SECRET", "the same secret for CSRF tokens, before and after")
            .env("ENCRYPTION_KEY", "the same key for everything sealed, before and after")
    };
    let mut before = secrets(app().on_sqlite()).start();
    let account = register(&before).await;
    let ended = register(&before).await;
    assert_eq!(call(&before, Method::POST, "/api/v1/auth/logout", &ended.access, None).await.status, 200);
    before.stop();

    let server = PrivatePostgres::shared();
    let to = server.database();
    let from = format!("sqlite://{}", before.folder().join("portcullis-data/portcullis.db").display());
    let moved = before.command(&["move", "--from", &from, "--to", &to, "--json"]).output().expect("the binary runs");
    assert!(moved.status.success(), "{}", String::from_utf8_lossy(&moved.stderr));
    let said: Value = serde_json::from_slice(&moved.stdout).expect("JSON");
    assert_eq!(said["tables"][0]["table"], "users");
    assert_eq!(said["tables"][0]["rows"], 2);
    assert!(!said.to_string().contains("only-for-tests"), "{said}");

    let after = secrets(app().on_sqlite()).env("DATABASE_URL", &to).start();
    let profile = call(&after, Method::GET, "/api/v1/auth/profile", &account.access, None).await;
    assert_eq!((profile.status, profile.body["data"]["user"]["email"].as_str()), (200, Some(account.email.as_str())));
    assert_eq!(call(&after, Method::GET, "/api/v1/auth/profile", &ended.access, None).await.status, 401);
    let refreshed = post(&after, "/api/v1/auth/refresh", &json!({ "refreshToken": account.refresh })).await;
    assert_eq!(refreshed.status, 200, "{}", refreshed.body);
    let login = post(&after, "/api/v1/auth/login", &json!({ "email": ended.email, "password": PASSWORD })).await;
    assert_eq!(login.status, 200, "{}", login.body);

    let wrong = before.command(&["move", "--from", &from, "--to", "postgres://ada:hunter2@db:port/gate"]).output();
    let wrong = wrong.expect("the binary runs");
    let said = String::from_utf8_lossy(&wrong.stderr).into_owned();
    assert!(
        wrong.status.code() == Some(1) && said.contains("--to cannot be used") && !said.contains("hunter2"),
        "{said}"
    );

    let again = before.command(&["move", "--from", &from, "--to", &to]).output().expect("the binary runs");
    let said = String::from_utf8_lossy(&again.stderr).into_owned();
    assert_eq!(again.status.code(), Some(1));
    assert!(said.contains("is not empty: it holds 2 rows in users") && said.contains("hint:"), "{said}");
}
