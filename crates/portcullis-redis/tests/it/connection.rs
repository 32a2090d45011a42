//! Connections and values that the tests start from.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use portcullis_model::{Amr, Clock, Random, Rate, Role, SecretString, SessionCopy};
use portcullis_redis::{ConnectError, Redis, RedisOptions, RedisUrl};
use portcullis_telemetry::{Metrics, MetricsOptions};
use portcullis_testkit::session;
use tokio_util::sync::CancellationToken;

/// The longest time that a test waits for an event.
pub(crate) const RECOVERY: Duration = Duration::from_secs(10);

pub(crate) fn options(url: &str) -> RedisOptions {
    RedisOptions {
        url: RedisUrl::parse(url).expect("an address"),
        prefix: "test".to_owned(),
        command_timeout: Duration::from_millis(250),
        connect_timeout: Duration::from_secs(5),
        authorities: None,
        clock: Clock::system(),
        secrets: SecretString::new("an encryption key of more than 32 bytes").into(),
        random: Random::system(),
        metrics: Metrics::new(&MetricsOptions::default(), "test"),
    }
}

/// Connects as one replica.
pub(crate) async fn connect(url: &str) -> Redis {
    Redis::connect(options(url)).await.expect("connects")
}

pub(crate) async fn refusal(options: RedisOptions) -> ConnectError {
    match Redis::connect(options).await {
        Ok(_) => panic!("it connected"),
        Err(error) => error,
    }
}

pub(crate) fn rate(text: &str) -> Rate {
    Rate::parse(text).expect("valid").expect("on")
}

/// A copy with a value of its own in every field.
pub(crate) fn copy() -> SessionCopy {
    let copy = session().role(Role::Manager).permission("PROJECT_VIEW").epochs(3, 5).copy();
    SessionCopy { amr: vec![Amr::Password, Amr::OneTimePassword], token_epoch: 4, ..copy }
}

/// Tries until it succeeds, and returns how long that took.
pub(crate) async fn until(what: &str, mut attempt: impl AsyncFnMut() -> bool) -> Duration {
    let begun = Instant::now();
    while !attempt().await {
        assert!(begun.elapsed() < RECOVERY, "{what}: not within {RECOVERY:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    begun.elapsed()
}

/// Counts the notices that a replica receives.
#[derive(Clone, Default)]
pub(crate) struct Notices(Arc<AtomicUsize>);

impl Notices {
    pub(crate) fn count_on(&self, redis: &Redis, stop: &CancellationToken) -> tokio::task::JoinHandle<()> {
        let count = Arc::clone(&self.0);
        let on_notice = move || {
            count.fetch_add(1, Ordering::AcqRel);
        };
        tokio::spawn(redis.clone().listen(Arc::new(on_notice), stop.clone()))
    }

    pub(crate) fn times(&self) -> usize {
        self.0.load(Ordering::Acquire)
    }

    pub(crate) async fn reaches(&self, times: usize) {
        until("a notice arrives", async || self.times() >= times).await;
    }
}
