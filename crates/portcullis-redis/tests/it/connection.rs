//! Connections and values that the tests start from.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use portcullis_model::{Amr, Clock, Random, Rate, Role, SecretString, SessionCopy};
use portcullis_redis::{ConnectError, Redis, RedisOptions, RedisUrl};
use portcullis_telemetry::{Metrics, MetricsOptions};
use portcullis_testkit::{Stopwatch, session};
use tokio_util::sync::CancellationToken;

/// The longest time that a test waits for an event.
const RECOVERY: Duration = Duration::from_secs(60);

pub(crate) fn options(url: &str) -> RedisOptions {
    RedisOptions {
        url: RedisUrl::parse(url).expect("an address"),
        prefix: "test".to_owned(),
        // Longer than a busy machine delays a command.
        command_timeout: Duration::from_secs(20),
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

/// The time after which [`connect_impatiently`] gives a command up.
pub(crate) const COMMAND_TIMEOUT: Duration = Duration::from_secs(1);

/// Connects for a test in which Redis does not answer.
pub(crate) async fn connect_impatiently(url: &str) -> Redis {
    let options = RedisOptions { command_timeout: COMMAND_TIMEOUT, ..options(url) };
    Redis::connect(options).await.expect("connects")
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
    let stopwatch = Stopwatch::start();
    while !attempt().await {
        assert!(stopwatch.elapsed() < RECOVERY, "{what}: not within {RECOVERY:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    stopwatch.elapsed()
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
