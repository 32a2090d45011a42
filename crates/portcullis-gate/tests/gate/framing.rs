//! Requests whose length can be read in two ways (requirement 39), as they come on a connection.

use crate::bed::{Bed, Setup};
use crate::client::{Answer, raw};

#[tokio::test]
async fn sr_39_ambiguous_framing_is_refused_and_the_connection_closed() {
    let bed = Bed::start(Setup::default()).await;
    // Were the connection kept, the second request would be answered too.
    let second = "GET /api/v1/things/smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    for headers in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        "Content-Length: 0\r\nContent-Length: 0\r\n\r\n",
        "Content-Length: 0\r\nContent-Length: 1\r\n\r\n",
        "Content-Length: 0, 0\r\n\r\n",
        "Content-Length: +0\r\n\r\n",
        "Content-Length: -1\r\n\r\n",
        "Content-Length: 99999999999999999999999\r\n\r\n",
        "Content-Length : 0\r\n\r\n",
        "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: identity\r\n\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: xchunked\r\n\r\n",
        "X-Folded: a\r\n b\r\n\r\n",
        "X-Bare: a\nContent-Length: 0\r\n\r\n",
        "X-Bare: a\n\n",
    ] {
        let request = format!("POST /api/v1/things/1 HTTP/1.1\r\nHost: a\r\n{headers}{second}");
        let bytes = raw(bed.address, request.as_bytes()).await;
        let text = String::from_utf8_lossy(&bytes);
        assert!(text.starts_with("HTTP/1.1 400 "), "{headers:?}: {text}");
        assert_eq!(text.matches("HTTP/1.1 ").count(), 1, "{headers:?}: {text}");
        assert!(text.to_ascii_lowercase().contains("connection: close\r\n"), "{headers:?}: {text}");
    }
}

#[tokio::test]
async fn requests_before_an_ambiguous_one_on_a_connection_are_answered() {
    let bed = Bed::start(Setup::default()).await;
    let good = "POST /api/v1/things/1 HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi\
                POST /api/v1/things/2 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nho\r\n0\r\n\r\n";
    let bad = "GET /api/v1/things/3 HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n";
    let bytes = raw(bed.address, format!("{good}{bad}").as_bytes()).await;
    let text = String::from_utf8(bytes).expect("UTF-8");
    assert_eq!(text.matches("HTTP/1.1 200 OK").count(), 2, "{text}");
    assert!(text.contains("body: hi") && text.contains("body: ho"), "{text}");
    assert_eq!(text.matches("refusal: Malformed(Framing)").count(), 1, "{text}");
}

#[tokio::test]
async fn what_looks_like_a_bad_head_inside_a_body_is_only_a_body() {
    let bed = Bed::start(Setup::default()).await;
    let inside = "GET / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n";
    let request = format!(
        "POST /api/v1/things/1 HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{inside}\
         GET /api/v1/things/2 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        inside.len()
    );
    let text = String::from_utf8(raw(bed.address, request.as_bytes()).await).expect("UTF-8");
    assert_eq!(text.matches("HTTP/1.1 200 OK").count(), 2, "{text}");
}

#[tokio::test]
async fn a_body_longer_than_the_route_allows_is_stopped_where_the_limit_is() {
    let small = crate::bed::route("/api/v1/small", |policy| {
        policy.max_body = portcullis_model::policy::BodyLimit::Bytes(10);
    });
    let bed = Bed::start(Setup { routes: vec![small], ..Setup::default() }).await;
    assert_eq!(bed.post("/api/small").body("text/plain", "ten bytes!").send().await.line("body"), "ten bytes!");
    assert_eq!(bed.post("/api/small").body("text/plain", "eleven byte").refusal().await, "PayloadTooLarge");
    let chunked = "POST /api/small HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n\
                   6\r\nsix by\r\n6\r\ntes an\r\n0\r\n\r\n";
    let answer = Answer::read(raw(bed.address, chunked.as_bytes()).await);
    assert_eq!(answer.line("body"), "TooLarge", "without a length it is noticed while it comes");
}
