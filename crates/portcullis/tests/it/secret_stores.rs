//! Secrets from HashiCorp Vault and AWS Secrets Manager.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use portcullis_testkit::{FakeAws, FakeVault, PrivatePostgres, TestApp, TestAppBuilder, free_port};

use crate::client::{app, client, get, send};

const ENCRYPTION: &str = "the key of the store: pW4z8Lq2Vn6Xc0Tb9";
const CSRF: [&str; 2] = ["planted csrf secret: Rk7mZt3Qe9Yd1Ws5Jb", "planted csrf after: Hc3Jd6Fg1Ms0eXn8Q"];

/// The secret as JSON.
fn secret(csrf: &str, encryption: &str) -> String {
    serde_json::json!({ "CSRF_SECRET": csrf, "ENCRYPTION_KEY": encryption }).to_string()
}

/// A gateway whose secrets are in this Vault, with this token.
fn on_vault(address: &str, token: &str, refresh: &str) -> TestAppBuilder {
    let builder = app().env("LOG_LEVEL", "info");
    std::fs::write(builder.folder().join("vault-token"), format!("{token}\n")).expect("writable");
    builder.settings(&format!(
        "[secrets]\nvault = {{ address = \"{address}\", token_file = \"vault-token\", path = \"secret/gate\" }}\nrefresh = \"{refresh}\"\n"
    ))
}

/// The CSRF token for these cookies. It is the one in them as long as their pair is good.
async fn csrf_token(app: &TestApp, cookies: &str) -> (String, String) {
    let response = send(client().get(app.url("/api/csrf-token")).header("cookie", cookies)).await;
    let cookie = |name: &str| response.cookie(name).map(|value| format!("{name}={value}; ")).unwrap_or_default();
    let token = response.body["data"]["csrfToken"].as_str().expect("a token").to_owned();
    (token, format!("{}{}", cookie("portcullis-pre"), cookie("portcullis-csrf")))
}

/// Runs a command, and returns whether it succeeded and everything that it printed.
fn outcome(app: &TestApp, arguments: &[&str]) -> (bool, String) {
    let output = app.command(arguments).output().expect("the binary runs");
    let printed = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&printed).into_owned())
}

#[tokio::test]
async fn a_secret_that_is_replaced_in_vault_is_in_force_by_itself() {
    let vault = FakeVault::start();
    vault.put(&secret(CSRF[0], ENCRYPTION));
    let app = on_vault(&vault.address(), vault.token(), "1s").start();
    assert!(!app.folder().join("portcullis-data/csrf-secret").exists(), "development makes no secret beside the store");
    let (token, cookies) = csrf_token(&app, "").await;
    assert_eq!(csrf_token(&app, &cookies).await.0, token, "the pair is good");
    vault.put(&secret(CSRF[1], ENCRYPTION));
    let line = app.log_line_with("secrets that were replaced in the secret store are in force");
    assert!(line.contains("CSRF_SECRET") && !line.contains("ENCRYPTION_KEY") && !line.contains("planted"), "{line}");
    assert_ne!(csrf_token(&app, &cookies).await.0, token, "the pair of the old secret is refused");
}

#[tokio::test]
async fn a_store_that_is_gone_keeps_the_last_secrets() {
    let vault = FakeVault::start();
    vault.put(&secret(CSRF[0], ENCRYPTION));
    let app = on_vault(&vault.address(), vault.token(), "1h").start();
    let asked = vault.requests().len();
    let port = app.address().port().to_string();
    assert!(outcome(&app, &["healthcheck", "--port", &port]).0, "it is ready");
    assert_eq!(vault.requests().len(), asked, "a health check does not ask the store");

    vault.put(&secret(CSRF[0], "another key without the one before: Ws5Jb"));
    let (reloaded, printed) = outcome(&app, &["reload"]);
    assert!(!reloaded && printed.contains("ENCRYPTION_KEY"), "{printed}");

    vault.seal();
    let (reloaded, printed) = outcome(&app, &["reload"]);
    assert!(reloaded && printed.contains("Vault is sealed; the last secrets stay in force"), "{printed}");
    app.log_line_with("the secret store cannot be read; the last secrets stay in force");
    let page = get(&app, "/metrics").await.body.as_str().expect("text").to_owned();
    assert!(page.contains("\nsecret_store_up 0\n"), "{page}");
    assert_eq!(get(&app, "/api/csrf-token").await.status, 200);
    let (healthy, printed) = outcome(&app, &["doctor"]);
    assert!(!healthy && printed.contains("secrets.store") && printed.contains("unseal it"), "{printed}");

    vault.unseal();
    vault.put(&secret(CSRF[0], &format!("{ENCRYPTION}\nanother key on a line of its own: Ws5Jb")));
    assert!(outcome(&app, &["reload"]).0);
    app.log_line_with("the secret store can be read again");
}

#[tokio::test]
async fn another_login_to_the_database_needs_no_restart() {
    let server = PrivatePostgres::shared();
    let url = server.database();
    let (_, place) = url.split_once('@').expect("the URL has a login");
    let user = format!("{}_second", place.rsplit('/').next().expect("a name"));
    server.run_sql(&format!("CREATE ROLE \"{user}\" SUPERUSER LOGIN PASSWORD 'planted'"));
    let vault = FakeVault::start();
    let put = |url: &str| {
        let secret = serde_json::json!({ "CSRF_SECRET": CSRF[0], "ENCRYPTION_KEY": ENCRYPTION, "DATABASE_URL": url });
        vault.put(&secret.to_string());
    };
    put(&url);
    let builder = on_vault(&vault.address(), vault.token(), "1h").without_env("DATABASE_URL");
    // Nothing else is kept there, so it would not be made, and the control socket needs it.
    std::fs::create_dir(builder.folder().join("portcullis-data")).expect("writable");
    let app = builder.start();
    put(&format!("postgres://{user}:hunter2@{place}"));
    let (reloaded, printed) = outcome(&app, &["reload"]);
    assert!(!reloaded && printed.contains("the new DATABASE_URL cannot be used"), "{printed}");
    assert!(printed.contains("hint: check user and password") && !printed.contains("hunter2"), "{printed}");
    put(&format!("postgres://{user}:planted@{place}"));
    let (reloaded, printed) = outcome(&app, &["reload"]);
    assert!(reloaded && !printed.contains("database.url"), "{printed}");
    app.log_line_with("the login to the database was replaced");
    crate::client::register(&app).await;
    let count = format!("SELECT count(*) > 0 FROM pg_stat_activity WHERE usename = '{user}'");
    assert_eq!(server.run_sql(&count), "t");
}

#[test]
fn a_start_that_the_store_refuses_ends_with_a_hint() {
    let vault = FakeVault::start();
    vault.put(&secret(CSRF[0], ENCRYPTION));
    let output = on_vault(&vault.address(), "hvs.another", "1h").command(&["serve"]).output().expect("it runs");
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(
        stderr.starts_with("error: Vault refuses the token for secret/data/gate: permission denied\n  hint: "),
        "{stderr}"
    );
    assert!(!stderr.contains("hvs."), "{stderr}");
}

#[test]
fn a_start_that_waits_for_the_store_ends_by_sigterm() {
    let builder = on_vault(&format!("http://127.0.0.1:{}", free_port()), "x", "1h");
    let mut starting = builder.command(&["serve"]).stderr(Stdio::piped()).spawn().expect("it runs");
    let mut stderr = BufReader::new(starting.stderr.take().expect("it was piped"));
    let mut line = String::new();
    stderr.read_line(&mut line).expect("it speaks");
    assert!(line.contains("cannot be reached") && line.contains("trying again in 1 s"), "{line}");
    let killed = std::process::Command::new("kill").arg(starting.id().to_string()).status().expect("kill runs");
    assert!(killed.success());
    assert_eq!(starting.wait().expect("it ends").code(), Some(0));
}

#[test]
fn sr_47_a_check_of_secrets_in_aws_shows_none_of_them() {
    let aws = FakeAws::start();
    aws.put(&secret(CSRF[0], ENCRYPTION));
    let check = |key: &str| {
        let builder = app()
            .settings("[secrets]\naws = { region = \"eu-central-1\", id = \"gate/production\" }\n")
            .env("PORTCULLIS_ENV", "production")
            .env("PUBLIC_URL", "https://gate.example.com")
            .env("AWS_ENDPOINT_URL", aws.address())
            .env("AWS_ACCESS_KEY_ID", FakeAws::KEY_ID)
            .env("AWS_SECRET_ACCESS_KEY", key);
        let output = builder.command(&["check"]).output().expect("it runs");
        let printed = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(!printed.contains("planted") && !printed.contains(key), "{printed}");
        (output.status.success(), printed)
    };
    let (good, printed) = check(aws.key());
    assert!(good && printed.contains("The settings are valid: production"), "{printed}");
    aws.put("{\"CSRF_SECRET\": \"planted\"}");
    let (good, printed) = check(aws.key());
    assert!(
        !good && printed.contains("AWS secret gate/production, CSRF_SECRET: secrets.csrf_secret cannot"),
        "{printed}"
    );
    assert!(printed.contains("ENCRYPTION_KEY is missing"), "{printed}");
    let (good, printed) = check("a key that AWS does not know");
    assert!(
        !good && printed.contains("AWS does not accept the credentials") && printed.contains("hint: "),
        "{printed}"
    );
}
