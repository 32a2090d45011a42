//! `kill -9` loses no acknowledged write.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use portcullis_testkit::{PASSWORD, registration};
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use tokio::sync::Mutex;

use crate::client::{app, call, client, post, register};

/// Number of times that the process is killed.
const KILLS: usize = 100;

/// Writes that the server acknowledged.
#[derive(Default)]
struct Acknowledged {
    registered: Vec<String>,
    refreshed: Vec<String>,
    logged_out: Vec<String>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_kills_lose_no_acknowledged_write() {
    let port = portcullis_testkit::free_port();
    let mut app = app().env("PORT", port.to_string()).start();
    let acknowledged = Arc::new(Mutex::new(Acknowledged::default()));
    for kill in 0..KILLS {
        let stop = Arc::new(AtomicBool::new(false));
        let workers: Vec<_> = (0..3)
            .map(|worker| {
                let (stop, acknowledged) = (Arc::clone(&stop), Arc::clone(&acknowledged));
                let base = app.url("");
                tokio::spawn(async move {
                    let client = client();
                    let mut round = 0;
                    while !stop.load(Ordering::Relaxed) {
                        round += 1;
                        let name = format!("k{kill}w{worker}r{round}");
                        if use_server(&client, &base, &name, &acknowledged).await.is_none() {
                            break;
                        }
                    }
                })
            })
            .collect();
        // On a busy machine a run may be too short for any write: every fourth lasts until a user has logged out.
        let logouts = acknowledged.lock().await.logged_out.len();
        while kill % 4 == 0 && acknowledged.lock().await.logged_out.len() == logouts {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        // The kill comes after another pause each time, so that it meets the workers at different statements.
        tokio::time::sleep(Duration::from_millis((kill as u64 * 37) % 250)).await;
        app.crash_and_restart();
        stop.store(true, Ordering::Relaxed);
        for worker in workers {
            worker.await.expect("a worker does not panic");
        }
    }
    let acknowledged = acknowledged.lock().await;
    let users = app.command(&["users", "list", "--json"]).output().expect("the command runs");
    let users: Value = serde_json::from_slice(&users.stdout).expect("a list in JSON");
    let known: std::collections::HashSet<&str> =
        users["users"].as_array().expect("a list").iter().filter_map(|user| user["email"].as_str()).collect();
    for name in &acknowledged.registered {
        assert!(known.contains(format!("{name}@example.com").as_str()), "{name} was acknowledged and is lost");
    }
    for access in &acknowledged.logged_out {
        let response = call(&app, Method::GET, "/api/v1/auth/profile", access, None).await;
        assert_eq!(response.status, 401, "an acknowledged logout was undone");
    }
    for refresh in &acknowledged.refreshed {
        let response = post(&app, "/api/v1/auth/refresh", &json!({ "refreshToken": refresh })).await;
        assert_eq!(response.status, 200, "an acknowledged refresh was undone: {}", response.body);
    }
}

/// Registers a user, refreshes the session, and logs every second user out. `None` once the server is gone.
async fn use_server(client: &Client, base: &str, name: &str, acknowledged: &Mutex<Acknowledged>) -> Option<()> {
    let response = client.post(format!("{base}/api/v1/auth/register")).json(&registration(name)).send().await.ok()?;
    if response.status() != StatusCode::CREATED {
        return None;
    }
    let body: Value = response.json().await.ok()?;
    acknowledged.lock().await.registered.push(name.to_owned());
    let refresh = body["data"]["tokens"]["refreshToken"].clone();
    let response = client
        .post(format!("{base}/api/v1/auth/refresh"))
        .json(&json!({ "refreshToken": refresh }))
        .send()
        .await
        .ok()?;
    if response.status() != StatusCode::OK {
        return None;
    }
    let body: Value = response.json().await.ok()?;
    let tokens = &body["data"]["tokens"];
    let access = tokens["accessToken"].as_str()?.to_owned();
    if name.ends_with(['1', '3', '5', '7', '9']) {
        let response = client.post(format!("{base}/api/v1/auth/logout")).bearer_auth(&access).send().await.ok()?;
        if response.status() == StatusCode::OK {
            acknowledged.lock().await.logged_out.push(access);
        }
    } else {
        acknowledged.lock().await.refreshed.push(tokens["refreshToken"].as_str()?.to_owned());
    }
    Some(())
}

#[tokio::test]
async fn a_restart_keeps_tokens_sessions_and_passwords() {
    let mut app = app().start();
    let account = register(&app).await;
    app.stop_and_restart();
    let response = call(&app, Method::GET, "/api/v1/auth/profile", &account.access, None).await;
    assert_eq!(response.status, 200, "an access token from before the restart is refused: {}", response.body);
    let response = post(&app, "/api/v1/auth/refresh", &json!({ "refreshToken": account.refresh })).await;
    assert_eq!(response.status, 200, "{}", response.body);
    let login = json!({ "email": account.email, "password": PASSWORD });
    assert_eq!(post(&app, "/api/v1/auth/login", &login).await.status, 200);
}
