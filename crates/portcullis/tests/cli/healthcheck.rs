//! `portcullis healthcheck` against a running gateway and a stopped one.

use portcullis_testkit::{TestAppBuilder, free_port};

use crate::shell::Shell;

#[test]
fn a_running_gateway_is_ready_and_a_stopped_one_is_not() {
    let mut app = TestAppBuilder::new(env!("CARGO_BIN_EXE_portcullis")).start();
    let port = app.address().port().to_string();
    let shell = Shell::new().env("PORT", &port);
    let output = shell.run(&["healthcheck"]).ok();
    assert_eq!(output.out, format!("The gateway at http://127.0.0.1:{port} is ready.\n"));
    let document = Shell::new().run(&["healthcheck", "--port", &port, "--json"]).ok().json();
    assert_eq!((document["ready"].as_bool(), document["status"].as_u64()), (Some(true), Some(200)));
    app.stop();
    let output = shell.run(&["healthcheck"]).failed();
    assert!(
        output.err.contains("cannot be reached") && output.err.contains("hint: check that it runs"),
        "{}",
        output.err
    );
}

#[test]
fn a_missing_gateway_is_exit_code_1() {
    let port = free_port().to_string();
    let output = Shell::new().run(&["healthcheck", "--port", &port, "--json"]).failed();
    assert_eq!(output.json()["ready"], false);
    let output = Shell::new().run(&["healthcheck", "--port", "0"]).failed();
    assert!(output.err.starts_with("error: the port is 0"), "{}", output.err);
}

#[test]
fn a_gateway_is_ready_after_the_sunset_of_its_default_version() {
    let file = "[versions.v1]\nsunset_at = 2020-01-01T00:00:00Z\nsuccessor = \"v2\"\n[versions.v2]\n";
    let app = TestAppBuilder::new(env!("CARGO_BIN_EXE_portcullis")).settings(file).start();
    let shell = Shell::new().file("portcullis.toml", file).env("PORT", &app.address().port().to_string());
    let document = shell.run(&["healthcheck", "--json"]).ok().json();
    assert_eq!(document["ready"], true);
}
