//! Rate limits that replicas count together in Redis, and what they do without it.

use std::sync::Arc;

use portcullis_testkit::PrivateRedis;
use reqwest::Client;
use tokio::task::JoinSet;

use crate::client::{app, get};
use crate::proxied::upstream;
use crate::replicas::Replicas;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rate_limit_counts_over_all_replicas() {
    let redis = PrivateRedis::start();
    let limits = [
        ("REDIS_URL", redis.url()),
        ("PORTCULLIS__LIMITS__ENABLED", "true".to_owned()),
        ("PORTCULLIS__LIMITS__API", "37/1h".to_owned()),
    ];
    let limits: Vec<(&str, &str)> = limits.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let replicas = Arc::new(Replicas::start(&limits).await);
    let mut asking = JoinSet::new();
    for number in 0..60 {
        let replicas = Arc::clone(&replicas);
        asking.spawn(async move { get(&replicas.apps[number % 3], "/api/v1/projects/list").await.status });
    }
    let responses = asking.join_all().await;
    // A request within the limit is refused for its missing token.
    assert_eq!(responses.iter().filter(|status| **status == 401).count(), 37, "{responses:?}");
    assert_eq!(responses.iter().filter(|status| **status == 429).count(), 23, "{responses:?}");
}

#[tokio::test]
async fn each_limit_says_what_it_does_without_redis() {
    let redis = PrivateRedis::start();
    let (upstream, _) = upstream().await;
    let route = |name: &str| {
        format!(
            "[[routes]]\npath = \"/api/v1/{name}\"\nupstream = \"u\"\nauth = \"none\"\n\
             rate_limit = {{ rate = \"2/1h\", without_redis = \"{name}\" }}\n"
        )
    };
    let settings = format!(
        "[upstreams.u]\ntargets = [\"http://{upstream}\"]\n{}{}{}",
        route("local"),
        route("open"),
        route("closed")
    );
    let app = app().env("REDIS_URL", redis.url()).settings(&settings).start();
    let statuses = async |name: &str| {
        let mut all = Vec::new();
        for _ in 0..3 {
            all.push(get(&app, &format!("/api/{name}")).await.status);
        }
        all
    };
    for name in ["local", "open", "closed"] {
        assert_eq!(statuses(name).await, [200, 200, 429], "{name}, counted together");
    }
    drop(redis);
    assert_eq!(statuses("local").await, [200, 200, 429], "counted anew, in this process");
    assert_eq!(statuses("open").await, [200, 200, 200]);
    assert_eq!(statuses("closed").await, [503, 503, 503]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_refused_by_one_limit_counts_against_no_other() {
    let redis = PrivateRedis::start();
    let (upstream, _) = upstream().await;
    // One limit before the caller is known, one afterwards, and one that all callers share.
    let address = "{ rate = \"2/1h\", by = \"address\", name = \"own\" }";
    let caller = "{ rate = \"2/1h\", by = \"caller\", name = \"own\" }";
    let everybody = "{ rate = \"4/1h\", by = \"everybody\", name = \"all\" }";
    let route = |name: &str, limits: [&str; 2]| {
        format!(
            "[[routes]]\npath = \"/api/v1/{name}\"\nupstream = \"u\"\nauth = \"none\"\nrate_limit = [{}]\n",
            limits.join(", ")
        )
    };
    let settings = format!(
        "[server]\ntrusted_proxies = [\"127.0.0.1/32\"]\n[upstreams.u]\ntargets = [\"http://{upstream}\"]\n{}{}{}",
        route("own-first", [address, everybody]),
        route("all-first", [everybody, address]),
        route("own-last", [everybody, caller])
    );
    let client = Client::new();
    for with_redis in [false, true] {
        let app = if with_redis { app().env("REDIS_URL", redis.url()) } else { app() };
        let app = app.settings(&settings).start();
        for path in ["/api/own-first", "/api/all-first", "/api/own-last"] {
            let status = async |from: &str| {
                let asked = client.get(app.url(path)).header("x-forwarded-for", from).send().await;
                asked.expect("a response").status().as_u16()
            };
            for _ in 0..2 {
                assert_eq!(status("203.0.113.1").await, 200);
            }
            for _ in 0..10 {
                assert_eq!(status("203.0.113.1").await, 429, "its own limit is used up");
            }
            for from in ["203.0.113.2", "203.0.113.3"] {
                assert_eq!(
                    status(from).await,
                    200,
                    "{path}, with Redis: {with_redis}: the shared limit is not used up"
                );
            }
            assert_eq!(
                status("203.0.113.4").await,
                429,
                "{path}, with Redis: {with_redis}: the shared limit is used up"
            );
        }
    }
}
