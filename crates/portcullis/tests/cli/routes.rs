//! `portcullis routes`: the table and its JSON form.

use crate::shell::Shell;

const FILE: &str = r#"
[upstreams.projects]
targets = ["http://127.0.0.1:1"]

[roles]
DEVELOPER = ["PROJECT_VIEW", "PROJECT_EDIT"]

[[routes]]
path = "/api/v1/projects/{*rest}"
upstream = "projects"
methods = ["GET", "PUT"]
roles = ["MANAGER", "DEVELOPER"]
permissions = { PUT = ["PROJECT_EDIT"] }
rate_limit = "100/15m"
strip_prefix = "/api/v1"
max_body = 0

[[routes]]
path = "/open/{*rest}"
upstream = "projects"
auth = "none"
csrf = false
"#;

#[test]
fn built_in_and_proxied_routes_are_in_one_table() {
    let output = Shell::new().file("portcullis.toml", FILE).run(&["routes"]).ok();
    assert!(output.err.is_empty(), "{}", output.err);
    let words = |start: &str| -> Vec<&str> {
        let line = output.out.lines().find(|line| line.contains(start)).expect("the route is listed");
        line.split_whitespace().collect()
    };
    assert_eq!(
        words("/api/v1/projects"),
        [
            "GET,PUT",
            "/api/v1/projects/{*rest}",
            "required",
            "DEVELOPER",
            "PUT:PROJECT_EDIT",
            "checked",
            "100/900s",
            "projects"
        ]
    );
    assert_eq!(words("/open"), ["*", "/open/{*rest}", "none", "-", "-", "exempt", "-", "projects"]);
    assert_eq!(words("/api/v1/auth/login")[..3], ["POST", "/api/v1/auth/login", "none"]);
    assert_eq!(words("/api/v1/auth/login").last(), Some(&"built-in"));
}

#[test]
fn the_json_form_has_the_whole_policy() {
    let document = Shell::new().file("portcullis.toml", FILE).run(&["routes", "--json"]).ok().json();
    let routes = document["routes"].as_array().expect("a list");
    let proxied: Vec<_> = routes.iter().filter(|route| route["builtIn"] == false).collect();
    insta::assert_json_snapshot!("routes_json", proxied);
    assert!(routes.len() > proxied.len());
}
