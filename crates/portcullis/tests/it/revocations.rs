//! A logout or a new role on one replica is in force on all, with and without Redis.

use std::time::Duration;

use portcullis_model::Role;
use portcullis_testkit::{PrivateRedis, Relay};
use reqwest::Method;

use crate::client::{call, client, get, register};
use crate::replicas::{Replicas, logouts_reach_all, status, times_until_all_respond, user_of};

/// A revocation reaches every replica within this time (SR-22).
const REVOKED: Duration = Duration::from_secs(1);

fn distribution(what: &str, mut took: Vec<Duration>) {
    took.sort();
    let at = |share: usize| took[(took.len() - 1) * share / 100];
    eprintln!("{what}: median {:?}, p95 {:?}, most {:?} of {}", at(50), at(95), at(100), took.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sr_22_a_logout_on_one_replica_is_one_on_all() {
    let replicas = Replicas::start(&[]).await;
    for app in &replicas.apps {
        assert_eq!(get(app, "/api/v1/health/ready").await.status, 200);
    }
    let migrated = replicas.store().await;
    assert!(migrated.ping().await.is_ok());
    let took = logouts_reach_all(&replicas, 30).await;
    assert!(took.iter().all(|took| *took < REVOKED), "{took:?}");
    distribution("a logout was refused on every replica after", took);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sr_22_over_redis_a_logout_is_in_force_on_all_replicas() {
    let redis = PrivateRedis::start();
    let replicas = Replicas::start(&[("REDIS_URL", &redis.url())]).await;
    let took = logouts_reach_all(&replicas, 30).await;
    assert!(took.iter().all(|took| *took < REVOKED), "{took:?}");
    distribution("over Redis a logout was refused on every replica after", took);
    let page =
        client().get(replicas.apps[2].url("/metrics")).send().await.expect("answers").text().await.expect("text");
    let hits = page.lines().find_map(|line| line.strip_prefix("cache_hits_total{cache_type=\"redis\"} "));
    assert!(hits.is_some_and(|hits| hits.parse::<f64>().is_ok_and(|hits| hits > 0.0)), "no session came from Redis");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sr_22_without_packets_from_redis_a_logout_takes_a_second() {
    let redis = PrivateRedis::start();
    let relay = Relay::to(redis.address());
    let replicas = Replicas::start(&[("REDIS_URL", &format!("redis://127.0.0.1:{}", relay.port()))]).await;
    relay.freeze();
    let took = logouts_reach_all(&replicas, 5).await;
    assert!(took.iter().all(|took| *took < REVOKED), "{took:?}");
    distribution("with packets to Redis dropped a logout was refused on every replica after", took);
    relay.thaw();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sr_22_a_new_replica_uses_no_copy_from_before_a_logout() {
    let redis = PrivateRedis::start();
    let mut replicas = Replicas::start(&[("REDIS_URL", &redis.url())]).await;
    let account = register(&replicas.apps[0]).await;
    let client = client();
    for app in &replicas.apps {
        assert_eq!(status(&client, app, "/api/v1/projects/list", &account.access).await, 200);
    }
    // No replica is left that could pass the next revocation on to Redis.
    for app in &mut replicas.apps {
        app.stop();
    }
    let user = user_of(&account);
    replicas.end_in_sql(&user);
    // Longer ago than a reading of the log looks back by itself.
    replicas.sql("UPDATE revocations SET at = at - INTERVAL '60 s'");
    replicas.apps[0].start_again();
    assert_eq!(status(&client, &replicas.apps[0], "/api/v1/projects/list", &account.access).await, 401);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sr_60_write_access_to_redis_gives_no_rights() {
    let redis = PrivateRedis::start();
    let mut replicas = Replicas::start(&[("REDIS_URL", &redis.url())]).await;
    let account = register(&replicas.apps[0]).await;
    let client = client();
    assert_eq!(status(&client, &replicas.apps[0], "/api/v1/projects/list", &account.access).await, 200);
    let key = loop {
        let keys = redis.command(&["keys", "portcullis:session:*"]);
        if let Some(key) = keys.lines().next().filter(|key| !key.is_empty()) {
            break key.to_owned();
        }
        tokio::task::yield_now().await;
    };
    let genuine = redis.command(&["get", &key]).trim().to_owned();
    let forged = genuine.replace("DEVELOPER", "MANAGER");
    assert_ne!(forged, genuine);
    redis.command(&["set", &key, &forged, "ex", "300"]);
    assert_eq!(status(&client, &replicas.apps[1], "/api/v1/managers/list", &account.access).await, 403);

    let out = call(&replicas.apps[0], Method::POST, "/api/v1/auth/logout", &account.access, None).await;
    assert_eq!(out.status, 200, "{}", out.body);
    redis.command(&["set", &key, &genuine, "ex", "300"]);
    let path = "/api/v1/projects/list";
    let took = times_until_all_respond(&replicas, path, &account.access, 401).await;
    assert!(took.iter().all(|took| *took < REVOKED), "{took:?}");
    // A replica that starts now was not told of the logout by the feed.
    replicas.apps[2].stop();
    replicas.apps[2].start_again();
    redis.command(&["set", &key, &genuine, "ex", "300"]);
    assert_eq!(status(&client, &replicas.apps[2], path, &account.access).await, 401);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sr_35_a_new_role_is_in_force_on_all_within_a_second() {
    let replicas = Replicas::start(&[]).await;
    let account = register(&replicas.apps[0]).await;
    let user = user_of(&account);
    let client = client();
    for app in &replicas.apps {
        assert_eq!(status(&client, app, "/api/v1/managers/list", &account.access).await, 403);
    }
    let store = replicas.store().await;
    let mut tx = store.begin().await.expect("begins");
    tx.set_role(user, Role::Manager, store.clock().now()).await.expect("runs");
    tx.commit().await.expect("commits");
    let took = times_until_all_respond(&replicas, "/api/v1/managers/list", &account.access, 200).await;
    assert!(took.iter().all(|took| *took < REVOKED), "{took:?}");
    distribution("a new role was in force on every replica after", took);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sr_22_a_logout_whose_writer_dies_reaches_all_replicas() {
    let replicas = Replicas::start(&[]).await;
    let accounts = [register(&replicas.apps[0]).await, register(&replicas.apps[1]).await];
    let client = client();
    for account in &accounts {
        for app in &replicas.apps {
            assert_eq!(status(&client, app, "/api/v1/projects/list", &account.access).await, 200);
        }
    }
    replicas.end_in_sql(&user_of(&accounts[0]));
    let took = times_until_all_respond(&replicas, "/api/v1/projects/list", &accounts[0].access, 401).await;
    assert!(took.iter().all(|took| *took < REVOKED), "{took:?}");
    distribution("a revocation that nobody announced was refused on every replica after", took);
    for app in &replicas.apps {
        assert_eq!(status(&client, app, "/api/v1/projects/list", &accounts[1].access).await, 200, "another's session");
    }
}
