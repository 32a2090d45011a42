use std::time::Duration;

use portcullis_redis::{ConnectError, Redis};
use portcullis_testkit::{PrivatePostgres, PrivateRedis};

use crate::connection::{Notices, connect, copy, options, rate, refusal, until};

fn told(refusal: &ConnectError) -> String {
    let message = format!("{refusal} {refusal:?} {:?}", refusal.hint());
    assert!(!message.contains("hunter2") && !message.contains("only-for-tests"), "{message}");
    assert!(!refusal.to_string().contains('\n') && refusal.hint().is_some());
    message
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_password_is_refused_without_showing_it() {
    let server = PrivateRedis::start_with(&["--requirepass", "only-for-tests"]);
    for user in ["", ":hunter2@", "ada:hunter2@"] {
        let refusal = refusal(options(&format!("redis://{user}127.0.0.1:{}", server.port()))).await;
        assert!(matches!(refusal, ConnectError::Refused { .. }), "{refusal:?}");
        told(&refusal);
    }
    connect(&format!("redis://:only-for-tests@127.0.0.1:{}", server.port())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_documented_permissions_of_a_user_are_enough() {
    let page = include_str!("../../../../docs/redis.md");
    let line = page.lines().find(|line| line.starts_with("ACL SETUSER")).expect("the page has the line");
    let rights: Vec<&str> = line.split_whitespace().collect();
    let server = PrivateRedis::start();
    assert_eq!(server.command(&rights).trim(), "OK", "{line}");
    let url = format!("redis://portcullis:a-long-password@127.0.0.1:{}", server.port());
    let (mut here, mut there) = (options(&url), options(&url));
    here.prefix = "portcullis".to_owned();
    there.prefix = "portcullis".to_owned();
    let here = Redis::connect(here).await.expect("connects");
    let there = Redis::connect(there).await.expect("connects");
    here.limits().take("a", rate("9/1h")).await.expect("it is counted");
    here.limits().peek("a", rate("9/1h")).await.expect("it is read");
    here.limits().refund("a", rate("9/1h")).await.expect("it is given back");
    here.limits().reset("a").await.expect("it is forgotten");
    let copy = copy();
    here.sessions().offer(copy.clone());
    until("the copy is stored", async || there.sessions().fetch(copy.id).await.is_some()).await;
    let (far, stop) = (Notices::default(), tokio_util::sync::CancellationToken::new());
    let _listening = far.count_on(&there, &stop);
    far.reaches(1).await;
    let before = far.times();
    portcullis_model::ReplicaNotifier::notify(&*here.notifier());
    far.reaches(before + 1).await;
    stop.cancel();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_certificates_are_verified() {
    let (server, authority) = PrivateRedis::start_with_tls();
    let url = format!("rediss://127.0.0.1:{}", server.port());
    let mut checked = options(&url);
    checked.authorities = Some(authority.clone());
    let redis = Redis::connect(checked).await.expect("connects");
    redis.limits().take("a", rate("1/1h")).await.expect("it is counted");
    // Its certificate authority is not trusted.
    let unknown = refusal(options(&url)).await;
    assert!(matches!(unknown, ConnectError::Tls { .. }), "{unknown:?}");
    told(&unknown);
    // The certificate is for another name.
    let mut elsewhere = options(&format!("rediss://localhost:{}", server.port()));
    elsewhere.authorities = Some(authority);
    let refused = refusal(elsewhere).await;
    assert!(matches!(refused, ConnectError::Tls { .. }), "{refused:?}");
    let mut nothing = options(&url);
    nothing.authorities = Some("/nowhere/ca.pem".into());
    assert!(matches!(refusal(nothing).await, ConnectError::Authorities { .. }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tls_address_never_falls_back_to_plain_text() {
    let server = PrivateRedis::start();
    let mut options = options(&format!("rediss://:hunter2@127.0.0.1:{}", server.port()));
    options.connect_timeout = Duration::from_secs(1);
    // The server takes the TLS handshake for the beginning of a command and waits for the rest.
    match Redis::connect(options).await {
        Ok(redis) => assert!(!redis.is_available()),
        Err(refused) => drop(told(&refused)),
    }
    assert!(!server.command(&["info", "commandstats"]).contains("auth"), "the password was sent");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_kind_of_server_is_not_available() {
    let postgres = PrivatePostgres::shared();
    let mut options = options(&format!("redis://127.0.0.1:{}", postgres.port()));
    options.connect_timeout = Duration::from_secs(2);
    // PostgreSQL closes the connection, as a Redis that is starting may do.
    match Redis::connect(options).await {
        Ok(redis) => assert!(!redis.is_available()),
        Err(refused) => drop(told(&refused)),
    }
}
