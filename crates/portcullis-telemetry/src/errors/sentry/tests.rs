//! Reports to a server of the test's own, over real sockets.

use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::{Dsn, HandledRequest, SentryOptions};
use crate::errors::{Errors, catch_panic};
use crate::traces::SpanId;
use crate::{Metrics, MetricsOptions, RequestScope};

const ACCEPTED: &str = "HTTP/1.1 200 OK\r\ncontent-length: 14\r\n\r\n{\"id\":\"abcdef\"}";

/// Errors that are reported to a server that the test plays.
struct Reporting {
    errors: Errors,
    metrics: Metrics,
    server: TcpListener,
    stopping: CancellationToken,
    delivery: tokio::task::JoinHandle<()>,
}

/// A request that the server received, and its connection.
struct Received {
    head: String,
    body: String,
    connection: TcpStream,
}

impl Reporting {
    async fn start() -> Self {
        Self::start_with(0.0).await
    }

    /// The same, with a share of the requests as transactions.
    async fn start_with(traces_sample_rate: f64) -> Self {
        let server = TcpListener::bind("127.0.0.1:0").await.expect("loopback has free ports");
        let address = server.local_addr().expect("a bound listener has an address");
        let dsn: Dsn = format!("http://key@{address}/7").parse().expect("a DSN");
        let options =
            SentryOptions { dsn, environment: "test".to_owned(), release: "1.2.3".to_owned(), traces_sample_rate };
        let metrics = Metrics::new(&MetricsOptions::default(), "test");
        let errors = Errors::with_sentry(metrics.clone(), || Duration::from_secs(1_000), options);
        let stopping = CancellationToken::new();
        let (delivering, stop) = (errors.clone(), stopping.clone());
        let delivery = tokio::spawn(async move { delivering.deliver_to_sentry(stop).await });
        Self { errors, metrics, server, stopping, delivery }
    }

    /// Receives the next request.
    async fn receive(&self) -> Received {
        let (mut connection, _) = self.server.accept().await.expect("the gateway connects");
        let mut bytes = Vec::new();
        loop {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
                let length: usize = length.expect("a length").parse().expect("a number");
                if body.len() == length {
                    return Received { head: head.to_owned(), body: body.to_owned(), connection };
                }
            }
            assert!(connection.read_buf(&mut bytes).await.expect("the gateway sends") > 0, "{text}");
        }
    }

    async fn stop(self) {
        self.stopping.cancel();
        self.delivery.await.expect("the delivery does not panic");
    }

    fn dropped(&self) -> String {
        let page = self.metrics.render(false);
        let sample = page.lines().find_map(|line| line.strip_prefix("error_reports_dropped_total "));
        sample.expect("the counter is always there").to_owned()
    }
}

impl Received {
    async fn answer(mut self, answer: &str) {
        self.connection.write_all(answer.as_bytes()).await.expect("the gateway reads");
    }

    /// The event of the envelope.
    fn event(&self) -> Value {
        let mut lines = self.body.lines().skip(1);
        let item: Value = serde_json::from_str(lines.next().expect("an item")).expect("JSON");
        assert_eq!(item["type"], "event");
        serde_json::from_str(lines.next().expect("an event")).expect("JSON")
    }
}

fn in_request(work: impl FnOnce()) {
    let trace = b"0af7651916cd43dd8448eb211c80319c";
    RequestScope::new(b"00000000000000000000000000000001", trace, None).run(work);
}

#[tokio::test]
async fn a_failed_request_is_an_event_of_its_route() {
    let reporting = Reporting::start().await;
    in_request(|| reporting.errors.failed_request("the disk is full", "/api/v1/users/{id}"));
    let received = reporting.receive().await;
    assert!(received.head.starts_with("POST /api/7/envelope/ HTTP/1.1"), "{}", received.head);
    assert!(received.head.contains("sentry_key=key"), "{}", received.head);
    let event = received.event();
    let exception = &event["exception"]["values"][0];
    assert_eq!((&exception["type"], &exception["value"]), (&"Failed request".into(), &"the disk is full".into()));
    assert_eq!(event["transaction"], "/api/v1/users/{id}");
    assert_eq!((&event["release"], &event["environment"]), (&"1.2.3".into(), &"test".into()));
    assert_eq!(event["tags"]["request_id"], "00000000000000000000000000000001");
    assert_eq!(event["contexts"]["trace"]["trace_id"], "0af7651916cd43dd8448eb211c80319c");
    assert!(event.get("request").is_none() && event.get("user").is_none() && event.get("server_name").is_none());
    received.answer(ACCEPTED).await;
    reporting.stop().await;
}

fn a_function_that_panics() {
    panic!("no user \"hunter2\" with ada@example.com");
}

#[tokio::test]
async fn sr_47_a_panic_is_an_event_with_its_stack_and_no_secret() {
    let reporting = Reporting::start().await;
    reporting.errors.report_panics();
    let panic = catch_panic(a_function_that_panics).expect_err("it panics");
    reporting.errors.panicked(&panic, Some("/a"));
    let received = reporting.receive().await;
    assert!(!received.body.contains("hunter2") && !received.body.contains("ada@"), "{}", received.body);
    let event = received.event();
    let frames = event["exception"]["values"][0]["stacktrace"]["frames"].as_array().expect("frames").clone();
    let innermost = frames.last().expect("a frame");
    let function = innermost["function"].as_str().expect("a name");
    assert!(function.ends_with("a_function_that_panics"), "{innermost}");
    assert!(innermost["in_app"] == true && innermost["instruction_addr"].is_string(), "{innermost}");
    received.answer(ACCEPTED).await;
    reporting.stop().await;
}

#[tokio::test]
async fn a_hot_error_is_sent_ten_times_and_then_counted() {
    let reporting = Reporting::start().await;
    for n in 0..1_000 {
        reporting.errors.failed_job(&format!("attempt {n} failed"), "prune_mails");
    }
    reporting.errors.failed_job("another cause", "prune_mails");
    for n in 0..10 {
        let received = reporting.receive().await;
        assert_eq!(received.event()["exception"]["values"][0]["value"], format!("attempt {n} failed"));
        received.answer(ACCEPTED).await;
    }
    let received = reporting.receive().await;
    assert_eq!(received.event()["exception"]["values"][0]["value"], "another cause");
    received.answer(ACCEPTED).await;
    assert_eq!(reporting.dropped(), "0");
    let counted: u64 = reporting.errors.fetch().iter().map(|group| group.times).sum();
    assert_eq!(counted, 1_001, "the database counts all");
    reporting.stop().await;
}

#[tokio::test]
async fn sr_69_a_refused_report_is_counted_and_the_next_is_sent() {
    let reporting = Reporting::start().await;
    let page = "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 13\r\n\r\n<html></html>";
    let refusals = ["HTTP/1.1 413 Payload Too Large\r\ncontent-length: 0\r\n\r\n", page];
    for (n, refusal) in refusals.into_iter().enumerate() {
        reporting.errors.failed_request("broken", "/a");
        let received = reporting.receive().await;
        // The next report comes only after the fate of this one is known.
        received.answer(refusal).await;
        reporting.errors.failed_request("broken", "/b");
        reporting.receive().await.answer(ACCEPTED).await;
        assert_eq!(reporting.dropped(), (n + 1).to_string());
    }
    reporting.stop().await;
}

#[tokio::test]
async fn sr_69_a_report_that_was_cut_off_is_sent_again() {
    let reporting = Reporting::start().await;
    reporting.errors.failed_request("broken", "/a");
    let first = reporting.receive().await;
    let id = first.event()["event_id"].clone();
    drop(first);
    let again = reporting.receive().await;
    assert_eq!(again.event()["event_id"], id, "Sentry recognises a repetition by its id");
    again.answer(ACCEPTED).await;
    assert_eq!(reporting.dropped(), "0");
    reporting.stop().await;
}

#[tokio::test]
async fn sr_69_a_server_that_never_answers_holds_nobody_up() {
    let reporting = Reporting::start().await;
    reporting.errors.failed_request("broken", "/a");
    let held = reporting.receive().await;
    // The queue takes a hundred; recording goes on.
    for n in 0..150 {
        let route = format!("/{n}");
        reporting.errors.failed_request("broken", &route);
    }
    assert_eq!(reporting.dropped(), "50");
    assert_eq!(reporting.errors.fetch().len(), 151);
    drop(held);
    let Reporting { server, stopping, delivery, .. } = reporting;
    drop(server);
    stopping.cancel();
    delivery.await.expect("the stop does not wait for the server");
}

#[tokio::test]
async fn sr_69_a_server_that_asks_for_a_pause_gets_it() {
    let reporting = Reporting::start().await;
    reporting.errors.failed_request("broken", "/a");
    let limited = "HTTP/1.1 429 Too Many Requests\r\nretry-after: 3600\r\ncontent-length: 0\r\n\r\n";
    reporting.receive().await.answer(limited).await;
    reporting.errors.failed_request("broken", "/b");
    let metrics = reporting.metrics.clone();
    let dropped = async {
        while !metrics.render(false).contains("error_reports_dropped_total 1\n") {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        () = dropped => {}
        received = reporting.receive() => panic!("it was not left alone: {}", received.head),
    }
    // The stop does not wait, nor send what waits.
    reporting.stop().await;
}

#[tokio::test]
async fn a_request_of_the_share_is_a_transaction() {
    let reporting = Reporting::start_with(0.5).await;
    let (low, high) = ("00000000000000000000000000000001", "0000000000000000ffffffffffffffff");
    assert!(reporting.errors.reports_requests());
    assert!(reporting.errors.samples_request(low) && !reporting.errors.samples_request(high));
    in_request(|| {
        let request = HandledRequest {
            scope: &RequestScope::current(),
            span_id: SpanId::from_digits(b"00f067aa0ba902b7").expect("a span id"),
            method: "GET",
            route: "/api/v1/users/{id}",
            status: 404,
            took: Duration::from_millis(250),
        };
        reporting.errors.handled_request(&request);
    });
    let received = reporting.receive().await;
    let lines: Vec<Value> =
        received.body.lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect();
    let [_, item, sent] = &lines[..] else { panic!("{lines:?}") };
    assert_eq!((&item["type"], &sent["transaction"]), (&"transaction".into(), &"/api/v1/users/{id}".into()));
    assert_eq!((&sent["start_timestamp"], &sent["timestamp"]), (&999.75.into(), &"1970-01-01T00:16:40Z".into()));
    let trace = &sent["contexts"]["trace"];
    assert_eq!(trace["trace_id"], "0af7651916cd43dd8448eb211c80319c");
    assert_eq!((&trace["span_id"], &trace["status"]), (&"00f067aa0ba902b7".into(), &"not_found".into()));
    assert_eq!((&sent["tags"]["request_id"], &sent["release"]), (&low.into(), &"1.2.3".into()));
    received.answer(ACCEPTED).await;
    reporting.stop().await;
}

#[tokio::test]
async fn sr_69_transactions_hold_up_neither_requests_nor_errors() {
    let reporting = Reporting::start_with(1.0).await;
    let request = HandledRequest {
        scope: &RequestScope::OUTSIDE,
        span_id: SpanId::from_digits(b"00f067aa0ba902b7").expect("a span id"),
        method: "GET",
        route: "/a",
        status: 200,
        took: Duration::ZERO,
    };
    reporting.errors.handled_request(&request);
    let held = reporting.receive().await;
    for _ in 0..150 {
        reporting.errors.handled_request(&request);
    }
    reporting.errors.failed_request("broken", "/a");
    let page = reporting.metrics.render(false);
    assert!(page.contains("sentry_transactions_dropped_total 50\n"), "a hundred wait: {page}");
    held.answer(ACCEPTED).await;
    // Errors come before the transactions that have waited longer.
    let next = reporting.receive().await;
    assert_eq!(next.event()["exception"]["values"][0]["value"], "broken");
    assert_eq!(reporting.dropped(), "0");
    next.answer(ACCEPTED).await;
    reporting.stop().await;
}

#[test]
fn the_recorder_without_sentry_reports_nothing() {
    let metrics = Metrics::new(&MetricsOptions::default(), "test");
    let errors = Errors::new(metrics, || Duration::ZERO);
    assert!(!errors.has_sentry());
}
