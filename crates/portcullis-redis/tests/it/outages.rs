use std::net::Ipv4Addr;

use portcullis_testkit::{PrivateRedis, Relay, Stopwatch, free_port};

use crate::connection::{COMMAND_TIMEOUT, connect_impatiently, copy, rate, until};

/// Asserts that no call since then has waited for Redis. One that waits takes the whole timeout.
fn assert_nothing_waited(stopwatch: Stopwatch) {
    assert!(stopwatch.running() < COMMAND_TIMEOUT, "{:?}", stopwatch.running());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_starts_late_is_used_once_it_answers() {
    let port = free_port();
    let redis = connect_impatiently(&format!("redis://127.0.0.1:{port}")).await;
    assert!(!redis.is_available());
    let stopwatch = Stopwatch::start();
    redis.limits().take("a", rate("1/1h")).await.expect_err("Redis is not running");
    assert!(redis.sessions().fetch(copy().id).await.is_none());
    assert_nothing_waited(stopwatch);
    let server = PrivateRedis::start_with(&["--port", &port.to_string()]);
    let took = until("it is used", async || redis.limits().take("a", rate("1/1h")).await.is_ok()).await;
    eprintln!("used {took:?} after it was there");
    drop(server);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_redis_fails_calls_at_once_until_it_returns() {
    let server = PrivateRedis::start();
    let redis = connect_impatiently(&server.url()).await;
    redis.limits().take("a", rate("1/1h")).await.expect("it is counted");
    server.stop();
    until("a call fails", async || redis.limits().take("a", rate("1/1h")).await.is_err()).await;
    assert!(!redis.is_available());
    let stopwatch = Stopwatch::start();
    for _ in 0..100 {
        redis.limits().take("a", rate("1/1h")).await.expect_err("it is gone");
    }
    assert_nothing_waited(stopwatch);
    server.start_again();
    let took = until("it is used", async || redis.limits().take("a", rate("1/1h")).await.is_ok()).await;
    eprintln!("used {took:?} after its return");
    assert!(redis.is_available());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_redis_delays_only_one_command() {
    let server = PrivateRedis::start();
    let redis = connect_impatiently(&server.url()).await;
    redis.limits().take("a", rate("1/1h")).await.expect("it is counted");
    server.freeze();
    let stopwatch = Stopwatch::start();
    redis.limits().take("a", rate("1/1h")).await.expect_err("it is frozen");
    stopwatch.assert_within(0.9..5.0);
    let stopwatch = Stopwatch::start();
    for _ in 0..100 {
        redis.limits().take("a", rate("1/1h")).await.expect_err("it is frozen");
    }
    assert_nothing_waited(stopwatch);
    server.thaw();
    let took = until("it is used", async || redis.limits().take("a", rate("1/1h")).await.is_ok()).await;
    eprintln!("used {took:?} after it thawed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropped_packets_lead_to_a_new_connection() {
    let server = PrivateRedis::start();
    let relay = Relay::to((Ipv4Addr::LOCALHOST, server.port()).into());
    let redis = connect_impatiently(&format!("redis://127.0.0.1:{}", relay.port())).await;
    redis.limits().take("a", rate("9/1h")).await.expect("it is counted");
    relay.freeze_open();
    redis.limits().take("a", rate("9/1h")).await.expect_err("its packets are dropped");
    let took = until("it is used", async || redis.limits().take("a", rate("9/1h")).await.is_ok()).await;
    eprintln!("used {took:?} after packets were dropped");
}
