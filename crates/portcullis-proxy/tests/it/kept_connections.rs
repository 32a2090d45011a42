//! A connection that is kept never answers a later request with what belongs to an earlier one, and never fails a request
//! because it was kept for too long.

use std::time::Duration;

use crate::gateway::{Gateway, Setup};
use crate::peer::{Peer, Upstream};

const GET: &str = "GET /api/v1/things HTTP/1.1\r\nHost: gate\r\n\r\n";
const HEAD: &str = "HEAD /api/v1/things HTTP/1.1\r\nHost: gate\r\n\r\n";
const POST: &str = "POST /api/v1/things HTTP/1.1\r\nHost: gate\r\nContent-Length: 4\r\n\r\nbody";
const EMPTY: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
const WRONG: &str = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nwrong";
const RIGHT: &str = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nright";

async fn start(adjust: impl FnOnce(Setup) -> Setup) -> (Upstream, Gateway, Peer) {
    let upstream = Upstream::listen().await;
    let gateway = Gateway::start(adjust(Setup::to([upstream.address()]))).await;
    let client = gateway.connect().await;
    (upstream, gateway, client)
}

/// Sends a request and has it answered. Returns the upstream's end of the connection.
async fn exchange(upstream: &Upstream, client: &mut Peer, request: &str, response: &str) -> Peer {
    client.write(request).await;
    let mut service = upstream.accept().await;
    service.head().await;
    service.write(response).await;
    client.head().await;
    service
}

/// Sends a request, which a new connection must answer.
async fn is_answered_rightly(upstream: &Upstream, client: &mut Peer) {
    client.write(GET).await;
    let mut service = upstream.accept().await;
    service.head().await;
    service.write(RIGHT).await;
    let response = client.until("right").await;
    assert!(!response.contains("wrong"), "{response}");
}

#[tokio::test]
async fn bytes_sent_late_are_no_response_to_the_next_request() {
    for (request, response) in [
        (HEAD, "HTTP/1.1 200 OK\r\ncontent-length: 55\r\n\r\n"),
        (HEAD, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"),
        (GET, "HTTP/1.1 204 No Content\r\n\r\n"),
        (GET, "HTTP/1.1 304 Not Modified\r\ncontent-length: 55\r\n\r\n"),
        (GET, EMPTY),
        (POST, EMPTY),
        (GET, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
    ] {
        let (upstream, _gateway, mut client) = start(|setup| setup).await;
        let mut service = exchange(&upstream, &mut client, request, response).await;
        if response.contains("chunked") && request == GET {
            client.until("0\r\n\r\n").await;
        }
        if request == POST {
            service.until("body").await;
        }
        service.write(WRONG).await;
        is_answered_rightly(&upstream, &mut client).await;
    }
}

#[tokio::test]
async fn bytes_sent_with_a_response_are_no_response_to_the_next() {
    for response in [EMPTY, "HTTP/1.1 204 No Content\r\n\r\n", "HTTP/1.1 304 Not Modified\r\n\r\n"] {
        let (upstream, _gateway, mut client) = start(|setup| setup).await;
        exchange(&upstream, &mut client, GET, &format!("{response}{WRONG}")).await;
        is_answered_rightly(&upstream, &mut client).await;
    }
}

#[tokio::test]
async fn a_body_that_comes_after_the_next_request_answers_nothing() {
    for (request, response) in [
        (HEAD, "HTTP/1.1 200 OK\r\ncontent-length: 55\r\n\r\n"),
        (GET, "HTTP/1.1 204 No Content\r\n\r\n"),
        (GET, "HTTP/1.1 204 No Content\r\ncontent-length: 55\r\n\r\n"),
        (GET, "HTTP/1.1 304 Not Modified\r\ncontent-length: 55\r\n\r\n"),
    ] {
        let (upstream, _gateway, mut client) = start(|setup| setup).await;
        let mut service = exchange(&upstream, &mut client, request, response).await;
        client.write(GET).await;
        let mut next = upstream.accept().await;
        next.head().await;
        service.write_while_read(WRONG.as_bytes()).await;
        next.write(RIGHT).await;
        let told = client.until("right").await;
        assert!(!told.contains("wrong"), "{response:?}: {told}");
    }
}

#[tokio::test]
async fn an_upload_that_still_runs_ends_its_connection() {
    let (upstream, _gateway, mut client) = start(|setup| setup).await;
    let request = "POST /api/v1/things HTTP/1.1\r\nHost: gate\r\nContent-Length: 8\r\n\r\nhalf";
    let mut service = exchange(&upstream, &mut client, request, EMPTY).await;
    assert_eq!(service.rest().await, "half");
}

#[tokio::test]
async fn an_idle_connection_is_closed_after_its_time() {
    for response in [EMPTY, "HTTP/1.1 204 No Content\r\n\r\n"] {
        let (upstream, _gateway, mut client) =
            start(|setup| Setup { keepalive: Duration::from_millis(50), ..setup }).await;
        let mut service = exchange(&upstream, &mut client, GET, response).await;
        assert_eq!(service.rest().await, "", "no request is needed to notice");
    }
}

#[tokio::test]
async fn an_upstream_announces_when_a_connection_is_over() {
    for announced in ["timeout=0", "timeout=5, max=1", "max=0"] {
        let (upstream, _gateway, mut client) = start(|setup| setup).await;
        let response = format!("HTTP/1.1 200 OK\r\nkeep-alive: {announced}\r\ncontent-length: 0\r\n\r\n");
        let mut service = exchange(&upstream, &mut client, GET, &response).await;
        assert_eq!(service.rest().await, "", "{announced}");
    }
    let (upstream, _gateway, mut client) = start(|setup| Setup { keepalive: Duration::from_secs(60), ..setup }).await;
    let response = "HTTP/1.1 200 OK\r\nKeep-Alive: timeout=1\r\ncontent-length: 0\r\n\r\n";
    let mut service = exchange(&upstream, &mut client, GET, response).await;
    assert_eq!(service.rest().await, "", "it is closed before the second is over");
}

#[tokio::test]
async fn an_old_connection_is_not_kept() {
    let (upstream, _gateway, mut client) = start(|setup| Setup { max_age: Some(Duration::ZERO), ..setup }).await;
    let mut service = exchange(&upstream, &mut client, GET, EMPTY).await;
    assert_eq!(service.rest().await, "");
}

#[tokio::test]
async fn no_connection_is_kept_if_the_setting_says_so() {
    let (upstream, _gateway, mut client) = start(|setup| Setup { keepalive: Duration::ZERO, ..setup }).await;
    let mut service = exchange(&upstream, &mut client, GET, EMPTY).await;
    assert_eq!(service.rest().await, "");
}

#[tokio::test]
async fn an_upstream_that_closes_each_time_fails_no_request() {
    let (upstream, gateway, mut client) = start(|setup| setup).await;
    for _ in 0..40 {
        client.write(POST).await;
        let mut service = upstream.accept().await;
        service.until("body").await;
        service.write(EMPTY).await;
        assert!(client.head().await.starts_with("http/1.1 200"));
        // Without `Connection: close`, so the gateway has kept its end.
        drop(service);
    }
    assert_eq!((gateway.outcomes("answered"), gateway.outcomes("broken")), (40, 0));
}
