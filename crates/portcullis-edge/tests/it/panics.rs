//! A panic while a request is handled ends that request alone.

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use crate::test_edge::{PANIC, TestEdge};

async fn http2(edge: &TestEdge) -> SendRequest<Empty<Bytes>> {
    let stream = TcpStream::connect(edge.address).await.expect("the edge listens");
    let (client, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("HTTP/2");
    tokio::spawn(connection);
    client
}

fn get(path: &str) -> Request<Empty<Bytes>> {
    Request::get(format!("http://edge.test{path}")).body(Empty::new()).expect("a request")
}

#[tokio::test]
async fn a_panic_is_a_500_and_the_connection_goes_on() {
    let edge = TestEdge::start().await;
    let text = edge
        .exchange(
            "GET /panic HTTP/1.1\r\nHost: a\r\n\r\n\
             POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi",
        )
        .await;
    assert!(text.starts_with("HTTP/1.1 500 Internal Server Error\r\n"), "{text}");
    assert!(text.contains("the handler panicked") && text.ends_with("hi"), "{text}");
}

#[tokio::test]
async fn a_caught_panic_has_its_text() {
    let edge = TestEdge::start().await;
    edge.exchange("GET /panic?x=1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    let panics = edge.handler.panics.lock().expect("no panic while locked");
    assert_eq!(*panics, [PANIC]);
}

#[tokio::test]
async fn a_panic_leaves_the_other_requests_of_http_2_alone() {
    let edge = TestEdge::start().await;
    let mut client = http2(&edge).await;
    let waiting = tokio::spawn(client.send_request(get("/wait")));
    edge.handler.waiting.notified().await;

    let panicked = client.send_request(get("/panic")).await.expect("a response");
    assert_eq!(panicked.status(), StatusCode::INTERNAL_SERVER_ERROR);

    edge.handler.release.notify_one();
    let released = waiting.await.expect("no panic").expect("a response");
    assert_eq!(released.status(), StatusCode::OK);
    assert_eq!(released.into_body().collect().await.expect("a complete body").to_bytes(), "released");
}

#[tokio::test]
async fn a_panic_in_a_body_resets_that_http_2_request_alone() {
    let edge = TestEdge::start().await;
    let mut client = http2(&edge).await;
    let waiting = tokio::spawn(client.send_request(get("/wait")));
    edge.handler.waiting.notified().await;

    let cut = client.send_request(get("/panic-in-body")).await.expect("a response head");
    assert!(cut.into_body().collect().await.is_err(), "an incomplete response must not look complete");

    edge.handler.release.notify_one();
    assert_eq!(waiting.await.expect("no panic").expect("a response").status(), StatusCode::OK);
}

#[tokio::test]
async fn a_panic_in_a_body_ends_its_http_1_connection_alone() {
    let edge = TestEdge::start().await;
    let text = edge.exchange("GET /panic-in-body HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(text.contains("first part"), "{text}");
    assert!(!text.ends_with("0\r\n\r\n"), "an incomplete response must not look complete: {text}");
    let next = edge.exchange("GET /echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    assert!(next.starts_with("HTTP/1.1 200 OK\r\n"), "{next}");
}
