//! The exporter against collectors of every kind, over real sockets.

use std::io::Read as _;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::traces::{
    Batching, CollectorTls, Compression, OtlpProtocol, Sampler, SpanId, SpanKind, TraceId, dropped_spans,
    exported_spans,
};

pub(super) const OK: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n";
const TOO_LARGE: &str = "HTTP/1.1 413 Payload Too Large\r\ncontent-length: 0\r\n\r\n";
const BUSY: &str = "HTTP/1.1 503 Busy\r\nretry-after: 0\r\ncontent-length: 0\r\n\r\n";
const PAGE: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 6\r\n\r\n<html>";
/// Long enough for any machine; nothing waits for it unless the test fails.
pub(super) const LONG: Duration = Duration::from_secs(60);

/// The spans of a full batch, which waits for no more.
const FULL: usize = 4;

pub(super) fn record(name: &'static str) -> Box<SpanRecord> {
    Box::new(SpanRecord {
        begun: std::time::Instant::now(),
        trace_id: TraceId::own(*b"0af7651916cd43dd8448eb211c80319c"),
        span_id: SpanId::new(7),
        parent: None,
        has_remote_parent: false,
        name: name.into(),
        kind: SpanKind::Internal,
        start: 1,
        end: 2,
        attributes: Vec::new(),
        links: Vec::new(),
        has_failed: false,
    })
}

/// The options of a collector. Only the end of the process ends the waiting for spans and for answers.
pub(super) fn options(address: SocketAddr) -> TraceOptions {
    TraceOptions {
        endpoint: format!("http://{address}/v1/traces").parse().expect("a URI"),
        protocol: OtlpProtocol::Http,
        compression: Compression::None,
        headers: vec![("x-team".parse().expect("a name"), "gate".parse().expect("a value"))],
        timeout: LONG,
        tls: CollectorTls::default(),
        batching: Batching { delay: LONG, timeout: LONG, queue: 8, batch: FULL },
        resource: vec![("service.name".to_owned(), "gate".to_owned())],
        sampler: Sampler { parent_based: true, ratio: 1.0 },
    }
}

/// An exporter for this collector, and the queue of its spans.
fn exporter(address: SocketAddr) -> (mpsc::Sender<Box<SpanRecord>>, TraceExporter) {
    let (sender, queue) = mpsc::channel(8);
    (sender, TraceExporter::run(queue, &options(address), "1"))
}

/// The bytes of as many requests as the collector got.
fn received(requests: &mut mpsc::UnboundedReceiver<Vec<u8>>) -> Vec<Vec<u8>> {
    std::iter::from_fn(|| requests.try_recv().ok()).collect()
}

/// A collector that gives these answers in turn, the last one for ever. Returns its address, and each request as it comes.
async fn collector(answers: &'static [&'static str]) -> (SocketAddr, mpsc::UnboundedReceiver<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    let (sender, requests) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut number = 0;
        while let Ok((mut stream, _)) = listener.accept().await {
            while let Some(request) = read_request(&mut stream).await {
                let answer = answers[number.min(answers.len() - 1)];
                number += 1;
                let _ = sender.send(request);
                if stream.write_all(answer.as_bytes()).await.is_err() {
                    break;
                }
            }
        }
    });
    (address, requests)
}

/// Reads a request with its body. `None` when the connection ends.
async fn read_request(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut request = Vec::new();
    let head = loop {
        if stream.read_buf(&mut request).await.ok()? == 0 {
            return None;
        }
        if let Some(end) = request.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            break end + 4;
        }
    };
    let text = String::from_utf8_lossy(&request[..head]).to_ascii_lowercase();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length: ")).expect("a length");
    let length: usize = length.trim().parse().expect("a number");
    while request.len() < head + length {
        if stream.read_buf(&mut request).await.ok()? == 0 {
            return None;
        }
    }
    Some(request)
}

pub(super) fn contains(request: &[u8], text: &str) -> bool {
    request.windows(text.len()).any(|bytes| bytes == text.as_bytes())
}

#[tokio::test]
async fn spans_that_wait_are_sent_at_the_end() {
    let (address, mut requests) = collector(&[OK]).await;
    let (queue, exporter) = exporter(address);
    for name in ["first", "second"] {
        queue.send(record(name)).await.expect("the exporter runs");
    }
    exporter.shut_down(LONG).await;
    let request = requests.recv().await.expect("a request");
    assert!(request.starts_with(b"POST /v1/traces HTTP/1.1\r\n"), "{}", String::from_utf8_lossy(&request));
    for part in ["x-team: gate\r\n", "content-type: application/x-protobuf\r\n", "service.name", "first", "second"] {
        assert!(contains(&request, part), "{part} in {}", String::from_utf8_lossy(&request));
    }
    assert_eq!((exported_spans(), dropped_spans()), (2, 0));
}

#[tokio::test]
async fn compressed_spans_are_what_a_collector_decompresses() {
    let (address, mut requests) = collector(&[OK]).await;
    let mut options = options(address);
    let mut received = Vec::new();
    for compression in [Compression::None, Compression::Gzip] {
        options.compression = compression;
        let (queue, spans) = mpsc::channel(8);
        let exporter = TraceExporter::run(spans, &options, "1");
        for name in ["first", "second"] {
            queue.send(record(name)).await.expect("the exporter runs");
        }
        exporter.shut_down(LONG).await;
        received.push(requests.recv().await.expect("a request"));
    }
    let [plain, compressed] = received.try_into().expect("two requests");
    assert!(!contains(&plain, "content-encoding") && contains(&compressed, "\r\ncontent-encoding: gzip\r\n"));
    let body = |request: &[u8]| {
        let head = request.windows(4).position(|bytes| bytes == b"\r\n\r\n").expect("a head");
        request[head + 4..].to_vec()
    };
    let mut decompressed = Vec::new();
    flate2::read::GzDecoder::new(&body(&compressed)[..]).read_to_end(&mut decompressed).expect("gzip");
    assert_eq!(decompressed.len(), body(&plain).len());
    assert!(contains(&decompressed, "first") && contains(&decompressed, "second"));
    assert!(!contains(&compressed, "first"));
}

#[tokio::test]
async fn a_full_batch_does_not_wait_for_more_spans() {
    let (address, mut requests) = collector(&[OK]).await;
    let (queue, exporter) = exporter(address);
    for _ in 0..6 {
        queue.send(record("span")).await.expect("the exporter runs");
    }
    let first = requests.recv().await.expect("a request before the end");
    assert_eq!(first.windows(4).filter(|bytes| *bytes == b"span").count(), FULL);
    exporter.shut_down(LONG).await;
    let rest = received(&mut requests);
    assert_eq!((rest.len(), rest[0].windows(4).filter(|bytes| *bytes == b"span").count()), (1, 2));
}

#[tokio::test]
async fn a_batch_that_is_too_large_is_sent_in_parts() {
    let (address, mut requests) = collector(&[TOO_LARGE, OK]).await;
    let (queue, exporter) = exporter(address);
    for name in ["first", "second"] {
        queue.send(record(name)).await.expect("the exporter runs");
    }
    exporter.shut_down(LONG).await;
    for parts in [&["first", "second"][..], &["first"], &["second"]] {
        let request = requests.recv().await.expect("a request");
        for name in ["first", "second"] {
            assert_eq!(contains(&request, name), parts.contains(&name), "{name} of {parts:?}");
        }
    }
    assert_eq!((exported_spans(), dropped_spans()), (2, 0));
}

#[tokio::test]
async fn a_batch_is_sent_again_when_the_collector_asks_for_it() {
    let (address, mut requests) = collector(&[BUSY, OK]).await;
    let (queue, exporter) = exporter(address);
    for _ in 0..FULL {
        queue.send(record("first")).await.expect("the exporter runs");
    }
    for _ in 0..2 {
        assert!(contains(&requests.recv().await.expect("a request"), "first"));
    }
    exporter.shut_down(LONG).await;
    assert_eq!((exported_spans(), dropped_spans()), (FULL as u64, 0));
}

#[tokio::test]
async fn a_web_page_is_no_answer_of_a_collector() {
    let (address, _requests) = collector(&[PAGE]).await;
    let (queue, exporter) = exporter(address);
    queue.send(record("first")).await.expect("the exporter runs");
    exporter.shut_down(LONG).await;
    assert_eq!((exported_spans(), dropped_spans()), (0, 1));
}

#[tokio::test]
async fn sr_69_a_collector_that_never_answers_does_not_hold_up_the_end() {
    for spans in [1, FULL] {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let before = dropped_spans();
        let (queue, exporter) = exporter(listener.local_addr().expect("an address"));
        for _ in 0..spans {
            queue.send(record("first")).await.expect("the exporter runs");
        }
        let mut on_its_way = None;
        if spans == FULL {
            // A full batch is sent before the process stops.
            let (stream, _) = listener.accept().await.expect("a connection");
            stream.readable().await.expect("a request");
            on_its_way = Some(stream);
        }
        exporter.shut_down(Duration::from_millis(10)).await;
        assert_eq!((exported_spans(), dropped_spans() - before), (0, spans as u64));
        drop(on_its_way);
    }
}

#[tokio::test]
async fn a_batch_is_given_up_after_its_time() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let mut options = options(listener.local_addr().expect("an address"));
    options.batching = Batching { delay: Duration::ZERO, timeout: Duration::from_millis(1), ..options.batching };
    let (queue, spans) = mpsc::channel(1);
    let exporter = TraceExporter::run(spans, &options, "1");
    queue.send(record("first")).await.expect("the exporter runs");
    while dropped_spans() == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!((exported_spans(), dropped_spans()), (0, 1));
    exporter.shut_down(LONG).await;
}

#[tokio::test]
async fn sr_69_a_collector_that_is_gone_does_not_hold_up_the_end() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    drop(listener);
    let (queue, exporter) = exporter(address);
    queue.send(record("first")).await.expect("the exporter runs");
    exporter.shut_down(LONG).await;
    assert_eq!((exported_spans(), dropped_spans()), (0, 1));
}
