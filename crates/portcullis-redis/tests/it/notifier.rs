use std::net::Ipv4Addr;

use portcullis_testkit::{PrivateRedis, Relay};
use tokio_util::sync::CancellationToken;

use crate::connection::{Notices, connect};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_notice_reaches_every_replica_but_its_sender() {
    let server = PrivateRedis::start();
    let (here, there) = (connect(&server.url()).await, connect(&server.url()).await);
    let (near, far, stop) = (Notices::default(), Notices::default(), CancellationToken::new());
    let listening = [near.count_on(&here, &stop), far.count_on(&there, &stop)];
    // Each replica gets one notice when it has connected.
    near.reaches(1).await;
    far.reaches(1).await;
    let before = near.times();
    for _ in 0..20 {
        let heard = far.times();
        here.notifier().notify();
        far.reaches(heard + 1).await;
    }
    // A notice in the other direction arrives after an echo would have arrived.
    there.notifier().notify();
    near.reaches(before + 1).await;
    // One notice is the other's; another may come late from its own connection.
    assert!(near.times() <= before + 3, "it gets its own notices: {}", near.times() - before);
    stop.cancel();
    for ended in listening {
        ended.await.expect("it ends when it is cancelled");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_restart_of_redis_notices_arrive_again() {
    let server = PrivateRedis::start();
    let (here, there) = (connect(&server.url()).await, connect(&server.url()).await);
    let (far, stop) = (Notices::default(), CancellationToken::new());
    let _listening = far.count_on(&there, &stop);
    far.reaches(1).await;
    let before = far.times();
    server.stop();
    server.start_again();
    far.reaches(before + 1).await;
    let before = far.times();
    crate::connection::until("a notice arrives", async || {
        here.notifier().notify();
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        far.times() > before
    })
    .await;
    stop.cancel();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscription_recovers_from_dropped_packets() {
    let server = PrivateRedis::start();
    let relay = Relay::to((Ipv4Addr::LOCALHOST, server.port()).into());
    let here = connect(&server.url()).await;
    let there = connect(&format!("redis://127.0.0.1:{}", relay.port())).await;
    let (far, stop) = (Notices::default(), CancellationToken::new());
    let _listening = far.count_on(&there, &stop);
    far.reaches(1).await;
    let before = far.times();
    relay.freeze_open();
    // Only the missing answer to a probe shows that the connection is dead.
    far.reaches(before + 1).await;
    let before = far.times();
    crate::connection::until("a notice arrives", async || {
        here.notifier().notify();
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        far.times() > before
    })
    .await;
    stop.cancel();
}
