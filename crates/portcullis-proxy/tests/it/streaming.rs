//! Bodies are streamed both ways and never collected.

use portcullis_model::BodyLimit;

use crate::gateway::{Gateway, Setup};
use crate::peer::{Peer, Upstream};

const CHUNKED_POST: &str = "POST /api/v1/things HTTP/1.1\r\nHost: gate\r\nTransfer-Encoding: chunked\r\n\r\n";

async fn start(max_body: BodyLimit) -> (Upstream, Gateway, Peer) {
    let upstream = Upstream::listen().await;
    let gateway = Gateway::start(Setup { max_body, ..Setup::to([upstream.address()]) }).await;
    let client = gateway.connect().await;
    (upstream, gateway, client)
}

#[tokio::test]
async fn an_upload_reaches_the_upstream_while_it_is_sent() {
    let (upstream, _gateway, mut client) = start(BodyLimit::Unlimited).await;
    client.write("POST /api/v1/things HTTP/1.1\r\nHost: gate\r\nContent-Length: 8\r\n\r\nhalf").await;
    let mut service = upstream.accept().await;
    assert!(service.head().await.contains("content-length: 8\r\n"));
    service.until("half").await;
    client.write("rest").await;
    service.until("rest").await;
    service.write("HTTP/1.1 201 Created\r\ncontent-length: 0\r\n\r\n").await;
    assert!(client.head().await.starts_with("http/1.1 201"));
}

#[tokio::test]
async fn a_response_reaches_the_client_while_it_is_written() {
    let (upstream, _gateway, mut client) = start(BodyLimit::Unlimited).await;
    client.write("GET /api/v1/things HTTP/1.1\r\nHost: gate\r\n\r\n").await;
    let mut service = upstream.accept().await;
    service.head().await;
    service.write("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n").await;
    client.head().await;
    for event in ["one", "two"] {
        service.write(&format!("3\r\n{event}\r\n")).await;
        client.until(event).await;
    }
    service.write("0\r\n\r\n").await;
    client.until("0\r\n\r\n").await;
}

#[tokio::test]
async fn an_upload_goes_on_while_its_response_is_read() {
    let (upstream, _gateway, mut client) = start(BodyLimit::Unlimited).await;
    client.write(CHUNKED_POST).await;
    client.write("3\r\none\r\n").await;
    let mut service = upstream.accept().await;
    service.until("one").await;
    service.write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nearly\r\n").await;
    client.until("early").await;
    client.write("3\r\ntwo\r\n").await;
    service.until("two").await;
    service.write("5\r\nagain\r\n").await;
    client.until("again").await;
    client.write("0\r\n\r\n").await;
    service.until("0\r\n\r\n").await;
    service.write("0\r\n\r\n").await;
    client.until("0\r\n\r\n").await;
    // Both directions are complete, so the connection is used again.
    client.write("GET /api/v1/things HTTP/1.1\r\nHost: gate\r\n\r\n").await;
    service.head().await;
}

#[tokio::test]
async fn a_chunked_body_is_forwarded_for_every_method() {
    for method in ["GET", "DELETE"] {
        let (upstream, _gateway, mut client) = start(BodyLimit::Unlimited).await;
        client.write(&CHUNKED_POST.replace("POST", method)).await;
        client.write("5\r\nquery\r\n0\r\n\r\n").await;
        let mut service = upstream.accept().await;
        assert!(service.head().await.contains("transfer-encoding: chunked\r\n"), "{method}");
        service.until("query\r\n0\r\n\r\n").await;
    }
}

#[tokio::test]
async fn a_length_named_by_connection_still_frames_the_body() {
    let (upstream, _gateway, mut client) = start(BodyLimit::Unlimited).await;
    client
        .write(
            "GET /api/v1/things HTTP/1.1\r\nHost: gate\r\nConnection: content-length\r\nContent-Length: 4\r\n\r\nbody",
        )
        .await;
    let mut service = upstream.accept().await;
    assert!(service.head().await.contains("content-length: 4\r\n"));
    service.until("body").await;
}

#[tokio::test]
async fn sr_40_a_streamed_body_is_cut_at_the_routes_limit() {
    let (upstream, gateway, mut client) = start(BodyLimit::Bytes(6)).await;
    client.write(CHUNKED_POST).await;
    client.write("4\r\nfour\r\n").await;
    let mut service = upstream.accept().await;
    service.until("four").await;
    client.write("4\r\nmore\r\n").await;
    client.until("BodyTooLarge").await;
    let rest = service.rest().await;
    assert!(!rest.contains("more") && !rest.contains("0\r\n\r\n"), "{rest:?}");
    assert_eq!(gateway.outcomes("client"), 1, "it is the client's failure");
    assert_eq!(gateway.status(), "unknown");
}

#[tokio::test]
async fn an_upload_that_breaks_off_never_looks_complete() {
    let (upstream, _gateway, mut client) = start(BodyLimit::Unlimited).await;
    client.write(CHUNKED_POST).await;
    client.write("4\r\nfour\r\n").await;
    let mut service = upstream.accept().await;
    service.until("four\r\n").await;
    drop(client);
    assert_eq!(service.rest().await, "");
}

#[tokio::test]
async fn a_client_that_leaves_ends_the_upstream_request() {
    let (upstream, _gateway, mut client) = start(BodyLimit::Unlimited).await;
    client.write("GET /api/v1/things HTTP/1.1\r\nHost: gate\r\n\r\n").await;
    let mut service = upstream.accept().await;
    service.head().await;
    service.write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n").await;
    client.until("one").await;
    drop(client);
    assert_eq!(service.rest().await, "");
}
