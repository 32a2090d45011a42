use portcullis_model::Revocation;
use portcullis_redis::Redis;
use portcullis_testkit::PrivateRedis;

use crate::connection::{changed, connect, copy, ended, options, until};

async fn offer(redis: &Redis, copy: &portcullis_model::SessionCopy) {
    redis.sessions().offer(copy.clone());
    until("the copy is stored", async || redis.sessions().fetch(copy.id).await.is_some()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_is_the_same_on_another_replica_and_has_no_secret() {
    let server = PrivateRedis::start();
    let (here, there) = (connect(&server.url()).await, connect(&server.url()).await);
    let copy = copy();
    offer(&here, &copy).await;
    assert_eq!(there.sessions().fetch(copy.id).await, Some(copy.clone()));
    let key = format!("test:session:{{{}}}", copy.id);
    let written: serde_json::Value = serde_json::from_str(&server.command(&["get", &key])).expect("JSON");
    let names: Vec<&String> = written.as_object().expect("an object").keys().collect();
    assert_eq!(
        names,
        [
            "amr",
            "authenticated",
            "email",
            "expires",
            "extra",
            "form",
            "role",
            "seen",
            "session_epoch",
            "token_epoch",
            "user",
            "user_epoch",
            "verified"
        ]
    );
    let left: i64 = server.command(&["ttl", &key]).trim().parse().expect("a number");
    assert!((290..=300).contains(&left), "{left} s");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_never_outlives_its_session() {
    let server = PrivateRedis::start();
    let redis = connect(&server.url()).await;
    let mut copy = copy();
    copy.expires_at = portcullis_model::Clock::system().unix_seconds() + 60;
    offer(&redis, &copy).await;
    let left: i64 =
        server.command(&["ttl", &format!("test:session:{{{}}}", copy.id)]).trim().parse().expect("a number");
    assert!((50..=60).contains(&left), "{left} s");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sr_22_a_revoked_copy_is_never_returned() {
    let server = PrivateRedis::start();
    let redis = connect(&server.url()).await;
    let sessions = redis.sessions();
    for revocation in [ended, changed] {
        let (before, after) = (copy(), copy());
        offer(&redis, &before).await;
        sessions.revoke(&[revocation(&before), revocation(&after)]).await.expect("it is applied");
        assert_eq!(sessions.fetch(before.id).await, None);
        sessions.offer(after.clone());
        until("the stale copy is written", async || {
            server.command(&["exists", &format!("test:session:{{{}}}", after.id)]).trim() == "1"
        })
        .await;
        assert_eq!(sessions.fetch(after.id).await, None);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sr_35_a_newer_copy_is_returned_and_floors_never_sink() {
    let server = PrivateRedis::start();
    let redis = connect(&server.url()).await;
    let sessions = redis.sessions();
    let old = copy();
    let later = Revocation { epoch: old.user_epoch + 5, ..changed(&old) };
    sessions.revoke(&[later, changed(&old)]).await.expect("it is applied");
    let mut young = old.clone();
    young.user_epoch += 4;
    sessions.offer(young.clone());
    until("the copy is written", async || {
        server.command(&["exists", &format!("test:session:{{{}}}", old.id)]).trim() == "1"
    })
    .await;
    assert_eq!(sessions.fetch(old.id).await, None, "the floor sank");
    young.user_epoch += 1;
    offer(&redis, &young).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_revocations_at_once_are_all_applied() {
    let server = PrivateRedis::start();
    let redis = connect(&server.url()).await;
    let copies: Vec<_> = (0..5_000).map(|_| copy()).collect();
    let entries: Vec<_> = copies.iter().map(ended).collect();
    redis.sessions().revoke(&entries).await.expect("it is applied");
    assert_eq!(server.command(&["dbsize"]).trim(), "5000");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_in_an_unknown_form_is_ignored() {
    let server = PrivateRedis::start();
    let redis = connect(&server.url()).await;
    let copy = copy();
    offer(&redis, &copy).await;
    let key = format!("test:session:{{{}}}", copy.id);
    let written = server.command(&["get", &key]);
    for unreadable in [written.replace("\"form\":1", "\"form\":2"), "{".to_owned(), String::new()] {
        server.command(&["set", &key, unreadable.trim()]);
        assert_eq!(redis.sessions().fetch(copy.id).await, None, "{unreadable}");
    }
    server.command(&["del", &key]);
    server.command(&["hset", &key, "not", "text"]);
    assert_eq!(redis.sessions().fetch(copy.id).await, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cache_hits_and_misses_are_counted_for_redis() {
    let server = PrivateRedis::start();
    let options = options(&server.url());
    let metrics = options.metrics.clone();
    let redis = Redis::connect(options).await.expect("connects");
    let copy = copy();
    assert_eq!(redis.sessions().fetch(copy.id).await, None);
    redis.sessions().offer(copy.clone());
    until("the copy is written", async || {
        server.command(&["exists", &format!("test:session:{{{}}}", copy.id)]).trim() == "1"
    })
    .await;
    assert!(redis.sessions().fetch(copy.id).await.is_some());
    let page = metrics.render(false);
    assert!(page.contains("cache_hits_total{cache_type=\"redis\"} 1"), "{page}");
    assert!(page.contains("cache_misses_total{cache_type=\"redis\"} 1"), "{page}");
    assert!(page.contains("redis_up 1"), "{page}");
}
