//! The limits of a target and the queue before it.

use std::time::Duration;

use portcullis_proxy::TargetLimits;

use crate::gateway::{Gateway, Setup};
use crate::peer::{Peer, Upstream};

const GET: &str = "GET /api/v1/things HTTP/1.1\r\nHost: gate\r\n\r\n";
const POST: &str = "POST /api/v1/things HTTP/1.1\r\nHost: gate\r\nContent-Length: 0\r\n\r\n";
const UPGRADE: &str = "GET /api/v1/things HTTP/1.1\r\nHost: gate\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
const EMPTY: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
const EVENTS: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n2\r\n:\n\r\n";

/// Limits whose queue nobody leaves by the clock.
fn limits(max_connections: usize, queue_length: usize) -> TargetLimits {
    TargetLimits { max_connections, queue_length, queue_wait: Duration::from_secs(600), ..TargetLimits::default() }
}

async fn start(limits: TargetLimits) -> (Upstream, Gateway) {
    let upstream = Upstream::listen().await;
    let gateway = Gateway::start(Setup { limits, ..Setup::to([upstream.address()]) }).await;
    (upstream, gateway)
}

async fn send(gateway: &Gateway, request: &str) -> Peer {
    let mut client = gateway.connect().await;
    client.write(request).await;
    client
}

/// Waits until this many requests are in the queue.
async fn wait_for_queue(gateway: &Gateway, length: u64) {
    while gateway.metric("upstream_queue_length", "") != length {
        tokio::task::yield_now().await;
    }
}

/// Waits until this many connections are open.
async fn wait_for_connections(gateway: &Gateway, count: u64) {
    while gateway.metric("upstream_connections", "") != count {
        tokio::task::yield_now().await;
    }
}

async fn answers(client: &mut Peer, service: &mut Peer) {
    service.head().await;
    service.write(EMPTY).await;
    assert!(client.head().await.starts_with("http/1.1 200"));
}

#[tokio::test]
async fn waiting_requests_are_served_in_order_on_one_connection() {
    let (upstream, gateway) = start(limits(1, 256)).await;
    let mut first = send(&gateway, GET).await;
    let mut service = upstream.accept().await;
    let mut waiting = Vec::new();
    for number in 1..=5 {
        waiting.push(send(&gateway, GET).await);
        wait_for_queue(&gateway, number).await;
    }
    answers(&mut first, &mut service).await;
    for mut client in waiting {
        answers(&mut client, &mut service).await;
    }
    assert_eq!(gateway.metric("upstream_queue_length", ""), 0);
    assert_eq!(gateway.metric("upstream_connections", ""), 1);
    assert!(upstream.stays_alone());
}

#[tokio::test]
async fn a_full_queue_refuses_without_blaming_the_target() {
    let (upstream, gateway) = start(limits(1, 1)).await;
    let mut first = send(&gateway, GET).await;
    let mut service = upstream.accept().await;
    answers(&mut first, &mut service).await;
    first.write(GET).await;
    service.head().await;
    let _waiting = send(&gateway, GET).await;
    wait_for_queue(&gateway, 1).await;
    let mut refused = send(&gateway, GET).await;
    refused.until("connection_limit_reached: Overloaded(queue_full)").await;
    assert_eq!(gateway.metric("upstream_refused_total", ",reason=\"queue_full\""), 1);
    assert_eq!((gateway.outcomes("refused"), gateway.status()), (1, "healthy"));
}

#[tokio::test]
async fn a_wait_that_is_over_is_refused() {
    let limits = TargetLimits { queue_wait: Duration::from_millis(50), ..limits(1, 8) };
    let (upstream, gateway) = start(limits).await;
    let _first = send(&gateway, GET).await;
    let _service = upstream.accept().await;
    let mut late = send(&gateway, GET).await;
    late.until("connection_limit_reached: Overloaded(queue_timeout)").await;
    assert_eq!(gateway.metric("upstream_refused_total", ",reason=\"queue_timeout\""), 1);
    assert_eq!(gateway.metric("upstream_queue_length", ""), 0);
}

#[tokio::test]
async fn a_client_that_hangs_up_leaves_the_queue() {
    let (upstream, gateway) = start(limits(1, 256)).await;
    let mut first = send(&gateway, GET).await;
    let mut service = upstream.accept().await;
    let gone = send(&gateway, GET).await;
    wait_for_queue(&gateway, 1).await;
    let mut next = send(&gateway, GET).await;
    wait_for_queue(&gateway, 2).await;
    drop(gone);
    wait_for_queue(&gateway, 1).await;
    answers(&mut first, &mut service).await;
    answers(&mut next, &mut service).await;
}

#[tokio::test]
async fn a_connection_counts_until_its_streamed_body_ends() {
    let (upstream, gateway) = start(limits(1, 256)).await;
    let mut first = send(&gateway, GET).await;
    let mut service = upstream.accept().await;
    service.head().await;
    service.write("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nbo").await;
    first.until("bo").await;
    let mut next = send(&gateway, GET).await;
    wait_for_queue(&gateway, 1).await;
    service.write("dy").await;
    first.until("dy").await;
    answers(&mut next, &mut service).await;
}

#[tokio::test]
async fn a_client_that_leaves_a_body_frees_its_place() {
    let (upstream, gateway) = start(limits(1, 256)).await;
    let mut first = send(&gateway, GET).await;
    let mut service = upstream.accept().await;
    service.head().await;
    service.write("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nbo").await;
    first.until("bo").await;
    let mut next = send(&gateway, GET).await;
    wait_for_queue(&gateway, 1).await;
    drop(first);
    let mut service = upstream.accept().await;
    answers(&mut next, &mut service).await;
}

#[tokio::test]
async fn tunnels_and_event_streams_leave_the_connections_free() {
    let (upstream, gateway) = start(TargetLimits { max_streams: 2, ..limits(1, 0) }).await;
    let mut tunnel = send(&gateway, UPGRADE).await;
    let mut service = upstream.accept().await;
    service.head().await;
    service.write(SWITCH).await;
    assert!(tunnel.head().await.starts_with("http/1.1 101"));
    let mut page = send(&gateway, GET).await;
    let mut events = upstream.accept().await;
    events.head().await;
    events.write(EVENTS).await;
    page.until(":\n").await;
    let mut client = send(&gateway, GET).await;
    let mut plain = upstream.accept().await;
    answers(&mut client, &mut plain).await;
    assert_eq!(gateway.metric("upstream_connections", ""), 3);
    // Both kinds of stream meet the same limit.
    let mut refused = send(&gateway, UPGRADE).await;
    refused.until("connection_limit_reached").await;
    client.write(GET).await;
    plain.head().await;
    plain.write(EVENTS).await;
    client.until("connection_limit_reached").await;
    // A stream that ends makes room for another.
    drop((service, tunnel));
    wait_for_connections(&gateway, 1).await;
    let mut tunnel = send(&gateway, UPGRADE).await;
    let mut service = upstream.accept().await;
    service.head().await;
    service.write(SWITCH).await;
    assert!(tunnel.head().await.starts_with("http/1.1 101"));
}

#[tokio::test]
async fn idle_connections_that_were_closed_take_no_place() {
    let (upstream, gateway) = start(limits(2, 0)).await;
    let (mut first, mut second) = (send(&gateway, GET).await, send(&gateway, GET).await);
    let (mut one, mut two) = (upstream.accept().await, upstream.accept().await);
    for service in [&mut one, &mut two] {
        service.head().await;
        service.write(EMPTY).await;
    }
    first.head().await;
    second.head().await;
    drop((one, two));
    let (mut first, mut second) = (send(&gateway, GET).await, send(&gateway, GET).await);
    let (mut one, mut two) = (upstream.accept().await, upstream.accept().await);
    assert_eq!(gateway.metric("upstream_connections", ""), 2);
    for service in [&mut one, &mut two] {
        service.head().await;
        service.write(EMPTY).await;
    }
    assert!(first.head().await.starts_with("http/1.1 200"));
    assert!(second.head().await.starts_with("http/1.1 200"));
}

#[tokio::test]
async fn a_busy_target_passes_requests_to_a_free_one() {
    let (first, second) = (Upstream::listen().await, Upstream::listen().await);
    let setup = Setup { limits: limits(1, 1), ..Setup::to([first.address(), second.address()]) };
    let gateway = Gateway::start(setup).await;
    let _one = send(&gateway, GET).await;
    let _busy = first.accept().await;
    let mut two = send(&gateway, GET).await;
    let mut service = second.accept().await;
    answers(&mut two, &mut service).await;
    // It is the first target's turn, which has no room.
    let mut three = send(&gateway, GET).await;
    answers(&mut three, &mut service).await;
    assert_eq!(gateway.metric("upstream_queue_length", ""), 0);
}

#[tokio::test]
async fn a_target_that_fails_leaves_no_place_taken() {
    let (upstream, gateway) = start(limits(1, 0)).await;
    for _ in 0..3 {
        // A request that is not repeated.
        let mut client = send(&gateway, POST).await;
        let mut service = upstream.accept().await;
        service.head().await;
        drop(service);
        client.until("connection_terminated").await;
    }
    wait_for_connections(&gateway, 0).await;
}

#[tokio::test]
async fn a_repeated_request_needs_no_second_place() {
    let (upstream, gateway) = start(limits(1, 0)).await;
    let mut client = send(&gateway, GET).await;
    let mut service = upstream.accept().await;
    answers(&mut client, &mut service).await;
    client.write(GET).await;
    service.head().await;
    drop(service);
    let mut service = upstream.accept().await;
    answers(&mut client, &mut service).await;
}

/// Two hundred clients at once, against an upstream that counts its connections.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_crowd_never_exceeds_the_limit_and_is_served() {
    let (upstream, gateway) = start(limits(7, 256)).await;
    let most = upstream.serve_all(EMPTY);
    let gateway = std::sync::Arc::new(gateway);
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..200 {
        let gateway = gateway.clone();
        clients.spawn(async move {
            let mut client = gateway.connect().await;
            for _ in 0..5 {
                client.write(GET).await;
                assert!(client.head().await.starts_with("http/1.1 200"));
            }
        });
    }
    while let Some(ended) = clients.join_next().await {
        ended.expect("every request is answered");
    }
    assert!((1..=7).contains(&most.load(std::sync::atomic::Ordering::SeqCst)), "{most:?}");
    assert_eq!(gateway.metric("upstream_queue_length", ""), 0);
}
