use std::net::Ipv4Addr;

use portcullis_testkit::{PrivateRedis, Wire};
use tokio_util::sync::CancellationToken;

use crate::bed::{Rung, connect};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ring_is_heard_by_the_others_and_not_by_the_one_who_rings() {
    let server = PrivateRedis::start();
    let (here, there) = (connect(&server.url()).await, connect(&server.url()).await);
    let (near, far, stop) = (Rung::default(), Rung::default(), CancellationToken::new());
    let listening = [near.on(&here, &stop), far.on(&there, &stop)];
    // Each is rung once when it has connected.
    near.reaches(1).await;
    far.reaches(1).await;
    let before = near.times();
    for _ in 0..20 {
        let heard = far.times();
        here.notifier().notify();
        far.reaches(heard + 1).await;
    }
    // What the other way brings comes after what this way would have brought.
    there.notifier().notify();
    near.reaches(before + 1).await;
    // One ring of the other's, and perhaps a late word of its own connecting.
    assert!(near.times() <= before + 3, "it hears itself: {} rings", near.times() - before);
    stop.cancel();
    for ended in listening {
        ended.await.expect("ends when told to");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_restart_of_redis_it_is_rung_once_for_what_was_missed_and_hears_again() {
    let server = PrivateRedis::start();
    let (here, there) = (connect(&server.url()).await, connect(&server.url()).await);
    let (far, stop) = (Rung::default(), CancellationToken::new());
    let _listening = far.on(&there, &stop);
    far.reaches(1).await;
    let before = far.times();
    server.stop();
    server.start_again();
    far.reaches(before + 1).await;
    let before = far.times();
    crate::bed::until("a ring is heard", async || {
        here.notifier().notify();
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        far.times() > before
    })
    .await;
    stop.cancel();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscription_whose_packets_are_dropped_notices_and_hears_again() {
    let server = PrivateRedis::start();
    let wire = Wire::to((Ipv4Addr::LOCALHOST, server.port()).into());
    let here = connect(&server.url()).await;
    let there = connect(&format!("redis://127.0.0.1:{}", wire.port())).await;
    let (far, stop) = (Rung::default(), CancellationToken::new());
    let _listening = far.on(&there, &stop);
    far.reaches(1).await;
    let before = far.times();
    wire.freeze_open();
    // Nothing says that the connection is dead but the sign of life that does not come.
    far.reaches(before + 1).await;
    let before = far.times();
    crate::bed::until("a ring is heard", async || {
        here.notifier().notify();
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        far.times() > before
    })
    .await;
    stop.cancel();
}
