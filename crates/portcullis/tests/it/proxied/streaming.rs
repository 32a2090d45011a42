//! Bodies of a gibibyte stream through the gateway; it never holds one.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use hyper::body::Bytes;

use super::{CHUNK, GIB, gateway};
use crate::client::{client, register, send};

/// How much the gateway's memory may grow while a gibibyte streams through it.
const MAX_GROWTH: u64 = 16 * 1024 * 1024;

fn chunks() -> impl Iterator<Item = Bytes> {
    std::iter::repeat_n(Bytes::from(vec![9u8; CHUNK]), usize::try_from(GIB).expect("64-bit") / CHUNK)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gibibyte_is_downloaded_in_less_than_16_mib() {
    let (app, _) = gateway().await;
    let account = register(&app).await;
    let before = app.resident_bytes();
    let request = client().get(app.url("/api/v1/projects/download")).timeout(Duration::from_secs(300));
    let response = request.bearer_auth(&account.access).send().await.expect("a response");
    let mut stream = response.bytes_stream();
    let (mut total, mut peak) = (0u64, before);
    while let Some(chunk) = stream.next().await {
        let length = chunk.expect("the stream is whole").len() as u64;
        // Memory is read every 64 MiB.
        if total >> 26 != (total + length) >> 26 {
            peak = peak.max(app.resident_bytes());
        }
        total += length;
    }
    assert_eq!(total, GIB);
    assert!(peak - before < MAX_GROWTH, "memory grew by {} bytes", peak - before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gibibyte_is_uploaded_in_less_than_16_mib() {
    let (app, received) = gateway().await;
    let account = register(&app).await;
    let before = app.resident_bytes();
    // How much had been sent when the first byte arrived at the upstream.
    let sent_before_first = Arc::new(AtomicU64::new(0));
    let counted = {
        let (received, sent_before_first) = (Arc::clone(&received), Arc::clone(&sent_before_first));
        let mut sent = 0u64;
        futures_util::stream::iter(chunks()).map(move |chunk| {
            sent += CHUNK as u64;
            if received.load(Ordering::Relaxed) > 0 && sent_before_first.load(Ordering::Relaxed) == 0 {
                sent_before_first.store(sent, Ordering::Relaxed);
            }
            Ok::<_, Infallible>(chunk)
        })
    };
    let request = client().post(app.url("/api/v1/projects/upload")).timeout(Duration::from_secs(300));
    let request = request.bearer_auth(&account.access).body(reqwest::Body::wrap_stream(counted));
    let upload = tokio::spawn(send(request));
    let mut peak = before;
    while !upload.is_finished() {
        peak = peak.max(app.resident_bytes());
        tokio::task::yield_now().await;
    }
    let response = upload.await.expect("the upload does not panic");
    assert_eq!((response.status, response.body.as_u64()), (200, Some(GIB)), "{}", response.body);
    let first = sent_before_first.load(Ordering::Relaxed);
    assert!(first > 0 && first < GIB / 2, "the first byte arrived after {first} bytes were sent");
    assert!(peak - before < MAX_GROWTH, "memory grew by {} bytes", peak - before);
}
