//! `portcullis support-bundle`: what it holds, and that no secret is in it.

use std::process::Command;

use portcullis_testkit::{PrivateDatabase, TestApp, database_of, free_port, registration};
use serde_json::Value;

use crate::client::app;

/// Every secret that the test plants begins like this, and is found by it in whatever form.
const MARK: &str = "planted";

/// The database of the gateway, for rows that it would not write itself.
fn database(gateway: &TestApp) -> PrivateDatabase {
    match database_of(gateway.folder()) {
        Some(url) => PrivateDatabase::at(url),
        None => PrivateDatabase::at_file(&gateway.folder().join("portcullis-data/portcullis.db")),
    }
}

/// The files of an archive, one after the other.
fn unpacked(archive: &std::path::Path) -> String {
    let tar = Command::new("tar").arg("-xzOf").arg(archive).output().expect("tar is on every machine");
    assert!(tar.status.success(), "{}", String::from_utf8_lossy(&tar.stderr));
    String::from_utf8(tar.stdout).expect("every file is text")
}

#[tokio::test]
async fn sr_47_a_support_bundle_holds_no_secret() {
    let nobody = free_port();
    let gateway = app()
        .settings("[metrics]\ntoken = \"planted-metrics-token\"\n[server]\npublic_url = \"http://gate.example.com\"\n")
        .env("CSRF_SECRET", "planted-csrf-secret-kT4vXn8Q2pLz7Rb5Y")
        .env("REDIS_URL", format!("redis://:planted-redis-password@127.0.0.1:{nobody}"))
        .env("SMTP_URL", format!("smtp://gate:planted%2Dsmtp%2Dpassword@127.0.0.1:{nobody}"))
        .env("MAIL_FROM", "gate@example.com")
        .env("SENTRY_DSN", format!("http://plantedsentrykey@127.0.0.1:{nobody}/7"))
        .env("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer planted-collector-token")
        .env("PGPASSWORD", "planted-in-an-environment")
        .start();
    let body = registration("planteduser");
    let made = reqwest::Client::new().post(gateway.url("/api/v1/auth/register")).json(&body).send().await;
    assert_eq!(made.expect("it answers").status(), 201);
    let mut raw = database(&gateway).connect().await;
    raw.run(
        "INSERT INTO errors (id, fingerprint, kind, message, route, times, first_seen_at, last_seen_at, release) \
         SELECT id, refresh_hash, 'request', 'Authorization: Bearer planted-bearer-token Cookie: a=planted-cookie \
         planted-redis-password', '/api/v1/x', 1, created_at, created_at, '0' FROM sessions",
    )
    .await;
    let kept = std::fs::read_to_string(gateway.folder().join("portcullis-data/encryption-key")).expect("it was made");

    let archive = gateway.folder().join("bundle.tar.gz");
    gateway.run(&["support-bundle", "--output", "bundle.tar.gz"], "");
    let text = unpacked(&archive);
    for secret in [
        MARK,
        &MARK.to_uppercase(),
        "cGxhbnRlZ",
        "xhbnRlZC",
        "wbGFudGVk",
        kept.trim(),
        "ada@",
        "Lovelace",
        "only-for-tests",
    ] {
        let at = text.find(secret);
        assert!(at.is_none(), "{secret}: {}", &text[at.unwrap_or(0).saturating_sub(200)..][..300]);
    }
    for part in
        ["\"madeAt\"", "build_info{", "\"server.public_url\"", "\"database.schema\"", "\"/api/v1/x\"", "MemTotal"]
    {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert_eq!(std::os::unix::fs::MetadataExt::mode(&archive.metadata().expect("it exists")) & 0o777, 0o600);
    let again = gateway.command(&["support-bundle", "--output", "bundle.tar.gz"]).output().expect("it runs");
    assert!(!again.status.success(), "it overwrites nothing");
}

#[test]
fn without_a_gateway_the_manifest_says_what_is_missing() {
    let folder = app();
    let shown = folder.command(&["support-bundle", "--show"]).output().expect("it runs");
    let text = String::from_utf8(shown.stdout).expect("text");
    let manifest = text.strip_prefix("==== manifest.json\n").and_then(|text| text.split("\n====").next());
    let manifest: Value = serde_json::from_str(manifest.expect("it is first")).expect("JSON");
    let missing: Vec<&str> =
        manifest["missing"].as_array().expect("a list").iter().filter_map(|m| m["name"].as_str()).collect();
    assert!(missing.contains(&"metrics.txt"), "{manifest}");
    assert!(!folder.folder().join("portcullis-data").exists(), "nothing is made");
}
