//! How much an upstream gets at once.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use portcullis_testkit::TestApp;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::upstream;
use crate::client::{app, client, get};

/// A gateway with a route `/api/v1/x/…` to an upstream with these limits.
fn gateway(upstream: SocketAddr, limits: &str) -> TestApp {
    app()
        .settings(&format!(
            "[upstreams.x]\ntargets = [\"http://{upstream}\"]\n{limits}\n[[routes]]\npath = \"/api/v1/x/{{*rest}}\"\n\
             upstream = \"x\"\nauth = \"none\"\n"
        ))
        .start()
}

async fn metric(app: &TestApp, series: &str) -> u64 {
    let page = get(app, "/metrics").await.body.as_str().unwrap_or_default().to_owned();
    let value = page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')).expect("the series");
    value.parse().expect("a number")
}

#[tokio::test]
async fn a_full_upstream_is_503_with_retry_after() {
    let (address, _) = upstream().await;
    let app = gateway(address, "max_connections = 1\nqueue = { length = 0 }");
    let never = client().get(app.url("/api/v1/x/never")).send();
    let held = tokio::spawn(never);
    while metric(&app, "upstream_connections{upstream=\"x\"}").await == 0 {
        tokio::task::yield_now().await;
    }
    let response = get(&app, "/api/v1/x/y").await;
    assert_eq!((response.status, response.error()), (503, "Service unavailable"));
    assert_eq!(response.body["code"], "upstream.busy");
    assert_eq!(response.header("retry-after"), "1");
    assert_eq!(response.header("proxy-status"), "portcullis; error=connection_limit_reached");
    assert_eq!(metric(&app, "upstream_refused_total{upstream=\"x\",reason=\"queue_full\"}").await, 1);
    let services = get(&app, "/api/health/services").await;
    assert_eq!(services.body["data"]["services"][0]["status"], "unknown", "{services:?}");
    held.abort();
}

/// Answers nothing before `count` connections are open, then every request. Returns its address and the most connections
/// that were open at once.
async fn upstream_of_a_crowd(count: usize) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    let most = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&most);
    let (opened, total) = tokio::sync::watch::channel(0_usize);
    tokio::spawn(async move {
        let open = Arc::new(AtomicUsize::new(0));
        while let Ok((stream, _)) = listener.accept().await {
            most.fetch_max(open.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            opened.send_modify(|total| *total += 1);
            let (open, mut total) = (Arc::clone(&open), total.clone());
            tokio::spawn(async move {
                total.wait_for(|total| *total >= count).await.expect("the listener goes on");
                answer_all(stream).await;
                open.fetch_sub(1, Ordering::SeqCst);
            });
        }
    });
    (address, counted)
}

async fn answer_all(mut stream: TcpStream) {
    let mut unread = Vec::new();
    while stream.read_buf(&mut unread).await.is_ok_and(|read| read > 0) {
        if unread.ends_with(b"\r\n\r\n") {
            unread.clear();
            if stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.is_err() {
                return;
            }
        }
    }
}

#[tokio::test]
async fn many_http_2_requests_open_few_connections() {
    let (address, most) = upstream_of_a_crowd(8).await;
    let app = gateway(address, "max_connections = 8\nqueue = { length = 1000, wait = \"60s\" }");
    let mut requests = JoinSet::new();
    for _ in 0..5 {
        let builder = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(60));
        let client = builder.http2_prior_knowledge().build().expect("a client");
        for number in 0..100 {
            requests.spawn(client.get(app.url(&format!("/api/v1/x/{number}"))).send());
        }
    }
    while let Some(response) = requests.join_next().await {
        assert_eq!(response.expect("no panic").expect("a response").status(), 200);
    }
    assert_eq!(most.load(Ordering::SeqCst), 8);
}
