//! Starting: what the server prints, which files it makes, and why it refuses to start.

use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};

use serde_json::json;

use crate::client::{TestResponse, app, client, get, post, send};
use portcullis_testkit::{TestApp, registration};

/// Runs `serve` with only this environment until it exits.
fn run(app: &portcullis_testkit::TestAppBuilder, environment: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_portcullis"))
        .arg("serve")
        .current_dir(app.folder())
        .env_clear()
        .envs(environment.iter().copied())
        .output()
        .expect("the binary runs")
}

fn assert_refused(output: &Output, word: &str) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.to_lowercase().contains(word), "{word:?} in {stderr}");
    assert!(!stderr.contains("panicked") && !stderr.contains("RUST_BACKTRACE"), "{stderr}");
}

/// The token of the printed link for the first administrator.
fn setup_token(app: &TestApp) -> String {
    let link =
        app.startup_output().split_whitespace().find(|word| word.contains("/setup#")).expect("a link is printed");
    link.split('#').nth(1).expect("the token is in the fragment").to_owned()
}

/// Uses a token of the link to make the user `name` the first administrator.
async fn first_administrator(app: &TestApp, name: &str, token: &str) -> TestResponse {
    let mut body = registration(name);
    body["token"] = json!(token);
    post(app, "/api/v1/auth/first-administrator", &body).await
}

#[tokio::test]
async fn sr_45_the_setup_page_has_a_strict_policy() {
    let app = app().start();
    let page = client().get(app.url("/setup")).send().await.expect("the page");
    assert_eq!(page.status(), 200);
    assert!(page.headers()["content-security-policy"].to_str().expect("text").contains("script-src 'sha256-"));
}

#[tokio::test]
async fn sr_45_the_printed_link_makes_an_administrator_once() {
    let app = app().start();
    let token = setup_token(&app);
    let made = first_administrator(&app, "root1", &token).await;
    assert_eq!(made.status, 201, "{}", made.body);
    assert_eq!(made.body["data"]["user"]["role"], "ADMIN");
    assert_eq!(first_administrator(&app, "root2", &token).await.status, 409);
}

#[tokio::test]
async fn sr_45_another_token_makes_no_administrator() {
    let app = app().start();
    let refused = first_administrator(&app, "root1", "not-the-token").await;
    assert_eq!((refused.status, refused.error()), (409, "Setup is not available"));
}

#[tokio::test]
async fn sr_45_with_an_administrator_no_link_is_printed() {
    let mut app = app().start();
    let token = setup_token(&app);
    assert_eq!(first_administrator(&app, "root1", &token).await.status, 201);
    app.stop_and_restart();
    assert!(!app.startup_output().contains("/setup#"), "{}", app.startup_output());
}

#[test]
fn sr_50_without_an_environment_it_listens_on_loopback() {
    assert!(app().start().address().ip().is_loopback());
}

#[test]
fn sr_50_only_its_user_reads_the_data_folder() {
    let app = app().start();
    let data = app.folder().join("portcullis-data");
    for entry in std::fs::read_dir(&data).expect("the data folder") {
        let entry = entry.expect("an entry");
        let mode = entry.metadata().expect("metadata").permissions().mode() & 0o077;
        assert_eq!(mode, 0, "{} is readable by others", entry.path().display());
    }
}

#[test]
fn a_taken_port_is_refused_with_a_hint() {
    let holder = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = holder.local_addr().expect("an address").port().to_string();
    let output = run(&app(), &[("PORT", &port)]);
    assert_refused(&output, "port");
    assert!(String::from_utf8_lossy(&output.stderr).contains("hint:"));
}

#[test]
fn an_unwritable_data_folder_is_refused() {
    // Permissions would not stop root; a file in place of the folder does.
    let builder = app();
    std::fs::write(builder.folder().join("portcullis-data"), "in the way").expect("writable");
    assert_refused(&run(&builder, &[("PORT", "0")]), "folder");
}

#[tokio::test]
async fn a_database_of_a_newer_version_is_refused() {
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
    assert_refused(&output, "newer");
}

#[test]
fn production_names_every_missing_setting() {
    let output = run(&app(), &[("PORT", "0"), ("PORTCULLIS_ENV", "production")]);
    for name in ["CSRF_SECRET", "ENCRYPTION_KEY", "PUBLIC_URL"] {
        assert_refused(&output, &name.to_lowercase());
    }
}

#[tokio::test]
async fn the_root_names_the_program() {
    let app = app().start();
    let response = get(&app, "/").await;
    assert_eq!((response.status, response.body["data"]["name"].as_str()), (200, Some("Portcullis")));
}

#[tokio::test]
async fn the_health_endpoints_respond() {
    let app = app().start();
    for path in
        ["/api/health", "/api/v1/health/live", "/api/health/ready", "/api/health/detailed", "/api/health/services"]
    {
        let response = get(&app, path).await;
        assert_eq!(response.status, 200, "{path}: {}", response.body);
        assert_eq!(response.body["success"], true);
    }
    assert_eq!(send(client().head(app.url("/api/health"))).await.status, 200);
}

#[tokio::test]
async fn the_key_set_holds_public_keys_only() {
    let app = app().start();
    let keys = get(&app, "/.well-known/jwks.json").await;
    assert_eq!(keys.body["keys"][0]["kty"], "OKP");
    assert!(keys.body["keys"][0]["d"].is_null());
}

#[test]
fn the_service_manager_hears_of_start_and_stop() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("notify");
    let socket = std::os::unix::net::UnixDatagram::bind(&path).expect("a socket");
    let next = || {
        let mut buffer = [0u8; 64];
        let length = socket.recv(&mut buffer).expect("a datagram");
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    };
    let mut app = app().env("NOTIFY_SOCKET", path.display().to_string()).start();
    assert_eq!(next(), "READY=1");
    app.stop();
    assert_eq!(next(), "STOPPING=1");
}
