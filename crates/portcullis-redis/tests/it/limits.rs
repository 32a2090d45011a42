use std::time::Duration;

use portcullis_model::GcraOutcome;
use portcullis_testkit::{PrivateRedis, Stopwatch};
use tokio::task::JoinSet;

use crate::connection::{connect, options, rate, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_replicas_together_admit_exactly_the_limit() {
    let server = PrivateRedis::start();
    let mut requests = JoinSet::new();
    for _ in 0..3 {
        let limits = connect(&server.url()).await.limits();
        for _ in 0..20 {
            let limits = limits.clone();
            requests
                .spawn(async move { limits.take("api:1:203.0.113.5", rate("17/1h")).await.expect("it is counted") });
        }
    }
    let takes = requests.join_all().await;
    assert_eq!(takes.iter().filter(|take| take.retry.is_none()).count(), 17);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_passes_and_keys_do_not_share() {
    let server = PrivateRedis::start();
    let limits = connect(&server.url()).await.limits();
    let take = async |subject: &str| limits.take(subject, rate("3/3h")).await.expect("it is counted");
    // What of an hour may pass between two calls on a busy machine.
    let (hour, little) = (Duration::from_secs(3_600), Duration::from_secs(60));
    for spent in 1..=3_u32 {
        let GcraOutcome { ahead, retry } = take("a").await;
        assert_eq!(retry, None);
        assert!(ahead <= spent * hour && ahead > spent * hour - little, "{ahead:?}");
    }
    let refused = take("a").await;
    let wait = refused.retry.expect("the fourth is refused");
    assert!(wait > hour - little && wait <= hour, "{wait:?}");
    assert_eq!(take("b").await.retry, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_place_is_free_again_after_its_time() {
    let server = PrivateRedis::start();
    let limits = connect(&server.url()).await.limits();
    let is_admitted = async || limits.take("a", rate("1/1s")).await.expect("it is counted").retry.is_none();
    let stopwatch = Stopwatch::start();
    assert!(is_admitted().await);
    until("a place is free", is_admitted).await;
    assert!(stopwatch.elapsed() >= Duration::from_secs(1), "{:?}", stopwatch.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_given_back_can_be_taken_once_more() {
    let server = PrivateRedis::start();
    let limits = connect(&server.url()).await.limits();
    let admitted = async || limits.take("a", rate("2/1h")).await.expect("it is counted").retry.is_none();
    let refund = async || limits.refund("a", rate("2/1h")).await.expect("is given back");
    refund().await;
    assert_eq!(server.command(&["exists", "test:limit:a"]).trim(), "0", "there was nothing to give back");
    assert!(admitted().await && admitted().await && !admitted().await);
    refund().await;
    let left: i64 = server.command(&["pttl", "test:limit:a"]).trim().parse().expect("a number");
    assert!((1_740_000..=1_800_000).contains(&left), "{left} ms");
    assert!(admitted().await && !admitted().await, "nothing was saved up");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_expires_when_its_whole_burst_is_free() {
    let server = PrivateRedis::start();
    let limits = connect(&server.url()).await.limits();
    limits.take("a", rate("10/1h")).await.expect("it is counted");
    let left: i64 = server.command(&["pttl", "test:limit:a"]).trim().parse().expect("a number");
    assert!((300_000..=360_000).contains(&left), "{left} ms");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_raised_limit_holds_from_the_next_request_on() {
    let server = PrivateRedis::start();
    let limits = connect(&server.url()).await.limits();
    assert_eq!(limits.take("a", rate("1/1h")).await.expect("it is counted").retry, None);
    assert!(limits.take("a", rate("1/1h")).await.expect("it is counted").retry.is_some());
    let retry = limits.take("a", rate("1000/1s")).await.expect("it is counted").retry.unwrap_or_default();
    assert!(retry <= Duration::from_millis(1), "{retry:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_the_script_gets_it_again() {
    let server = PrivateRedis::start();
    let limits = connect(&server.url()).await.limits();
    limits.take("a", rate("10/1h")).await.expect("it is counted");
    server.command(&["script", "flush"]);
    limits.take("a", rate("10/1h")).await.expect("it is counted");
    let calls = server.command(&["info", "commandstats"]);
    assert!(calls.contains("cmdstat_eval:calls=2,"), "{calls}");
}

/// The gate's own limiter, for one request after the other.
struct Model {
    arrival: i64,
}

impl Model {
    fn take(&mut self, now: i64, interval: i64, burst: i64) -> (bool, i64) {
        self.arrival = self.arrival.clamp(now, now + burst);
        let spent = self.arrival + interval - now;
        if spent > burst {
            return (false, self.arrival - now);
        }
        self.arrival = now + spent;
        (true, spent)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_script_decides_like_the_limiter_in_process() {
    let server = PrivateRedis::start();
    let redis = connect(&server.url()).await;
    let limits = redis.limits();
    let random = options(&server.url()).random;
    let mut compared = 0;
    for (number, text) in ["5/1s", "40/2s", "7/60s", "1/1s"].into_iter().enumerate() {
        let rate = rate(text);
        let period = i64::try_from(rate.period.as_micros()).expect("small");
        let interval = period / i64::from(rate.limit);
        let burst = interval * i64::from(rate.limit);
        let mut model = Model { arrival: 0 };
        let subject = format!("model{number}");
        for _ in 0..40 {
            let [pause] = random.bytes::<1>();
            tokio::time::sleep(Duration::from_millis(u64::from(pause) / 8)).await;
            let before = now(&server);
            let take = limits.take(&subject, rate).await.expect("it is counted");
            let after = now(&server);
            // The stored and the returned time give the instant at which the script decided.
            let ahead = i64::try_from(take.ahead.as_micros()).expect("small");
            let stored = server.command(&["get", &format!("test:limit:{subject}")]);
            let stored: i64 = match stored.trim().parse() {
                Ok(stored) => stored,
                Err(_) if take.retry.is_some() => model.arrival,
                Err(_) => {
                    // On a busy machine it has expired since, and nothing tells when the script decided.
                    model.arrival = 0;
                    continue;
                }
            };
            compared += 1;
            let decided = if take.retry.is_none() { stored - ahead } else { model.arrival - ahead };
            assert!((before..=after).contains(&decided), "{decided} is not in {before}..={after}");
            assert_eq!((take.retry.is_none(), ahead), model.take(decided, interval, burst), "{take:?}");
        }
    }
    assert!(compared > 40, "{compared}");
}

/// Redis's clock in microseconds.
fn now(server: &PrivateRedis) -> i64 {
    let reply = server.command(&["time"]);
    let mut parts = reply.lines().map(|part| part.trim().parse::<i64>().expect("a number"));
    parts.next().expect("seconds") * 1_000_000 + parts.next().expect("microseconds")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peeking_counts_nothing_and_a_reset_frees_the_burst() {
    let server = PrivateRedis::start();
    let (here, there) = (connect(&server.url()).await.limits(), connect(&server.url()).await.limits());
    for _ in 0..5 {
        assert_eq!(here.peek("a", rate("2/1h")).await.expect("is asked").retry, None);
    }
    for _ in 0..2 {
        assert_eq!(here.take("a", rate("2/1h")).await.expect("it is counted").retry, None);
    }
    assert!(there.peek("a", rate("2/1h")).await.expect("is asked").retry.is_some());
    there.reset("a").await.expect("is forgotten");
    assert_eq!(here.take("a", rate("2/1h")).await.expect("it is counted").retry, None, "on every replica");
}
