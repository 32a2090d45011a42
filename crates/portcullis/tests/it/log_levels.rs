//! The log level of a running gateway: by command, for a time, and by a reload.

use portcullis_testkit::{TestApp, TestAppBuilder};
use serde_json::Value;

use crate::client::{app, get};

/// A gateway whose level a reload can change.
fn gateway() -> TestAppBuilder {
    app().env("LOG_FORMAT", "json").without_env("LOG_LEVEL").settings(&settings("warn"))
}

fn settings(level: &str) -> String {
    format!("[log]\nlevel = \"{level}\"\n")
}

fn failed(app: &TestApp, arguments: &[&str]) -> String {
    let output = app.command(arguments).output().expect("the command runs");
    assert!(!output.status.success(), "{arguments:?}");
    String::from_utf8(output.stderr).expect("UTF-8")
}

fn changed(app: &TestApp) -> Value {
    serde_json::from_str(&app.log_line_with("the log level was changed")).expect("JSON")
}

#[tokio::test]
async fn the_level_is_changed_shown_and_reset_by_command() {
    let app = gateway().start();
    assert_eq!(app.run(&["log-level"], ""), "The log level is warn.\n");
    let printed = app.run(&["log-level", "h2=trace", "--for", "10m"], "");
    assert!(printed.starts_with("The log level is warn,h2=trace until 20"), "{printed}");
    assert!(printed.ends_with("Z, and then warn.\n"), "{printed}");
    let line = changed(&app);
    let fields = &line["fields"];
    assert_eq!(fields["level"], "warn,h2=trace");
    let by = fields["by"].as_str().expect("who");
    assert!(by.starts_with("portcullis log-level, process ") && by.contains(", user "), "{line}");
    assert!(printed.contains(fields["until"].as_str().expect("a time")), "{line}");
    let http2 = reqwest::Client::builder().no_proxy().http2_prior_knowledge().build().expect("a client");
    assert_eq!(http2.get(app.url("/api/v1/health")).send().await.expect("it answers").status(), 200);
    app.log_line_with("\"level\":\"TRACE\"");
    assert_eq!(app.run(&["log-level", "--reset"], ""), "The log level is warn.\n");
    assert_eq!(changed(&app)["fields"]["level"], "warn");
}

#[tokio::test]
async fn a_change_for_a_time_ends_in_the_running_process() {
    let app = gateway().start();
    app.run(&["log-level", "off", "--for", "1s"], "");
    assert_eq!(changed(&app)["fields"]["level"], "off");
    let line = changed(&app);
    assert_eq!((&line["fields"]["level"], &line["fields"]["by"]), (&"warn".into(), &"the end of its time".into()));
}

#[tokio::test]
async fn a_reload_puts_another_level_in_force() {
    let app = gateway().start();
    std::fs::write(app.folder().join("portcullis.toml"), settings("debug")).expect("writable");
    let reloaded: Value = serde_json::from_str(&app.run(&["reload", "--json"], "")).expect("JSON");
    assert_eq!(reloaded["waitingForRestart"], serde_json::json!([]));
    let line = changed(&app);
    assert_eq!((&line["fields"]["level"], &line["fields"]["by"]), (&"debug".into(), &"a reload".into()));
    assert_eq!(app.run(&["log-level"], ""), "The log level is debug.\n");
}

#[tokio::test]
async fn a_bad_level_is_refused_with_a_hint() {
    let app = gateway().start();
    for (spec, hint) in [
        ("portcullis_gat=debug", "did you mean `portcullis_gate`?"),
        ("debgu", "did you mean `debug`?"),
        ("gate::decision=debug", "write portcullis, "),
    ] {
        let message = failed(&app, &["log-level", spec]);
        assert!(message.contains(hint), "{spec}: {message}");
    }
    assert_eq!(app.command(&["log-level", "--for", "10m"]).output().expect("it runs").status.code(), Some(2));
    assert_eq!(app.command(&["log-level", "info", "--for", "0s"]).output().expect("it runs").status.code(), Some(2));
    assert_eq!(app.run(&["log-level"], ""), "The log level is warn.\n");
    assert_eq!(get(&app, "/api/v1/health").await.status, 200);
}
