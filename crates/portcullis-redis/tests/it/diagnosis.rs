//! What `portcullis doctor` says of a Redis.

use std::path::Path;
use std::time::Duration;

use portcullis_model::finding::Status;
use portcullis_model::{Clock, Finding};
use portcullis_redis::{RedisUrl, diagnose};
use portcullis_testkit::{PrivateRedis, free_port};

async fn findings(url: &str, authorities: Option<&Path>) -> Vec<Finding> {
    let mut found = Vec::new();
    let url = RedisUrl::parse(url).expect("valid");
    diagnose(&url, Duration::from_secs(2), authorities, Clock::system().now(), &mut found).await;
    found
}

fn of<'a>(found: &'a [Finding], check: &str) -> &'a Finding {
    found.iter().find(|finding| finding.check == check).unwrap_or_else(|| panic!("no {check} in {found:?}"))
}

#[tokio::test]
async fn a_good_server_passes() {
    let server = PrivateRedis::start();
    let found = findings(&server.url(), None).await;
    assert!(of(&found, "redis.server").found.starts_with("Redis 7"), "{found:?}");
    assert_eq!(of(&found, "redis.memory").status, Status::Pass);
}

#[tokio::test]
async fn a_server_that_is_gone_fails_with_a_hint() {
    let found = findings(&format!("redis://ada:hunter2@127.0.0.1:{}", free_port()), None).await;
    let server = of(&found, "redis.server");
    assert_eq!(server.status, Status::Fail);
    assert!(server.found.contains("does not answer") && server.hint.is_some(), "{server:?}");
    assert!(!format!("{found:?}").contains("hunter2"));
}

#[tokio::test]
async fn an_evicting_policy_is_a_warning() {
    let server = PrivateRedis::start_with(&["--maxmemory", "64mb", "--maxmemory-policy", "allkeys-lru"]);
    let found = findings(&server.url(), None).await;
    let memory = of(&found, "redis.memory");
    assert_eq!(memory.status, Status::Warn);
    assert!(memory.found.contains("allkeys-lru"), "{memory:?}");
    assert!(memory.hint.as_ref().is_some_and(|hint| hint.contains("volatile-ttl")));
}

#[tokio::test]
async fn a_wrong_password_is_told_apart() {
    let server = PrivateRedis::start_with(&["--requirepass", "secret"]);
    let url = server.url().replace("redis://", "redis://:hunter2@");
    let found = findings(&url, None).await;
    assert!(of(&found, "redis.server").found.contains("refuses the user or the password"), "{found:?}");
    assert!(!format!("{found:?}").contains("hunter2"));
}

#[tokio::test]
async fn the_end_of_its_certificate_is_told() {
    let (server, authority) = PrivateRedis::start_with_tls();
    let url = server.url().replace("redis://", "rediss://");
    let found = findings(&url, Some(&authority)).await;
    assert!(of(&found, "redis.certificate").found.starts_with("the certificate ends in "), "{found:?}");
    let untrusted = findings(&url, None).await;
    assert!(of(&untrusted, "redis.server").found.contains("no TLS connection"), "{untrusted:?}");
}
