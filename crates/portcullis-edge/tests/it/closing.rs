//! How connections end: with a word about it, and not before the client has its response.

use std::ops::Range;
use std::time::Duration;

use portcullis_edge::ConnectionTimeouts;
use portcullis_testkit::Stopwatch;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::test_edge::TestEdge;

/// How long an event may take that must happen.
const DEADLINE: Duration = Duration::from_secs(60);

async fn read_to_end(stream: &mut TcpStream) -> String {
    let mut received = Vec::new();
    // A connection that is reset after the response has still delivered the response.
    let ended = tokio::time::timeout(DEADLINE, stream.read_to_end(&mut received)).await;
    assert!(ended.is_ok(), "the connection stayed open after {:?}", String::from_utf8_lossy(&received));
    String::from_utf8(received).expect("text")
}

async fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut received = Vec::new();
    while !received.ends_with(end.as_bytes()) {
        let read = tokio::time::timeout(DEADLINE, stream.read_buf(&mut received)).await.expect("bytes").expect("bytes");
        assert!(read > 0, "the connection ended after {:?}", String::from_utf8_lossy(&received));
    }
    String::from_utf8(received).expect("text")
}

fn says_close(response: &str) -> bool {
    response.to_ascii_lowercase().contains("connection: close\r\n")
}

#[tokio::test]
async fn a_response_before_the_end_of_the_body_says_close() {
    let edge = TestEdge::start().await;
    for rest in [
        "Content-Length: 100\r\n\r\n",
        "Content-Length: 100\r\n\r\npart",
        "Transfer-Encoding: chunked\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n5\r\nhello\r\n0\r\n\r\n",
        "Content-Length: 100\r\nExpect: 100-continue\r\n\r\n",
    ] {
        let response = edge.exchange(&format!("POST /refuse HTTP/1.1\r\nHost: a\r\n{rest}")).await;
        assert!(response.starts_with("HTTP/1.1 403 ") && says_close(&response), "{rest:?}: {response}");
    }
}

#[tokio::test]
async fn a_response_after_a_whole_body_keeps_the_connection() {
    let edge = TestEdge::start().await;
    let mut stream = edge.connect().await;
    for request in [
        "POST /refuse HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
        "POST /refuse HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
        "GET /refuse HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST /read-and-refuse HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        "POST /read-and-refuse HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
    ] {
        stream.write_all(request.as_bytes()).await.expect("the connection is kept");
        let response = read_until(&mut stream, "refused").await;
        assert!(!says_close(&response), "{request:?}: {response}");
    }
}

#[tokio::test]
async fn a_client_that_half_closes_gets_its_responses() {
    let edge = TestEdge::start().await;
    for (request, responses) in [
        ("GET /wait HTTP/1.1\r\nHost: a\r\n\r\n", 1),
        ("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhiGET /wait HTTP/1.1\r\nHost: a\r\n\r\n", 2),
        ("GET /wait HTTP/1.1\r\nHost: a\r\n\r\nPOST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi", 2),
    ] {
        let mut stream = edge.connect().await;
        stream.write_all(request.as_bytes()).await.expect("the edge reads");
        stream.shutdown().await.expect("the edge reads");
        edge.handler.waiting.notified().await;
        edge.handler.release.notify_one();
        let text = read_to_end(&mut stream).await;
        assert_eq!(text.matches("HTTP/1.1 200 OK").count(), responses, "{request:?}: {text}");
        assert!(text.contains("released"), "{text}");
    }
}

#[tokio::test]
async fn a_client_that_resets_ends_its_request() {
    let edge = TestEdge::start().await;
    let mut stream = edge.connect().await;
    stream.set_zero_linger().expect("the option can be set");
    stream.write_all(b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("the edge reads");
    edge.handler.waiting.notified().await;
    drop(stream);
    tokio::time::timeout(DEADLINE, edge.handler.dropped.notified()).await.expect("the request goes on");
}

/// A client that has closed its sending side may have gone. That shows when something is sent to it, so a response that
/// pauses for `send` ends.
#[tokio::test]
async fn sr_40_a_silent_response_to_a_half_closed_client_ends() {
    let edge = TestEdge::start_with(|server| server.timeouts.send = Duration::from_secs(1)).await;
    let mut stream = edge.connect().await;
    let stopwatch = Stopwatch::start();
    stream.write_all(b"GET /endless HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("the edge reads");
    read_until(&mut stream, "first part\r\n").await;
    stream.shutdown().await.expect("the edge reads");
    read_to_end(&mut stream).await;
    assert!(stopwatch.elapsed() >= Duration::from_secs(1), "{stopwatch:?}");
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let edge = TestEdge::start().await;
    let one = |text: &str| format!("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n{text}");
    let many: String = (100..200).map(|number| one(&number.to_string())).collect();
    let last = "POST /echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 3\r\n\r\nend";
    let text = edge.exchange(&format!("{many}{last}")).await;
    let bodies: Vec<&str> = text.split("\r\n\r\n").skip(1).map(|rest| &rest[..3]).collect();
    let expected: Vec<String> = (100..200).map(|number| number.to_string()).chain(["end".to_owned()]).collect();
    assert_eq!(bodies, expected);
}

async fn timed_edge() -> TestEdge {
    let timeouts = ConnectionTimeouts {
        header: Duration::from_secs(3),
        idle: Duration::from_secs(5),
        send: Duration::from_secs(60),
    };
    TestEdge::start_with(|server| server.timeouts = timeouts).await
}

/// Where the time of a connection begins that waits for its client.
#[derive(PartialEq, Eq)]
enum Since {
    Opened,
    /// The client's last bytes.
    Sent,
}

/// Asserts that the connection of this request is closed after so many seconds. Returns what it received after `end`.
async fn closed_after(edge: &TestEdge, request: &str, end: &str, since: Since, seconds: Range<f64>) -> String {
    let opened = Stopwatch::start();
    let mut stream = edge.connect().await;
    // Not at the beginning of the connection, so that a timer that looks at intervals would be late.
    tokio::time::sleep(Duration::from_millis(700)).await;
    // The edge begins to wait after this moment, so no busy machine makes a limit look too short.
    let sent = Stopwatch::start();
    stream.write_all(request.as_bytes()).await.expect("the edge reads");
    if !end.is_empty() {
        read_until(&mut stream, end).await;
    }
    let text = read_to_end(&mut stream).await;
    if since == Since::Opened { opened } else { sent }.assert_within(seconds);
    text
}

#[tokio::test]
async fn sr_40_timeouts_are_kept_within_a_fifth() {
    let edge = timed_edge().await;
    let ping = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi";
    let half = "GET /echo HTTP/1.1\r\nHost: a";
    let second_half = format!("{ping}{half}");
    let (told, told_too, told_nothing) = tokio::join!(
        // The first head is timed from the connection on.
        closed_after(&edge, half, "", Since::Opened, 3.0..3.6),
        closed_after(&edge, &second_half, "hi", Since::Sent, 3.0..3.6),
        closed_after(&edge, ping, "hi", Since::Sent, 5.0..6.0),
    );
    for response in [told, told_too] {
        assert!(response.starts_with("HTTP/1.1 408 Request Timeout\r\n") && says_close(&response), "{response}");
    }
    assert_eq!(told_nothing, "", "a client that has sent nothing waits for nothing");
}
