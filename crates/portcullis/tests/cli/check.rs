//! `portcullis check`: reports every problem at once.

use crate::shell::Shell;

const BAD: &str = r#"[server]
lisen = "0.0.0.0:8000"
header_timeout = "10 seconds"

[session]
access_ttl = "1w"

[upstreams.projects]
targets = ["https://10.0.0.5:8002"]

[[routes]]
path = "/api/v1/projects/{*rest}"
upstream = "project"

[[routes]]
path = "/api/v1/files/{id}"
upstream = "projects"
roles = ["DEVELOPPER"]

[[routes]]
path = "/api/v1/files/{name}"
upstream = "projects"
permissions = ["view files"]

[[routes]]
path = "/api/v1/auth/login"
upstream = "projects"
"#;

#[test]
fn a_bad_file_is_reported_with_lines_and_prevents_the_start() {
    let shell = Shell::new().file("portcullis.toml", BAD).env("LOG_LEVEL", "verbose");
    let output = shell.run(&["check"]).failed();
    assert!(output.out.is_empty());
    insta::assert_snapshot!("check_bad_file", output.err);
    let started = shell.run(&["serve"]).failed();
    assert_eq!(started.err, output.err);
    assert!(!shell.path("portcullis-data").exists(), "nothing is created while the settings have problems");
}

#[test]
fn syntax_errors_have_a_line_too() {
    let output = Shell::new().file("portcullis.toml", "[server]\nlisten = 127.0.0.1:8000\n").run(&["check"]).failed();
    assert!(output.err.starts_with("portcullis.toml:2: this is not TOML: "), "{}", output.err);
}

#[test]
fn valid_settings_are_summed_up_and_advice_does_not_fail() {
    let output = Shell::new().run(&["check"]).ok();
    insta::assert_snapshot!("check_good_out", output.out);
    insta::assert_snapshot!("check_good_err", output.err);
}

#[test]
fn the_result_is_also_json() {
    let output = Shell::new().file("portcullis.toml", BAD).run(&["check", "--json"]).failed();
    let document = output.json();
    assert_eq!(document["ok"], false);
    let first = &document["problems"][0];
    assert_eq!((first["file"].as_str(), first["line"].as_u64()), (Some("portcullis.toml"), Some(2)));
    assert_eq!(first["hint"], "did you mean `listen`?");
    let output = Shell::new().env("OTEL_METRICS_EXPORTER", "otlp").run(&["check", "--json"]).ok();
    let document = output.json();
    assert_eq!(document["ok"], true);
    assert_eq!(document["warnings"][0]["place"], "environment OTEL_METRICS_EXPORTER");
    assert!(document["advice"].as_array().is_some_and(|advice| !advice.is_empty()));
}

#[test]
fn production_names_missing_settings_and_gives_advice() {
    let shell = Shell::new().env("PORTCULLIS_ENV", "production");
    insta::assert_snapshot!("check_production_missing", shell.run(&["check"]).failed().err);
    let keys = shell.run(&["keys", "init", "--json"]).ok().json();
    let mut shell = shell.env("PUBLIC_URL", "http://gate.example.com");
    for name in ["CSRF_SECRET", "ENCRYPTION_KEY"] {
        shell = shell.env(name, keys[name].as_str().expect("a secret"));
    }
    insta::assert_snapshot!("check_production_advice", shell.run(&["check"]).ok().err);
}

#[test]
fn the_file_that_is_named_is_read() {
    let shell = Shell::new().file("other.toml", "[sever]\n");
    shell.run(&["check"]).ok();
    let output = shell.run(&["check", "--config", "other.toml"]).failed();
    assert!(output.err.starts_with("other.toml:1: unknown section [sever]"), "{}", output.err);
    let output = shell.run(&["--config", "nowhere.toml", "check"]).failed();
    assert!(output.err.starts_with("--config: the settings file nowhere.toml cannot be read"), "{}", output.err);
}

#[test]
fn a_default_version_that_has_ended_prevents_the_start() {
    let file = "[versions.v1]\nsunset_at = 2020-01-01T00:00:00Z\n[versions.v2]\n";
    let shell = Shell::new().file("portcullis.toml", file);
    for command in ["check", "serve"] {
        let err = shell.run(&[command]).failed().err;
        assert!(err.contains("the default version v1 is past its sunset"), "{command}: {err}");
        assert!(err.contains("hint: set versions.v1.successor, or versions.default"), "{command}: {err}");
    }
    let with_default = format!("[versions]\ndefault = \"v2\"\n{file}");
    Shell::new().file("portcullis.toml", &with_default).run(&["check"]).ok();
}

#[test]
fn a_way_around_a_strict_route_gets_a_warning() {
    let file = "[upstreams.app]\ntargets = [\"http://127.0.0.1:1\"]\n\
        [[routes]]\npath = \"/admin/{*rest}\"\nupstream = \"app\"\nroles = [\"ADMIN\"]\n\
        [[routes]]\npath = \"/{*rest}\"\nupstream = \"app\"\nauth = \"none\"\n";
    let shell = Shell::new().file("portcullis.toml", file);
    for command in ["check", "routes"] {
        let err = shell.run(&[command]).ok().err;
        assert!(
            err.contains("portcullis.toml:4: warning: /{*rest} asks less of a request than /admin/{*rest}"),
            "{command}: {err}"
        );
    }
    let document = shell.run(&["routes", "--json"]).ok().json();
    assert_eq!(document["warnings"].as_array().map(Vec::len), Some(1));
}
