//! Starting: what it says, what it makes, and how it refuses.

use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};

use serde_json::json;

use crate::client::{app, client, get, post, send};
use portcullis_testkit::person;

fn run(app: &portcullis_testkit::TestAppBuilder, environment: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_portcullis"))
        .arg("serve")
        .current_dir(app.folder())
        .env_clear()
        .envs(environment.iter().copied())
        .output()
        .expect("the binary runs")
}

fn refused(output: &Output, word: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.to_lowercase().contains(word), "{word:?} in {said}");
    assert!(!said.contains("panicked") && !said.contains("RUST_BACKTRACE"), "{said}");
}

#[tokio::test]
async fn sr_45_the_printed_link_makes_the_first_administrator_once() {
    let mut app = app().start();
    let link =
        app.said().split_whitespace().find(|word| word.contains("/setup#")).expect("a link is printed").to_owned();
    let token = link.split('#').nth(1).expect("the token is in the fragment").to_owned();
    let page = client().get(app.url("/setup")).send().await.expect("the page");
    assert_eq!(page.status(), 200);
    assert!(page.headers()["content-security-policy"].to_str().expect("text").contains("script-src 'sha256-"));
    let mut body = person("root1");
    body["token"] = json!("not-the-token");
    let answer = post(&app, "/api/v1/auth/first-administrator", &body).await;
    assert_eq!((answer.status, answer.error()), (409, "Setup is not available"));
    body["token"] = json!(token);
    let answer = post(&app, "/api/v1/auth/first-administrator", &body).await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    assert_eq!(answer.body["data"]["user"]["role"], "ADMIN");
    let mut again = person("root2");
    again["token"] = json!(token);
    assert_eq!(post(&app, "/api/v1/auth/first-administrator", &again).await.status, 409);
    app.stop_and_restart();
    assert!(!app.said().contains("/setup#"), "with an administrator no link is printed: {}", app.said());
}

#[test]
fn sr_50_without_an_environment_it_listens_on_loopback_and_keeps_its_secrets_to_itself() {
    let app = app().start();
    assert!(app.address().ip().is_loopback());
    let data = app.folder().join("portcullis-data");
    for entry in std::fs::read_dir(&data).expect("the data folder") {
        let entry = entry.expect("an entry");
        let mode = entry.metadata().expect("metadata").permissions().mode() & 0o077;
        assert_eq!(mode, 0, "{} is readable by others", entry.path().display());
    }
}

#[test]
fn a_taken_port_is_one_sentence_and_exit_code_1() {
    let holder = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = holder.local_addr().expect("an address").port().to_string();
    let output = run(&app(), &[("PORT", &port)]);
    refused(&output, "port");
    assert!(String::from_utf8_lossy(&output.stderr).contains("hint:"));
}

#[test]
fn an_unwritable_data_folder_is_one_sentence_and_exit_code_1() {
    // A file where the folder should be refuses root too.
    let builder = app();
    std::fs::write(builder.folder().join("portcullis-data"), "in the way").expect("writable");
    refused(&run(&builder, &[("PORT", "0")]), "folder");
}

#[tokio::test]
async fn a_database_from_a_newer_version_is_refused_by_name() {
    let mut app = app().on_sqlite().start();
    app.stop();
    let file = std::fs::read_dir(app.folder().join("portcullis-data"))
        .expect("the data folder")
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .find(|path| {
            path.extension()
                .is_some_and(|extension| extension == "db" || extension == "sqlite" || extension == "sqlite3")
        })
        .expect("a database file");
    let python = "import sqlite3,sys; c=sqlite3.connect(sys.argv[1]); c.execute(\"INSERT INTO schema_migrations(version,name,applied_at) VALUES (9999,'from_the_future','2030-01-01T00:00:00+00:00')\"); c.commit()";
    let status = Command::new("python3").args(["-c", python]).arg(&file).status().expect("python3 runs");
    assert!(status.success());
    let output = app.command(&["serve"]).output().expect("the binary runs");
    refused(&output, "newer");
}

#[test]
fn production_names_what_is_missing() {
    let output = run(&app(), &[("PORT", "0"), ("PORTCULLIS_ENV", "production")]);
    for name in ["CSRF_SECRET", "ENCRYPTION_KEY", "PUBLIC_URL"] {
        refused(&output, &name.to_lowercase());
    }
}

#[tokio::test]
async fn health_answers_and_the_root_is_enveloped() {
    let app = app().start();
    let answer = get(&app, "/").await;
    assert_eq!((answer.status, answer.body["data"]["name"].as_str()), (200, Some("Portcullis")));
    for path in
        ["/api/health", "/api/v1/health/live", "/api/health/ready", "/api/health/detailed", "/api/health/services"]
    {
        let answer = get(&app, path).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        assert_eq!(answer.body["success"], true);
    }
    let keys = get(&app, "/.well-known/jwks.json").await;
    assert_eq!(keys.body["keys"][0]["kty"], "OKP");
    assert!(keys.body["keys"][0]["d"].is_null());
    let head = send(client().head(app.url("/api/health"))).await;
    assert_eq!(head.status, 200);
}
