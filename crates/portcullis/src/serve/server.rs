//! Accepting connections and speaking HTTP/1.1 on them.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use portcullis_gate::HeadGuard;
use portcullis_telemetry::Metrics;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::front::Front;
use super::lingering::Lingering;

/// The most bytes of a request's head. The most header fields are hyper's 100:
/// setting that number, even to itself, would cost an allocation a request.
const MAX_HEAD_BYTES: usize = 64 * 1024;
/// How long to wait before accepting again when the process is out of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What the server needs besides its listener.
pub(super) struct Server {
    pub(super) front: Arc<Front>,
    pub(super) metrics: Metrics,
    pub(super) header_timeout: Duration,
}

impl Server {
    /// Serves until `stopping` is cancelled, then lets open requests finish for at most `drain`.
    pub(super) async fn run(self, listener: TcpListener, stopping: CancellationToken, drain: Duration) {
        let connections = TaskTracker::new();
        let mut builder = http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(self.header_timeout).max_buf_size(MAX_HEAD_BYTES);
        let server = Arc::new((self, builder));
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = stopping.cancelled() => break,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let (server, stopping) = (Arc::clone(&server), stopping.clone());
                    connections.spawn(async move { server.0.connection(&server.1, stream, peer, &stopping).await });
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(listener);
        connections.close();
        if tokio::time::timeout(drain, connections.wait()).await.is_err() {
            tracing::warn!(open = connections.len(), "connections were cut because they did not end in time");
        }
    }

    async fn connection(
        &self,
        builder: &http1::Builder,
        stream: TcpStream,
        peer: SocketAddr,
        stopping: &CancellationToken,
    ) {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY could not be set");
        }
        let (stream, heads) = HeadGuard::new(Lingering::new(stream));
        let service = service_fn(|mut request| {
            heads.mark(&mut request);
            async move { Ok::<_, Infallible>(self.front.handle(peer, request).await) }
        });
        let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service).with_upgrades());
        let result = tokio::select! {
            result = connection.as_mut() => result,
            () = stopping.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = result
            && error.is_parse()
        {
            // hyper has answered it; the request never reached the gate.
            tracing::debug!(%error, %peer, "a malformed request was refused");
            self.metrics.route("unmatched").begin(&malformed()).finish(400);
        }
    }
}

/// A method no client can send: it is counted as `_OTHER`.
fn malformed() -> Method {
    Method::from_bytes(b"MALFORMED").expect("a token")
}
