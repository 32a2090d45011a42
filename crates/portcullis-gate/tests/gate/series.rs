//! No client can grow the number of metric series (contract §7).

use http::{Method, Request};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;

use crate::bed::{Bed, Setup};
use crate::client::raw;

#[tokio::test]
async fn ten_thousand_paths_and_methods_add_no_series() {
    let bed = Bed::start(Setup::default()).await;
    let stream = tokio::net::TcpStream::connect(bed.address).await.expect("the server listens");
    let (mut client, connection) =
        hyper::client::conn::http1::handshake::<_, Empty<bytes::Bytes>>(TokioIo::new(stream)).await.expect("HTTP/1.1");
    let connection = tokio::spawn(connection);
    for n in 0..10_000 {
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
        let request = Request::builder().method(method).uri(target).header("host", format!("h{n}"));
        let answer = client.send_request(request.body(Empty::new()).expect("a request")).await.expect("an answer");
        answer.into_body().collect().await.expect("a body");
    }
    connection.abort();
    let page = bed.metrics.render(false);
    let series: Vec<&str> = page.lines().filter(|line| line.starts_with("http_requests_total{")).collect();
    for line in &series {
        let known =
            ["route=\"unmatched\"", "route=\"/api/v1/things/{*rest}\""].iter().any(|label| line.contains(label));
        let method = ["\"GET\"", "\"POST\"", "\"_OTHER\""].iter().any(|method| line.contains(method));
        assert!(known && method, "{line}");
    }
    // Two routes, three methods, two statuses at the most.
    assert!(series.len() <= 12, "{series:#?}");
    let total: u64 = series.iter().filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum();
    assert_eq!(total, 10_000, "each was counted once");
}

#[tokio::test]
async fn refused_requests_are_counted_and_none_stays_in_progress() {
    let bed = Bed::start(Setup::default()).await;
    bed.get("/a%2fb").send().await;
    bed.get("/nowhere").send().await;
    raw(bed.address, b"POST /api/v1/things/1 HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx")
        .await;
    let page = bed.metrics.render(false);
    let refused = |method, count| {
        format!("http_requests_total{{method=\"{method}\",route=\"unmatched\",status_code=\"400\"}} {count}\n")
    };
    assert!(page.contains(&refused("GET", 2)) && page.contains(&refused("POST", 1)), "{page}");
    let open = page.lines().filter(|line| line.starts_with("http_requests_in_progress{"));
    assert!(open.clone().count() > 0 && open.clone().all(|line| line.ends_with(" 0")), "{page}");
}
