//! Keys and secrets change while requests run, and nobody is signed out.

use std::process::Command;
use std::time::Duration;

use portcullis_testkit::{PASSWORD, Stopwatch};
use reqwest::Method;
use serde_json::{Value, json};

use crate::client::{app, call, client, get, post, register, send};
use crate::reloading::wait_for_reload;

fn kids(page: &Value) -> Vec<String> {
    let keys = page["keys"].as_array().cloned().unwrap_or_default();
    keys.iter().filter_map(|key| key["kid"].as_str().map(str::to_owned)).collect()
}

#[tokio::test]
async fn a_running_gateway_follows_key_changes_of_the_shell() {
    let app = app().start();
    let account = register(&app).await;
    let before = kids(&get(&app, "/.well-known/jwks.json").await.body);
    let made: Value = serde_json::from_str(&app.run(&["keys", "rotate", "--json"], "")).expect("JSON");
    let next = made["key"]["kid"].as_str().expect("a kid").to_owned();
    let stopwatch = Stopwatch::start();
    while kids(&get(&app, "/.well-known/jwks.json").await.body).len() < 2 {
        assert!(stopwatch.elapsed() < Duration::from_secs(60), "the next key is not published");
    }
    assert_eq!(kids(&get(&app, "/.well-known/jwks.json").await.body), [next.clone(), before[0].clone()]);
    assert_eq!(call(&app, Method::GET, "/api/v1/auth/profile", &account.access, None).await.status, 200);
    let listed: Value = serde_json::from_str(&app.run(&["keys", "list", "--json"], "")).expect("JSON");
    let phases: Vec<&str> =
        listed["keys"].as_array().expect("a list").iter().filter_map(|key| key["phase"].as_str()).collect();
    assert_eq!(phases, ["next", "signing"]);
    let refused = app.command(&["keys", "retire", &before[0]]).output().expect("it runs");
    let output = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        !refused.status.success() && output.contains("signs access tokens now") && output.contains("keys rotate"),
        "{output}"
    );
    app.run(&["keys", "retire", &next], "");
    let listed = app.run(&["keys", "list"], "");
    assert!(listed.contains("retired") && listed.contains("signing"), "{listed}");
}

#[tokio::test]
async fn secrets_are_read_anew_on_sighup_and_bad_ones_change_nothing() {
    let (old, new) = ("the csrf secret before: pW4z8Lq2Vn6Xc0Tb", "the csrf secret after: Rk7mZt3Qe9Yd1Ws5");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("csrf");
    let write = |text: &str| std::fs::write(&file, text).expect("writable");
    write(old);
    let app = app().env("CSRF_SECRET_FILE", file.display().to_string()).start();
    let account = register(&app).await;
    let hangup = || {
        let status = Command::new("kill").args(["-HUP", &app.pid().to_string()]).status().expect("kill runs");
        assert!(status.success());
    };
    let pair = async || {
        let response = get(&app, "/api/csrf-token").await;
        (response.cookie("portcullis-pre").expect("a cookie"), response.cookie("portcullis-csrf").expect("a cookie"))
    };
    // With a good pair the request is refused for what it asks, else for the pair.
    let is_good = async |(pre, csrf): &(String, String)| {
        let request = client().post(app.url("/api/v1/users")).bearer_auth(&account.access).header("x-csrf-token", csrf);
        let response =
            send(request.header("cookie", format!("portcullis-pre={pre}; portcullis-csrf={csrf}")).json(&json!({})))
                .await;
        assert_eq!(response.status, 403, "{}", response.body);
        response.error() == "Insufficient permissions"
    };
    let first = pair().await;
    assert!(is_good(&first).await);
    write("too short");
    hangup();
    wait_for_reload(&app, "refused").await;
    assert!(is_good(&first).await, "what cannot be used was put in force");
    write(&format!("{new}\n{old}\n"));
    hangup();
    wait_for_reload(&app, "applied").await;
    let second = pair().await;
    assert!(is_good(&first).await && is_good(&second).await, "both are good");
    write(new);
    hangup();
    let stopwatch = Stopwatch::start();
    while is_good(&first).await {
        assert!(stopwatch.elapsed() < Duration::from_secs(60), "the old one is still good");
    }
    assert!(is_good(&second).await, "what the new one made");
    let again = post(&app, "/api/v1/auth/login", &json!({ "email": account.email, "password": PASSWORD })).await;
    assert_eq!(again.status, 200, "{}", again.body);
}
