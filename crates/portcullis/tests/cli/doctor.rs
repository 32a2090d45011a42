//! `portcullis doctor`: each fault is caused for real, and told with its fix.

use std::process::Command;

use portcullis_testkit::{PrivateRedis, PrivateSmtp, free_port};
use serde_json::Value;

use crate::shell::Shell;

/// The first line about this check.
fn check<'a>(document: &'a Value, name: &str) -> &'a Value {
    let checks = document["checks"].as_array().expect("a list");
    checks.iter().find(|check| check["check"] == name).unwrap_or_else(|| panic!("no {name} in {document}"))
}

/// Asserts the status of a check, and that a check that is not passed says how to fix it.
#[track_caller]
fn assert_check(document: &Value, name: &str, status: &str, part: &str) {
    let check = check(document, name);
    let found = check["found"].as_str().expect("a text");
    assert!(check["status"] == status && found.contains(part), "{check}");
    assert_eq!(check["hint"].is_string(), status != "pass", "{check}");
}

#[test]
fn without_settings_nothing_fails_and_nothing_is_made() {
    let shell = Shell::new();
    let output = shell.run(&["doctor"]).ok();
    assert!(output.err.is_empty(), "{}", output.err);
    assert!(output.out.contains("warning  database.connection  there is no database at "), "{}", output.out);
    assert!(output.out.ends_with(" 0 errors\n") && !output.out.contains('\u{1b}'), "{}", output.out);
    assert!(!shell.path("portcullis-data").exists());
}

#[test]
fn each_dependency_that_is_gone_is_told_at_once() {
    let (redis, smtp) = (free_port(), free_port());
    let shell = Shell::migrated()
        .env("REDIS_URL", &format!("redis://:hunter2@127.0.0.1:{redis}"))
        .env("SMTP_URL", &format!("smtp://ada:hunter2@127.0.0.1:{smtp}"))
        .env("MAIL_FROM", "gate@example.com")
        .file(
            "portcullis.toml",
            "[upstreams.app]\ntargets = [\"http://no-such-name.invalid:8002\"]\n\
             [[routes]]\npath = \"/app/{*rest}\"\nupstream = \"app\"\n",
        );
    let output = shell.run(&["doctor", "--json"]).failed();
    let document = output.json();
    assert_eq!(document["status"], "fail");
    assert_check(&document, "database.schema", "pass", "up to date");
    assert_check(&document, "redis.server", "fail", "does not answer");
    assert_check(&document, "mail.server", "fail", "cannot be reached");
    assert_check(&document, "upstream.app", "fail", "does not resolve");
    assert!(output.err.contains("error: 3 checks failed"), "{}", output.err);
    assert!(!output.out.contains("hunter2"), "{}", output.out);
}

#[test]
fn a_refused_login_and_an_evicting_redis_are_told() {
    let redis = PrivateRedis::start_with(&["--maxmemory", "64mb", "--maxmemory-policy", "allkeys-random"]);
    let smtp = PrivateSmtp::start();
    let shell = Shell::migrated()
        .env("REDIS_URL", &redis.url())
        .env("SMTP_URL", &format!("smtp://ada:hunter2@127.0.0.1:{}", smtp.port()))
        .env("MAIL_FROM", "gate@example.com");
    let output = shell.run(&["doctor"]).failed();
    assert!(output.out.contains("warning  redis.memory"), "{}", output.out);
    assert!(output.out.contains("error    mail.login"), "{}", output.out);
    assert!(output.out.contains("| C: AUTH PLAIN [hidden]") && output.out.contains("| S: 535"), "{}", output.out);
    assert!(!output.out.contains("hunter2"), "{}", output.out);
}

#[test]
fn a_weak_secret_in_production_fails() {
    let shell = Shell::new()
        .env("PORTCULLIS_ENV", "production")
        .env("PUBLIC_URL", "http://gate.example.com")
        .env("CSRF_SECRET", "changeme-changeme-changeme-changeme")
        .env("ENCRYPTION_KEY", "Zq3Wc8Vn5Xb2Mt7Kp1Ly9Rj4Hf6Gd0Sa");
    let document = shell.run(&["doctor", "--json"]).failed().json();
    assert_check(&document, "settings", "fail", "CSRF_SECRET");
    let shell = shell.env("CSRF_SECRET", "kT4vXn8Q2pLz7Rb5Yw9Hc3Jd6Fg1Ms0e");
    let shell = shell.env("DATABASE_URL", "postgres://postgres:postgres@127.0.0.1:1/gate");
    let document = shell.run(&["doctor", "--json"]).failed().json();
    let said = document.to_string();
    for unsafe_setting in ["one that is tried first", "PUBLIC_URL is not https", "can read /metrics"] {
        assert!(said.contains(unsafe_setting), "{unsafe_setting}: {said}");
    }
    assert_check(&document, "database.connection", "fail", "cannot reach PostgreSQL");
}

#[test]
fn a_data_folder_that_cannot_be_written_to_fails() {
    let shell = Shell::new().env("PORTCULLIS_DATA_DIR", "/proc");
    let document = shell.run(&["doctor", "--json"]).failed().json();
    assert_check(&document, "disk.folder", "fail", "/proc cannot be written to");
}

#[test]
fn a_low_limit_of_files_is_told() {
    let shell = Shell::new();
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 256; exec \"$0\" doctor --json", env!("CARGO_BIN_EXE_portcullis")]);
    let output = command.current_dir(shell.path("")).env_clear().output().expect("a shell");
    let document: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_check(&document, "machine.files", "warn", "may open 256 files");
}
