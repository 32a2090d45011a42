use std::time::Duration;

use portcullis_model::{Clock, SecretRing, SecretString, SessionCopy};
use portcullis_redis::{Redis, RedisOptions};
use portcullis_testkit::PrivateRedis;

use crate::connection::{connect, copy, options, until};

async fn offer(redis: &Redis, copy: &SessionCopy) {
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
    let text = server.command(&["get", &key]);
    let (_, text) = text.split_once('.').expect("a code and a copy");
    let written: serde_json::Value = serde_json::from_str(text).expect("JSON");
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
            "read",
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
    copy.expires_at = Clock::system().unix_seconds() + 60;
    offer(&redis, &copy).await;
    let left: i64 =
        server.command(&["ttl", &format!("test:session:{{{}}}", copy.id)]).trim().parse().expect("a number");
    assert!((50..=60).contains(&left), "{left} s");
}

/// Stores a copy and returns its key and its text in Redis.
async fn stored(server: &PrivateRedis, redis: &Redis, copy: &SessionCopy) -> (String, String) {
    offer(redis, copy).await;
    let key = format!("test:session:{{{}}}", copy.id);
    let text = server.command(&["get", &key]).trim().to_owned();
    (key, text)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sr_60_a_copy_that_somebody_changed_is_refused() {
    let server = PrivateRedis::start();
    let redis = connect(&server.url()).await;
    let copy = copy();
    let (key, text) = stored(&server, &redis, &copy).await;
    let (_, unsigned) = text.split_once('.').expect("a code and a copy");
    let changes = [
        text.replace("MANAGER", "ADMIN"),
        text.replace("\"session_epoch\":3", "\"session_epoch\":9"),
        text.replace("\"read\":", "\"read\":9"),
        text.replace("\"expires\":", "\"expires\":9"),
        unsigned.to_owned(),
        format!(".{unsigned}"),
        format!("{}.{unsigned}", "0".repeat(64)),
    ];
    for changed in changes {
        assert_ne!(changed, text, "nothing was changed");
        server.command(&["set", &key, &changed]);
        assert_eq!(redis.sessions().fetch(copy.id).await, None, "{changed}");
    }
    server.command(&["set", &key, &text]);
    assert_eq!(redis.sessions().fetch(copy.id).await, Some(copy));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sr_60_a_copy_under_another_name_is_refused() {
    let server = PrivateRedis::start();
    let redis = connect(&server.url()).await;
    let (mine, theirs) = (copy(), copy());
    let (_, text) = stored(&server, &redis, &theirs).await;
    server.command(&["set", &format!("test:session:{{{}}}", mine.id), &text]);
    assert_eq!(redis.sessions().fetch(mine.id).await, None);
    let mut neighbour = options(&server.url());
    neighbour.prefix = "other".to_owned();
    let neighbour = Redis::connect(neighbour).await.expect("connects");
    server.command(&["set", &format!("other:session:{{{}}}", theirs.id), &text]);
    assert_eq!(neighbour.sessions().fetch(theirs.id).await, None, "a copy of another installation");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sr_60_a_copy_older_than_five_minutes_is_refused() {
    let server = PrivateRedis::start();
    let clock = Clock::adjustable();
    let redis =
        Redis::connect(RedisOptions { clock: clock.clone(), ..options(&server.url()) }).await.expect("connects");
    let copy = copy();
    let (key, text) = stored(&server, &redis, &copy).await;
    // Somebody keeps the copy from expiring.
    server.command(&["set", &key, &text]);
    clock.advance(Duration::from_secs(290));
    assert_eq!(redis.sessions().fetch(copy.id).await, Some(copy.clone()));
    clock.advance(Duration::from_secs(11));
    assert_eq!(redis.sessions().fetch(copy.id).await, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sr_60_a_copy_from_the_future_is_refused() {
    let server = PrivateRedis::start();
    let ahead = Clock::adjustable();
    ahead.advance(Duration::from_secs(60));
    let (there, here) = (RedisOptions { clock: ahead.clone(), ..options(&server.url()) }, connect(&server.url()).await);
    let there = Redis::connect(there).await.expect("connects");
    let copy = SessionCopy { read_at: ahead.now(), ..copy() };
    stored(&server, &there, &copy).await;
    assert_eq!(here.sessions().fetch(copy.id).await, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sr_60_a_copy_under_another_encryption_key_is_refused() {
    let server = PrivateRedis::start();
    let here = connect(&server.url()).await;
    let former = SecretString::new("an encryption key of more than 32 bytes");
    let new = SecretString::new("another encryption key of more than 32 bytes");
    let there = Redis::connect(RedisOptions { secrets: new.clone().into(), ..options(&server.url()) }).await;
    let there = there.expect("connects");
    let copy = copy();
    stored(&server, &here, &copy).await;
    assert_eq!(there.sessions().fetch(copy.id).await, None);
    there.replace_secrets(&SecretRing::new(vec![new, former]).expect("two secrets"));
    assert_eq!(there.sessions().fetch(copy.id).await, Some(copy), "the former key still verifies");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_that_cannot_be_read_is_ignored() {
    let server = PrivateRedis::start();
    let redis = connect(&server.url()).await;
    let copy = copy();
    offer(&redis, &copy).await;
    let key = format!("test:session:{{{}}}", copy.id);
    for unreadable in ["{", ".", ""] {
        server.command(&["set", &key, unreadable]);
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
