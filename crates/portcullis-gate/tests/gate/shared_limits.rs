//! Rate limits that replicas count together, and what each limit does while they cannot.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use futures_util::future::BoxFuture;
use portcullis_gate::{RateLimitKey, RateLimitReset, Verdict};
use portcullis_model::{GcraOutcome, Limit, LimitBy, Rate, SharedLimits, SharedUnavailable, WithoutRedis};

use crate::dry_run::dry_run;
use crate::test_gate::{TestConfig, TestGate, rate, route};

/// Counts in memory that several gates share. They never run out by time.
#[derive(Default)]
struct SharedCounts {
    counts: Mutex<HashMap<String, u32>>,
    is_away: AtomicBool,
}

impl SharedCounts {
    /// Changes the count of a key and returns it, if the counts can be reached.
    fn change<T>(&self, key: &str, change: impl FnOnce(&mut u32) -> T) -> Result<T, SharedUnavailable> {
        if self.is_away.load(Ordering::SeqCst) {
            return Err(SharedUnavailable);
        }
        Ok(change(self.counts.lock().expect("no panic while locked").entry(key.to_owned()).or_default()))
    }
}

/// One more request after `count` of them.
fn outcome(count: u32, rate: Rate) -> GcraOutcome {
    let interval = rate.period / rate.limit;
    let retry = (count >= rate.limit).then_some(interval);
    GcraOutcome { ahead: interval * (count + 1).min(rate.limit), retry }
}

impl SharedLimits for SharedCounts {
    fn take<'a>(&'a self, key: &'a str, rate: Rate) -> BoxFuture<'a, Result<GcraOutcome, SharedUnavailable>> {
        let taken = self.change(key, |count| {
            let outcome = outcome(*count, rate);
            *count += u32::from(outcome.retry.is_none());
            outcome
        });
        Box::pin(async move { taken })
    }

    fn peek<'a>(&'a self, key: &'a str, rate: Rate) -> BoxFuture<'a, Result<GcraOutcome, SharedUnavailable>> {
        let seen = self.change(key, |count| outcome(*count, rate));
        Box::pin(async move { seen })
    }

    fn refund<'a>(&'a self, key: &'a str, _rate: Rate) -> BoxFuture<'a, Result<(), SharedUnavailable>> {
        let given = self.change(key, |count| *count -= 1);
        Box::pin(async move { given })
    }

    fn reset<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<(), SharedUnavailable>> {
        let reset = self.change(key, |count| *count = 0);
        Box::pin(async move { reset })
    }
}

fn limit(text: &str, by: LimitBy, without_redis: WithoutRedis) -> Limit {
    Limit { without_redis, ..Limit::new("shared", rate(text).expect("on"), by) }
}

/// A gate whose route `/api/v1/x` has these limits, and which counts with others.
async fn replica(shared: &Arc<SharedCounts>, limits: Vec<Limit>) -> TestGate {
    TestGate::start(TestConfig {
        routes: vec![route("/api/v1/x", |policy| policy.limits = limits)],
        shared: Some(Arc::clone(shared) as Arc<dyn SharedLimits>),
        trusted_proxies: vec!["127.0.0.0/8"],
        ..TestConfig::default()
    })
    .await
}

/// The beginning of the verdicts of this many requests.
async fn verdicts(gate: &TestGate, count: usize) -> Vec<String> {
    let mut verdicts = Vec::new();
    for _ in 0..count {
        let verdict = gate.get("/api/x").verdict().await;
        verdicts.push(verdict.split(' ').next().unwrap_or_default().to_owned());
    }
    verdicts
}

#[tokio::test]
async fn replicas_count_requests_together() {
    let shared = Arc::default();
    let limits = || vec![limit("3/1h", LimitBy::Address, WithoutRedis::Local)];
    let (here, there) = (replica(&shared, limits()).await, replica(&shared, limits()).await);
    assert_eq!(verdicts(&here, 2).await, ["permit", "permit"]);
    assert_eq!(verdicts(&there, 2).await, ["permit", "RateLimited"]);
    assert_eq!(verdicts(&here, 1).await, ["RateLimited"]);
}

#[tokio::test]
async fn each_limit_has_its_own_answer_while_nobody_counts() {
    for (without_redis, expected) in [
        (WithoutRedis::Local, ["permit", "permit", "RateLimited"]),
        (WithoutRedis::Open, ["permit", "permit", "permit"]),
        (WithoutRedis::Closed, ["Unavailable", "Unavailable", "Unavailable"]),
    ] {
        let shared = Arc::<SharedCounts>::default();
        let gate = replica(&shared, vec![limit("2/1h", LimitBy::Address, without_redis)]).await;
        shared.is_away.store(true, Ordering::SeqCst);
        assert_eq!(verdicts(&gate, 3).await, expected, "{without_redis:?}");
    }
}

#[tokio::test]
async fn a_dry_run_tells_what_a_limit_does_while_nobody_counts() {
    for (without_redis, told, permits) in [
        (WithoutRedis::Open, "this limit then lets every request pass", true),
        (WithoutRedis::Closed, "this limit then lets no request pass", false),
    ] {
        let shared = Arc::<SharedCounts>::default();
        let gate = replica(&shared, vec![limit("2/1h", LimitBy::Address, without_redis)]).await;
        let explained = gate.inner.explain(&dry_run("GET", "/api/x", &[])).await;
        assert!(format!("{:?}", explained.steps).contains("1 left after this one"), "{:?}", explained.steps);
        shared.is_away.store(true, Ordering::SeqCst);
        let explained = gate.inner.explain(&dry_run("GET", "/api/x", &[])).await;
        assert!(format!("{:?}", explained.steps).contains(told), "{:?}", explained.steps);
        assert_eq!(matches!(explained.verdict, Verdict::Permitted(())), permits);
    }
}

#[tokio::test]
async fn a_request_that_one_limit_refuses_counts_against_no_other() {
    let shared = Arc::default();
    let limits = vec![
        limit("2/1h", LimitBy::Everybody, WithoutRedis::Local),
        Limit::by_address("own", rate("1/1h").expect("on")),
    ];
    let gate = replica(&shared, limits).await;
    let from = async |address: &str| gate.get("/api/x").header("x-forwarded-for", address).verdict().await;
    assert_eq!(from("203.0.113.1").await, "permit");
    for _ in 0..5 {
        assert!(from("203.0.113.1").await.starts_with("RateLimited"));
    }
    assert_eq!(from("203.0.113.2").await, "permit", "the shared limit has counted one request only");
    assert!(from("203.0.113.3").await.starts_with("RateLimited"), "and now two");
}

#[tokio::test]
async fn a_reset_tells_whether_every_replica_has_forgotten() {
    let shared = Arc::<SharedCounts>::default();
    let gate = replica(&shared, vec![limit("1/1h", LimitBy::Address, WithoutRedis::Local)]).await;
    let this_address = RateLimitKey::address("127.0.0.1".parse().expect("an address"));
    assert_eq!(verdicts(&gate, 2).await, ["permit", "RateLimited"]);
    let reset = gate.inner.reset_rate_limits(this_address, None).await;
    assert_eq!(reset, RateLimitReset { limits: 1, on_every_replica: true });
    assert_eq!(verdicts(&gate, 2).await, ["permit", "RateLimited"]);
    shared.is_away.store(true, Ordering::SeqCst);
    let reset = gate.inner.reset_rate_limits(this_address, None).await;
    assert!(!reset.on_every_replica, "{reset:?}");
}
