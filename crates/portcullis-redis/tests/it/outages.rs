use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use portcullis_testkit::{PrivateRedis, Wire, free_port};

use crate::bed::{connect, copy, ended, rate, until};

/// A call that fails at once takes far less than this; one that waits for Redis takes 250 ms.
const AT_ONCE: Duration = Duration::from_millis(50);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_not_there_yet_is_used_once_it_is() {
    let port = free_port();
    let redis = connect(&format!("redis://127.0.0.1:{port}")).await;
    assert!(!redis.is_available());
    let begun = Instant::now();
    redis.limits().take("a", rate("1/1h")).await.expect_err("nobody is there");
    assert!(redis.sessions().fetch(copy().id).await.is_none());
    redis.sessions().revoke(&[ended(&copy())]).await.expect_err("nobody is there");
    assert!(begun.elapsed() < AT_ONCE);
    // A wire on the port that was tried, to a server on another.
    let server = PrivateRedis::start_with(&["--port", &port.to_string()]);
    let took = until("it is used", async || redis.limits().take("a", rate("1/1h")).await.is_ok()).await;
    eprintln!("used {took:?} after it was there");
    drop(server);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_redis_is_done_without_at_once_and_used_again_when_it_is_back() {
    let server = PrivateRedis::start();
    let redis = connect(&server.url()).await;
    redis.limits().take("a", rate("1/1h")).await.expect("is counted");
    server.stop();
    until("the loss is noticed", async || redis.limits().take("a", rate("1/1h")).await.is_err()).await;
    assert!(!redis.is_available());
    let begun = Instant::now();
    for _ in 0..100 {
        redis.limits().take("a", rate("1/1h")).await.expect_err("it is gone");
    }
    assert!(begun.elapsed() < AT_ONCE, "{:?}", begun.elapsed());
    server.start_again();
    let took = until("it is used", async || redis.limits().take("a", rate("1/1h")).await.is_ok()).await;
    eprintln!("used {took:?} after its return");
    assert!(redis.is_available());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_redis_costs_one_command_its_time_and_the_others_nothing() {
    let server = PrivateRedis::start();
    let redis = connect(&server.url()).await;
    redis.limits().take("a", rate("1/1h")).await.expect("is counted");
    server.freeze();
    let begun = Instant::now();
    redis.limits().take("a", rate("1/1h")).await.expect_err("it is frozen");
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    let begun = Instant::now();
    for _ in 0..100 {
        redis.limits().take("a", rate("1/1h")).await.expect_err("it is frozen");
    }
    assert!(begun.elapsed() < AT_ONCE, "{:?}", begun.elapsed());
    server.thaw();
    let took = until("it is used", async || redis.limits().take("a", rate("1/1h")).await.is_ok()).await;
    eprintln!("used {took:?} after it thawed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropped_packets_are_noticed_and_a_new_connection_is_made() {
    let server = PrivateRedis::start();
    let wire = Wire::to((Ipv4Addr::LOCALHOST, server.port()).into());
    let redis = connect(&format!("redis://127.0.0.1:{}", wire.port())).await;
    redis.limits().take("a", rate("9/1h")).await.expect("is counted");
    wire.freeze_open();
    redis.limits().take("a", rate("9/1h")).await.expect_err("its packets are dropped");
    let took = until("it is used", async || redis.limits().take("a", rate("9/1h")).await.is_ok()).await;
    eprintln!("used {took:?} after packets were dropped");
}
