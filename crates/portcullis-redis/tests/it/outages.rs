use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use portcullis_testkit::{PrivateRedis, Relay, free_port};

use crate::connection::{connect, copy, rate, until};

/// A call that fails at once takes far less than this; one that waits for Redis takes 250 ms.
const AT_ONCE: Duration = Duration::from_millis(50);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_starts_late_is_used_once_it_answers() {
    let port = free_port();
    let redis = connect(&format!("redis://127.0.0.1:{port}")).await;
    assert!(!redis.is_available());
    let begun = Instant::now();
    redis.limits().take("a", rate("1/1h")).await.expect_err("Redis is not running");
    assert!(redis.sessions().fetch(copy().id).await.is_none());
    assert!(begun.elapsed() < AT_ONCE);
    // A relay on the port that was tried, to a server on another.
    let server = PrivateRedis::start_with(&["--port", &port.to_string()]);
    let took = until("it is used", async || redis.limits().take("a", rate("1/1h")).await.is_ok()).await;
    eprintln!("used {took:?} after it was there");
    drop(server);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_redis_fails_calls_at_once_until_it_returns() {
    let server = PrivateRedis::start();
    let redis = connect(&server.url()).await;
    redis.limits().take("a", rate("1/1h")).await.expect("it is counted");
    server.stop();
    until("a call fails", async || redis.limits().take("a", rate("1/1h")).await.is_err()).await;
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
async fn a_frozen_redis_delays_only_one_command() {
    let server = PrivateRedis::start();
    let redis = connect(&server.url()).await;
    redis.limits().take("a", rate("1/1h")).await.expect("it is counted");
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
async fn dropped_packets_lead_to_a_new_connection() {
    let server = PrivateRedis::start();
    let relay = Relay::to((Ipv4Addr::LOCALHOST, server.port()).into());
    let redis = connect(&format!("redis://127.0.0.1:{}", relay.port())).await;
    redis.limits().take("a", rate("9/1h")).await.expect("it is counted");
    relay.freeze_open();
    redis.limits().take("a", rate("9/1h")).await.expect_err("its packets are dropped");
    let took = until("it is used", async || redis.limits().take("a", rate("9/1h")).await.is_ok()).await;
    eprintln!("used {took:?} after packets were dropped");
}
