//! No client can grow the number of metric series (docs/contract.md, "Metrics").

use http::{Method, Request};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;

use crate::test_gate::{TestConfig, TestGate};

const REQUESTS: u64 = 10_000;

/// Sends requests of many methods, paths, hosts and user agents on one connection.
async fn send_many(gate: &TestGate) {
    let stream = tokio::net::TcpStream::connect(gate.address).await.expect("the server listens");
    let (mut client, connection) =
        hyper::client::conn::http1::handshake::<_, Empty<bytes::Bytes>>(TokioIo::new(stream)).await.expect("HTTP/1.1");
    let connection = tokio::spawn(connection);
    for n in 0..REQUESTS {
        let method = match n % 4 {
            0 => Method::from_bytes(format!("M{n}").as_bytes()).expect("a token"),
            1 => Method::POST,
            _ => Method::GET,
        };
        let target = match n % 5 {
            0 => format!("/nowhere/{n}"),
            1 => format!("/api/v{}/x", n % 1000),
            2 => format!("/api/x{n}?v={n}"),
            _ => format!("/api/v1/things/{n}"),
        };
        let request = Request::builder().method(method).uri(target);
        let request = request.header("host", format!("odd-host-{n}")).header("user-agent", format!("odd-agent-{n}"));
        let response = client.send_request(request.body(Empty::new()).expect("a request")).await.expect("a response");
        response.into_body().collect().await.expect("a body");
    }
    connection.abort();
}

#[tokio::test]
async fn ten_thousand_odd_requests_add_no_series() {
    let gate = TestGate::start(TestConfig::default()).await;
    send_many(&gate).await;
    let page = gate.metrics_page();
    let series: Vec<&str> = page.lines().filter(|line| line.starts_with("http_requests_total{")).collect();
    for line in &series {
        let is_known =
            ["route=\"unmatched\"", "route=\"/api/v1/things/{*rest}\""].iter().any(|label| line.contains(label));
        let is_method = ["\"GET\"", "\"POST\"", "\"_OTHER\""].iter().any(|method| line.contains(method));
        assert!(is_known && is_method, "{line}");
    }
    // Two routes, three methods, two statuses at most.
    assert!(series.len() <= 12, "{series:#?}");
    for line in page.lines() {
        let odd = ["nowhere", "odd-", "method=\"M", "things/1", "/api/x"].iter().find(|text| line.contains(**text));
        assert!(odd.is_none(), "{line}");
    }
    let total: u64 = series.iter().filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum();
    assert_eq!(total, REQUESTS, "each request is counted once");
}

#[tokio::test]
async fn a_refused_request_is_counted_and_does_not_stay_in_progress() {
    let gate = TestGate::start(TestConfig::default()).await;
    gate.get("/a%2fb").send().await;
    gate.get("/nowhere").send().await;
    gate.post("/api/v1/things/1").second_host().send().await;
    for (method, count) in [("GET", 2), ("POST", 1)] {
        gate.assert_metric(&format!(
            "http_requests_total{{method=\"{method}\",route=\"unmatched\",status_code=\"400\"}} {count}"
        ));
    }
    let page = gate.metrics_page();
    let mut in_progress = page.lines().filter(|line| line.starts_with("http_requests_in_progress{")).peekable();
    assert!(in_progress.peek().is_some() && in_progress.all(|line| line.ends_with(" 0")), "{page}");
}
