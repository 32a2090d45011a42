//! The same behaviour behind Sentinel and on a cluster.

use portcullis_redis::{ConnectError, Redis};
use portcullis_testkit::{PrivateCluster, PrivateRedis, PrivateSentinel};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::connection::{Notices, connect, connect_impatiently, copy, options, rate, refusal, until};

async fn check_all_functions(url: &str) {
    let (here, there) = (connect(url).await, connect(url).await);
    let mut requests = JoinSet::new();
    for redis in [&here, &there] {
        for _ in 0..30 {
            let limits = redis.limits();
            requests.spawn(async move { limits.take("exact", rate("25/1h")).await.expect("it is counted") });
        }
    }
    let takes = requests.join_all().await;
    assert_eq!(takes.iter().filter(|take| take.retry.is_none()).count(), 25);
    // Many, so that they lie in every part of a cluster.
    for _ in 0..20 {
        let copy = copy();
        here.sessions().offer(copy.clone());
        until("the copy is stored", async || there.sessions().fetch(copy.id).await.is_some()).await;
    }
    check_notices(&here, &there).await;
}

async fn check_notices(here: &Redis, there: &Redis) {
    let (far, stop) = (Notices::default(), CancellationToken::new());
    let _listening = far.count_on(there, &stop);
    far.reaches(1).await;
    let before = far.times();
    until("a notice arrives", async || {
        here.notifier().notify();
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        far.times() > before
    })
    .await;
    stop.cancel();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_works_on_a_cluster_of_six_nodes() {
    let cluster = PrivateCluster::start();
    check_all_functions(&cluster.url()).await;
    let single = refusal(options(&cluster.nodes()[0].url())).await;
    assert!(matches!(single, ConnectError::Layout { is_cluster: true, .. }), "{single:?}");
    assert!(single.hint().is_some_and(|hint| hint.contains("redis-cluster://")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_address_of_a_single_server_is_refused() {
    let server = PrivateRedis::start();
    let refused = refusal(options(&format!("redis-cluster://127.0.0.1:{}", server.port()))).await;
    assert!(matches!(refused, ConnectError::Layout { is_cluster: false, .. }), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_works_behind_sentinel_and_after_fail_over() {
    let sentinel = PrivateSentinel::start();
    check_all_functions(&sentinel.url()).await;
    let (here, there) = (connect_impatiently(&sentinel.url()).await, connect_impatiently(&sentinel.url()).await);
    let (far, stop) = (Notices::default(), CancellationToken::new());
    let _listening = far.count_on(&there, &stop);
    far.reaches(1).await;
    sentinel.fail_over();
    let took = until("limits are counted again", async || here.limits().take("b", rate("9/1h")).await.is_ok()).await;
    eprintln!("used {took:?} after the fail-over");
    let copy = copy();
    until("copies are shared again", async || {
        here.sessions().offer(copy.clone());
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        there.sessions().fetch(copy.id).await.is_some()
    })
    .await;
    let before = far.times();
    until("a notice arrives again", async || {
        here.notifier().notify();
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        far.times() > before
    })
    .await;
    stop.cancel();
}
