//! `portcullis doctor` beside a running gateway.

use serde_json::Value;

use crate::client::app;

#[tokio::test]
async fn the_doctor_does_not_disturb_a_running_gateway() {
    let gateway = app().start();
    let document: Value = serde_json::from_str(&gateway.run(&["doctor", "--json"], "")).expect("JSON");
    let check = |name: &str| {
        let checks = document["checks"].as_array().expect("a list");
        checks.iter().find(|check| check["check"] == name).unwrap_or_else(|| panic!("no {name} in {document}")).clone()
    };
    let found = check("gateway")["found"].as_str().expect("a text").to_owned();
    assert!(found.starts_with(&format!("process {} runs", gateway.pid())), "{found}");
    for name in ["database.schema", "database.rights", "database.locks", "keys.signing", "jobs", "disk.folder"] {
        assert_eq!(check(name)["status"], "pass", "{document}");
    }
    let of_gateway = check("machine.files")["found"].as_str().is_some_and(|text| text.contains("the running gateway"));
    assert!(of_gateway, "{document}");
    let status = reqwest::get(gateway.url("/api/health/ready")).await.expect("it answers").status();
    assert_eq!(status, 200);
    gateway.run(&["reload"], "");
}
