//! `Idempotency-Key` (requirement 48).

use std::sync::Arc;

use portcullis_testkit::TestApp;
use reqwest::Method;
use serde_json::{Value, json};

use crate::client::{Account, Answer, app, call, client, register, send};
use crate::people::administrator;

fn gateway() -> TestApp {
    // So that a bearer token needs no pair of CSRF tokens here.
    app().env("PORTCULLIS__CSRF__MODE", "cookie").start()
}

async fn post_once(app: &TestApp, path: &str, token: &str, key: &str, body: &Value) -> Answer {
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
        let answer = post_once(&app, "/api/v1/users", &root, bad, &grace()).await;
        assert_eq!((answer.status, &answer.body["code"]), (400, &json!("request.idempotency_key_invalid")), "{bad:?}");
    }
    let twice = client().post(app.url("/api/v1/users")).bearer_auth(&root);
    let twice = send(twice.header("idempotency-key", "a").header("idempotency-key", "b").json(&grace())).await;
    assert_eq!(twice.status, 400);
}

#[tokio::test]
async fn sr_48_a_stored_answer_is_its_callers_own_and_holds_no_credential() {
    let app = gateway();
    let (ada, bob) = (register(&app).await, register(&app).await);
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
        "another's answer was given: {}",
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
    // It has no role, so it may give none: its own answer, and not the 201 of its owner.
    assert_eq!((by_key.status, by_key.header("idempotency-replayed")), (403, ""), "{}", by_key.body);
    // And whoever may not call at all is told so before anything is looked up.
    let ada = register(&app).await;
    assert_eq!(post_once(&app, "/api/v1/users", &ada.access, "k", &grace()).await.status, 403);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_at_once_one_is_done() {
    let app = Arc::new(gateway());
    let root = administrator(&app).await;
    let calls: Vec<_> = (0..20)
        .map(|_| {
            let (app, root) = (Arc::clone(&app), root.clone());
            tokio::spawn(async move { post_once(&app, "/api/v1/users", &root, "k", &grace()).await })
        })
        .collect();
    let mut done = 0;
    for answer in calls {
        let answer = answer.await.expect("no panic");
        match answer.status {
            201 if answer.header("idempotency-replayed").is_empty() => done += 1,
            201 => {}
            status => {
                assert_eq!((status, &answer.body["code"]), (409, &json!("request.idempotency_in_progress")));
                assert_eq!(answer.header("retry-after"), "1");
            }
        }
    }
    assert_eq!(done, 1);
    let lines = call(&app, Method::GET, "/api/v1/audit-logs?limit=100", &root, None).await;
    let invited = lines.body["data"]["auditLogs"].as_array().expect("a list");
    let invited = invited.iter().filter(|line| line["action"].as_str().is_some_and(|action| action.contains("invite")));
    assert_eq!(invited.count(), 1, "{}", lines.body);
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
