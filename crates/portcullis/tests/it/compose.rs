//! `deploy/compose`: the three programs started as the file says, by hand.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use portcullis_testkit::{PASSWORD, PrivatePostgres, PrivateRedis, registration};
use serde_json::json;

use crate::client::{app, get, post};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/compose");

/// The gateway's environment as the file has it.
fn environment() -> BTreeMap<String, String> {
    let file = std::fs::read_to_string(Path::new(FOLDER).join("compose.yaml")).expect("the file is there");
    let service = file.split("  portcullis:\n").nth(1).and_then(|rest| rest.split("\n  postgres:\n").next());
    let lines = service.and_then(|service| service.split("    environment:\n").nth(1)).expect("it has an environment");
    lines
        .lines()
        .take_while(|line| line.starts_with("      "))
        .filter_map(|line| line.trim().split_once(": "))
        .map(|(name, value)| (name.to_owned(), value.trim_matches('"').to_owned()))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_gateway_starts_as_the_compose_file_says() {
    let folder = tempfile::tempdir().expect("a folder");
    let secrets = folder.path().join("secrets");
    let script = Path::new(FOLDER).join("secrets.sh");
    let run = || assert!(Command::new(&script).arg(&secrets).output().expect("sh runs").status.success());
    run();
    let read = |name: &str| std::fs::read_to_string(secrets.join(name)).expect("it was made");
    let key = read("encryption_key");
    run();
    assert_eq!(read("encryption_key"), key, "a second run made another key");
    assert!(key.len() >= 32 && key != read("csrf_secret"));
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&secrets).expect("is there").permissions());
    assert_eq!(mode & 0o077, 0, "others can read the secrets");

    // The servers as the file starts them, on this machine's addresses.
    let password = read("redis_password");
    let redis = PrivateRedis::start_with(&[
        "--requirepass",
        &password,
        "--maxmemory",
        "256mb",
        "--maxmemory-policy",
        "allkeys-lru",
    ]);
    let postgres = PrivatePostgres::start();
    postgres.run_sql(&format!("CREATE ROLE gate LOGIN SUPERUSER PASSWORD '{}'", read("postgres_password")));
    postgres.run_sql("CREATE DATABASE gate OWNER gate");
    let put = |name: &str, from: &str, to: &str| {
        let text = read(name);
        assert!(text.contains(from), "{name} does not lead to {from}");
        std::fs::write(secrets.join(name), text.replace(from, to)).expect("the folder is writable");
    };
    put("redis_url", "@redis:6379", &format!("@127.0.0.1:{}", redis.port()));
    put("database_url", "@postgres:5432/portcullis", &format!("@127.0.0.1:{}/gate", postgres.port()));
    put("database_url", "//portcullis:", "//gate:");

    let mut builder = app().on_sqlite();
    for (name, value) in environment() {
        builder = match (name.as_str(), value.strip_prefix("/run/secrets/")) {
            ("PORT" | "PUBLIC_URL", _) => builder,
            (_, Some(secret)) => builder.env(&name, secrets.join(secret).display().to_string()),
            (_, None) => builder.env(&name, value),
        };
    }
    let routes = std::fs::read_to_string(Path::new(FOLDER).join("portcullis.toml")).expect("the file is there");
    let app = builder.env("PUBLIC_URL", "https://gate.example").env("HOST", "127.0.0.1").settings(&routes).start();
    // The root of its container is read-only.
    assert!(!app.folder().join("portcullis-data").exists(), "it wrote into its folder");
    let health = get(&app, "/api/v1/health/detailed").await;
    assert_eq!(health.body["data"]["redis"]["status"], "healthy", "{}", health.body);
    assert_eq!(post(&app, "/api/v1/auth/register", &registration("ada")).await.status, 201);
    let login = post(&app, "/api/v1/auth/login", &json!({ "email": "ada@example.com", "password": PASSWORD })).await;
    assert_eq!(login.status, 200, "{}", login.body);
    let healthcheck = app.command(&["healthcheck"]).env("PORT", app.address().port().to_string()).output();
    assert!(healthcheck.expect("the binary runs").status.success());
}
