//! `Idempotency-Key` (requirement 48).

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use portcullis_testkit::{PrivatePostgres, Relay, TestApp, free_port};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::client::{Account, TestResponse, app, call, client, post, register, register_confirmed, send};
use crate::replicas::Replicas;
use crate::shell_users::{administrator, shell_user};

fn gateway() -> TestApp {
    // So that a bearer token needs no pair of CSRF tokens here.
    app().env("PORTCULLIS__CSRF__MODE", "cookie").start()
}

async fn post_once(app: &TestApp, path: &str, token: &str, key: &str, body: &Value) -> TestResponse {
    send(client().post(app.url(path)).bearer_auth(token).header("idempotency-key", key).json(body)).await
}

fn grace() -> Value {
    json!({ "email": "grace@example.com", "username": "grace", "firstName": "Grace", "lastName": "Hopper" })
}

#[tokio::test]
async fn what_is_sent_twice_is_done_once_and_answered_alike() {
    let app = gateway();
    let root = administrator(&app).await;
    let first = post_once(&app, "/api/v1/users", &root, "k1", &grace()).await;
    assert_eq!((first.status, first.header("idempotency-replayed")), (201, ""), "{}", first.body);
    for path in ["/api/v1/users", "/api/users"] {
        let again = post_once(&app, path, &root, "k1", &grace()).await;
        assert_eq!((again.status, again.header("idempotency-replayed")), (201, "true"), "{}", again.body);
        assert_eq!((&again.body["data"], &again.body["message"]), (&first.body["data"], &first.body["message"]));
        assert_ne!(again.header("x-request-id"), first.header("x-request-id"));
    }
    let mut other = grace();
    other["firstName"] = json!("Gracia");
    let reused = post_once(&app, "/api/v1/users", &root, "k1", &other).await;
    assert_eq!((reused.status, &reused.body["code"]), (422, &json!("request.idempotency_key_reused")));
    let anew = post_once(&app, "/api/v1/users", &root, "k2", &grace()).await;
    assert_eq!(anew.status, 409, "another key is another request: {}", anew.body);
    // What was refused may be mended and sent again.
    let mended = json!({ "email": "alan@example.com", "username": "alan", "firstName": "Alan", "lastName": "Turing" });
    let mut short = mended.clone();
    short["username"] = json!("al");
    assert_eq!(post_once(&app, "/api/v1/users", &root, "k3", &short).await.status, 400);
    assert_eq!(post_once(&app, "/api/v1/users", &root, "k3", &mended).await.status, 201);
    for bad in ["", "with space", &"x".repeat(256), "ä"] {
        let response = post_once(&app, "/api/v1/users", &root, bad, &grace()).await;
        assert_eq!(
            (response.status, &response.body["code"]),
            (400, &json!("request.idempotency_key_invalid")),
            "{bad:?}"
        );
    }
    let twice = client().post(app.url("/api/v1/users")).bearer_auth(&root);
    let twice = send(twice.header("idempotency-key", "a").header("idempotency-key", "b").json(&grace())).await;
    assert_eq!(twice.status, 400);
}

#[tokio::test]
async fn sr_48_a_stored_outcome_is_its_callers_and_has_no_secret() {
    let app = gateway();
    let (ada, bob) = (register_confirmed(&app).await, register_confirmed(&app).await);
    let asked = json!({ "name": "deploys" });
    let make = async |of: &Account, key: &str| post_once(&app, "/api/v1/api-keys", &of.access, key, &asked).await;
    let first = make(&ada, "k").await;
    assert_eq!(first.status, 201, "{}", first.body);
    let secret = first.body["data"]["secret"].as_str().expect("shown once").to_owned();
    let again = make(&ada, "k").await;
    assert_eq!((again.status, again.header("idempotency-replayed")), (201, "true"));
    assert_eq!(again.body["data"]["apiKey"], first.body["data"]["apiKey"]);
    assert!(!again.body.to_string().contains(&secret[..20]), "{}", again.body);
    assert_eq!(again.body["message"], "API key created earlier. It was shown then.");
    let listed = call(&app, Method::GET, "/api/v1/api-keys", &ada.access, None).await;
    assert_eq!(listed.body["data"]["apiKeys"].as_array().map(Vec::len), Some(1), "it was made twice");
    let bobs = make(&bob, "k").await;
    assert_eq!(
        (bobs.status, bobs.header("idempotency-replayed")),
        (201, ""),
        "another's response was given: {}",
        bobs.body
    );
    assert_ne!(bobs.body["data"]["apiKey"]["id"], first.body["data"]["apiKey"]["id"]);
}

#[tokio::test]
async fn sr_48_a_key_that_may_do_less_is_not_given_what_its_owner_got() {
    let app = gateway();
    let root = administrator(&app).await;
    let asked = json!({ "name": "inviter", "scopes": ["USER_CREATE"] });
    let made = call(&app, Method::POST, "/api/v1/api-keys", &root, Some(&asked)).await;
    let key = made.body["data"]["secret"].as_str().expect("a key").to_owned();
    assert_eq!(post_once(&app, "/api/v1/users", &root, "k", &grace()).await.status, 201);
    let by_key = post_once(&app, "/api/v1/users", &key, "k", &grace()).await;
    // Its own answer, and not the 201 of its owner.
    assert_eq!((by_key.status, by_key.header("idempotency-replayed")), (409, ""), "{}", by_key.body);
    // A caller without the permission is refused before anything is looked up.
    let ada = register(&app).await;
    assert_eq!(post_once(&app, "/api/v1/users", &ada.access, "k", &grace()).await.status, 403);
}

/// Sends the request until it is answered, as a client does that was not: what was done, and whether by another try.
async fn insist(app: &TestApp, path: &str, token: &str, key: &str, body: &Value) -> (Value, bool) {
    let begun = Instant::now();
    loop {
        let request = client().post(app.url(path)).bearer_auth(token).header("idempotency-key", key).json(body);
        if let Ok(response) = request.send().await {
            let replayed = response.headers().contains_key("idempotency-replayed");
            let status = response.status().as_u16();
            if let Ok(response) = response.json::<Value>().await {
                match status {
                    201 => return (response["data"].clone(), replayed),
                    _ => assert_eq!(status, 503, "{response}"),
                }
            }
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "it was never answered");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn keys_of(app: &TestApp, account: &Account) -> usize {
    let listed = call(app, Method::GET, "/api/v1/api-keys", &account.access, None).await;
    listed.body["data"]["apiKeys"].as_array().map_or(0, Vec::len)
}

/// Asks for a key and hangs up after `patience`.
async fn request_key_and_hang_up(app: &TestApp, account: &Account, key: &str, patience: Duration) {
    let request =
        client().post(app.url("/api/v1/api-keys")).bearer_auth(&account.access).header("idempotency-key", key);
    drop(tokio::time::timeout(patience, request.json(&json!({ "name": key })).send()).await);
}

/// How many moments of a request are tried.
const MOMENTS: u32 = 25;

/// One of them: close together at first, where most of the work is done.
fn moment_of(number: u32) -> Duration {
    Duration::from_micros(20) * number * number
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_at_once_one_is_done_and_all_are_answered() {
    let app = Arc::new(gateway());
    let root = administrator(&app).await;
    for (path, body, list) in [
        ("/api/v1/users", grace(), "/api/v1/users"),
        ("/api/v1/api-keys", json!({ "name": "deploys" }), "/api/v1/api-keys"),
    ] {
        let calls: Vec<_> = (0..20)
            .map(|_| {
                let (app, root, body) = (Arc::clone(&app), root.clone(), body.clone());
                tokio::spawn(async move { post_once(&app, path, &root, "k", &body).await })
            })
            .collect();
        let mut first = 0;
        for response in calls {
            let response = response.await.expect("no panic");
            assert_eq!(response.status, 201, "{}", response.body);
            first += usize::from(response.header("idempotency-replayed").is_empty());
        }
        assert_eq!(first, 1, "{path}");
        let listed = call(&app, Method::GET, list, &root, None).await;
        let listed = listed.body["data"]["users"].as_array().or(listed.body["data"]["apiKeys"].as_array());
        // The administrator is a user too.
        assert_eq!(listed.map(Vec::len), Some(if path.ends_with("users") { 2 } else { 1 }));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_replicas_do_it_once_between_them() {
    let replicas = Arc::new(Replicas::start(&[("PORTCULLIS__CSRF__MODE", "cookie")]).await);
    // Any replica may send the mail that confirms an address, so this user is made at the shell.
    let ada = shell_user(&replicas.apps[0], "ada", "DEVELOPER").await;
    for round in 0..10 {
        let mut asking = JoinSet::new();
        for number in 0..6 {
            let (replicas, ada) = (Arc::clone(&replicas), ada.clone());
            asking.spawn(async move {
                let app = &replicas.apps[number % 3];
                insist(app, "/api/v1/api-keys", &ada.access, &format!("k{round}"), &json!({ "name": "one" })).await
            });
        }
        let responses = asking.join_all().await;
        assert_eq!(responses.iter().filter(|(_, replayed)| !replayed).count(), 1);
        assert!(responses.iter().all(|(data, _)| data["apiKey"]["id"] == responses[0].0["apiKey"]["id"]));
        assert_eq!(
            responses.iter().filter(|(data, _)| data["secret"].is_string()).count(),
            1,
            "the secret is told once"
        );
    }
    assert_eq!(keys_of(&replicas.apps[1], &ada).await, 10);
}

#[tokio::test]
async fn a_client_that_hangs_up_and_asks_again_has_one_key() {
    let app = gateway();
    let ada = register_confirmed(&app).await;
    for moment in 0..MOMENTS {
        let key = format!("k{moment}");
        request_key_and_hang_up(&app, &ada, &key, moment_of(moment)).await;
        insist(&app, "/api/v1/api-keys", &ada.access, &key, &json!({ "name": key })).await;
    }
    assert_eq!(keys_of(&app, &ada).await, MOMENTS as usize);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repetition_after_a_kill_creates_one_key() {
    let mut app = app().env("PORTCULLIS__CSRF__MODE", "cookie").env("PORT", free_port().to_string()).start();
    let ada = register_confirmed(&app).await;
    let mut done = 0;
    for moment in 0..MOMENTS {
        let key = format!("k{moment}");
        request_key_and_hang_up(&app, &ada, &key, moment_of(moment)).await;
        app.crash_and_restart();
        let (_, replayed) = insist(&app, "/api/v1/api-keys", &ada.access, &key, &json!({ "name": key })).await;
        done += u32::from(replayed);
    }
    eprintln!("{done} of {MOMENTS} were done by then");
    assert_eq!(keys_of(&app, &ada).await, MOMENTS as usize, "{done} were done before the process was killed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repetition_after_losing_the_database_creates_one_key() {
    let server = PrivatePostgres::shared();
    let database = server.database();
    let relay = Relay::to((Ipv4Addr::LOCALHOST, server.port()).into());
    let through = database.replace(&format!(":{}/", server.port()), &format!(":{}/", relay.port()));
    let app = Arc::new(app().env("PORTCULLIS__CSRF__MODE", "cookie").env("DATABASE_URL", through).start());
    let ada = register_confirmed(&app).await;
    let mut done = 0;
    for moment in 0..MOMENTS {
        let key = format!("k{moment}");
        let asking = {
            let (app, ada, key) = (Arc::clone(&app), ada.clone(), key.clone());
            tokio::spawn(async move { request_key_and_hang_up(&app, &ada, &key, Duration::from_secs(10)).await })
        };
        tokio::time::sleep(moment_of(moment)).await;
        relay.disconnect();
        asking.await.expect("no panic");
        relay.reconnect();
        let (_, replayed) = insist(&app, "/api/v1/api-keys", &ada.access, &key, &json!({ "name": key })).await;
        done += u32::from(replayed);
    }
    eprintln!("{done} of {MOMENTS} were done by then");
    assert_eq!(keys_of(&app, &ada).await, MOMENTS as usize, "{done} were done before the relay was cut");
}

#[tokio::test]
async fn sr_48_an_outcome_is_hidden_after_losing_the_permission() {
    let app = gateway();
    let root = administrator(&app).await;
    let ada = register(&app).await;
    let role = async |role: &str| {
        let users = call(&app, Method::GET, &format!("/api/v1/users?search={}", ada.email), &root, None).await;
        let id = users.body["data"]["users"][0]["id"].as_str().expect("an id").to_owned();
        let path = format!("/api/v1/users/{id}/role");
        let response = call(&app, Method::PUT, &path, &root, Some(&json!({ "role": role }))).await;
        assert_eq!(response.status, 200, "{}", response.body);
    };
    role("ADMIN").await;
    assert_eq!(post_once(&app, "/api/v1/users", &ada.access, "k", &grace()).await.status, 201);
    assert_eq!(post_once(&app, "/api/v1/users", &ada.access, "k", &grace()).await.status, 201);
    role("VIEWER").await;
    let lost = post_once(&app, "/api/v1/users", &ada.access, "k", &grace()).await;
    assert_eq!((lost.status, lost.body.to_string().contains("grace")), (403, false), "{}", lost.body);
}

#[tokio::test]
async fn sr_48_visitors_of_the_demo_share_an_account_and_no_keys() {
    let demo = [
        ("ENABLE_DEMO_MODE", "true"),
        ("DEMO_USER_EMAIL", "demo@example.com"),
        ("DEMO_USER_PASSWORD", "demo of a gate"),
    ];
    let app = demo.into_iter().fold(app(), |app, (name, value)| app.env(name, value));
    let app = app.env("PORTCULLIS__CSRF__MODE", "cookie").start();
    let visitor = async || {
        let body = json!({ "email": "demo@example.com", "password": "demo of a gate" });
        let response = post(&app, "/api/v1/auth/login", &body).await;
        response.body["data"]["tokens"]["accessToken"]
            .as_str()
            .unwrap_or_else(|| panic!("{}", response.body))
            .to_owned()
    };
    let (one, other) = (visitor().await, visitor().await);
    assert_eq!(post_once(&app, "/api/v1/users", &one, "k", &grace()).await.status, 201);
    assert_eq!(post_once(&app, "/api/v1/users", &one, "k", &grace()).await.header("idempotency-replayed"), "true");
    let others = post_once(&app, "/api/v1/users", &other, "k", &grace()).await;
    assert_eq!((others.status, others.header("idempotency-replayed")), (409, ""), "{}", others.body);
}

#[tokio::test]
async fn where_nobody_is_signed_in_the_header_means_nothing() {
    let app = gateway();
    let ada = register(&app).await;
    let body = json!({ "email": ada.email, "password": portcullis_testkit::PASSWORD });
    let sign_in =
        async || send(client().post(app.url("/api/auth/login")).header("idempotency-key", "k").json(&body)).await;
    let (first, second) = (sign_in().await, sign_in().await);
    assert_eq!((first.status, second.status), (200, 200));
    assert_ne!(first.body["data"]["tokens"]["accessToken"], second.body["data"]["tokens"]["accessToken"]);
}
