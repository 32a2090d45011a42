//! Heads whose framing can be read in two ways, as they arrive on a connection (SR-39).

use crate::test_edge::TestEdge;

#[tokio::test]
async fn sr_39_an_ambiguous_head_is_marked_and_closes() {
    let edge = TestEdge::start().await;
    // If the connection were kept, the second request would get a response too.
    let second = "GET /echo HTTP/1.1\r\nHost: a\r\n\r\n";
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
        let text = edge.exchange(&format!("POST /echo HTTP/1.1\r\nHost: a\r\n{headers}{second}")).await;
        assert!(text.starts_with("HTTP/1.1 400 "), "{headers:?}: {text}");
        assert_eq!(text.matches("HTTP/1.1 ").count(), 1, "{headers:?}: {text}");
        assert!(text.to_ascii_lowercase().contains("connection: close\r\n"), "{headers:?}: {text}");
    }
}

#[tokio::test]
async fn sr_39_no_request_follows_a_body_with_two_readings() {
    let edge = TestEdge::start().await;
    // A parser that has lost its place would take it for a request, or miss that it is ambiguous.
    let ambiguous = "GET /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n";
    // A head within a body: whoever takes it for a request skips what follows.
    let hidden = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n";
    for chunks in [
        "0\r\nTrailer: x\n\r\n".to_owned(),
        "0\r\nTrailer: x\n\n".to_owned(),
        "0\r\nTrailer: x\nOther: y\r\n\r\n".to_owned(),
        "0\r\n\n".to_owned(),
        format!("0\r\nTrailer: x\n\n{hidden}"),
        format!("{}{:x}\r\n\r\n\r\n{hidden}\r\n0\r\n\r\n", "0".repeat(70), hidden.len() + 4),
        "5\nhello\r\n0\r\n\r\n".to_owned(),
        "5\r\nhello\n0\r\n\r\n".to_owned(),
        format!("{}5\r\nhello\r\n0\r\n\r\n", "0".repeat(200)),
        format!("5;{}\r\nhello\r\n0\r\n\r\n", "x".repeat(200)),
        format!("5;{}\r\nhello\r\n0\r\n\r\n", "x".repeat(10_000)),
    ] {
        let head = "POST /count HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        let text = edge.exchange(&format!("{head}{chunks}{ambiguous}{ambiguous}")).await;
        let responses = text.matches("HTTP/1.1 ").count();
        assert!(responses == 1 && text.starts_with("HTTP/1.1 400 "), "{chunks:?}: {text}");
        assert!(text.to_ascii_lowercase().contains("connection: close\r\n"), "{chunks:?}: {text}");
    }
}

#[tokio::test]
async fn sr_39_a_valid_body_leaves_the_next_head_alone() {
    let edge = TestEdge::start().await;
    let next = "GET /echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    for chunks in ["0\r\nTrailer: x\r\n\r\n", "5;name=value\r\nhello\r\n0\r\n\r\n", "05 ;x\r\nhello\r\n0\r\n\r\n"] {
        let head = "POST /count HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        let text = edge.exchange(&format!("{head}{chunks}{next}")).await;
        assert_eq!(text.matches("HTTP/1.1 200 OK").count(), 2, "{chunks:?}: {text}");
    }
}

#[tokio::test]
async fn requests_before_an_ambiguous_head_are_handled() {
    let edge = TestEdge::start().await;
    let valid = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi\
                 POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nho\r\n0\r\n\r\n";
    let ambiguous = "GET /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n";
    let text = edge.exchange(&format!("{valid}{ambiguous}")).await;
    assert_eq!(text.matches("HTTP/1.1 200 OK").count(), 2, "{text}");
    assert!(text.contains("\r\n\r\nhi") && text.contains("\r\n\r\nho"), "{text}");
    assert_eq!(text.matches("HTTP/1.1 400 ").count(), 1, "{text}");
    assert!(text.ends_with("Ambiguous"), "{text}");
}

#[tokio::test]
async fn an_ambiguous_head_inside_a_body_is_part_of_the_body() {
    let edge = TestEdge::start().await;
    let inside = "GET / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n";
    let text = edge
        .exchange(&format!(
            "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{inside}\
             GET /echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
            inside.len()
        ))
        .await;
    assert_eq!(text.matches("HTTP/1.1 200 OK").count(), 2, "{text}");
    assert!(text.contains(inside), "{text}");
}

#[tokio::test]
async fn bytes_that_are_no_request_get_the_handlers_response() {
    let edge = TestEdge::start().await;
    let text = edge.exchange("no request\r\n\r\n").await;
    assert!(text.starts_with("HTTP/1.1 400 Bad Request\r\n") && text.ends_with("parse error"), "{text}");
}

#[tokio::test]
async fn sr_40_a_head_over_64_kb_is_marked_too_large() {
    let edge = TestEdge::start().await;
    let padding = "x".repeat(65_536 - "GET /echo HTTP/1.1\r\nHost: a\r\nX: \r\n\r\n".len() + 1);
    let text = edge.exchange(&format!("GET /echo HTTP/1.1\r\nHost: a\r\nX: {padding}\r\n\r\n")).await;
    assert!(text.ends_with("TooLarge"), "{text}");
}
