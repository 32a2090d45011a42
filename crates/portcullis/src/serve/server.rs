//! Accepting connections and speaking HTTP/1.1 on them.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use http::{Response, StatusCode};
use http_body_util::BodyExt;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use portcullis_gate::{HeadGuard, MAX_HEAD_BYTES};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connections::Connections;
use super::front::Front;
use super::lingering::Lingering;
use super::patience::Patience;
use super::proxy_protocol;
use super::speaker::{Answering, Speaker, Turn};

/// How long to wait before accepting again when the process is out of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What the server needs besides its listener.
pub(super) struct Server {
    pub(super) front: Arc<Front>,
    pub(super) connections: Arc<Connections>,
    pub(super) header_timeout: Duration,
    pub(super) idle_timeout: Duration,
    pub(super) send_timeout: Duration,
    /// Whether every connection begins with a PROXY header.
    pub(super) proxy_protocol: bool,
}

impl Server {
    /// Serves until `stopping` is cancelled, then lets open requests finish for at most `drain`.
    pub(super) async fn run(self, listener: TcpListener, stopping: CancellationToken, drain: Duration) {
        let tasks = TaskTracker::new();
        let mut builder = http1::Builder::new();
        // No timer of hyper's: it would set one for each request. `Patience` needs one for each connection.
        // The most header fields are its 100: setting that number, even to itself, would cost an allocation a request.
        builder.max_buf_size(MAX_HEAD_BYTES);
        let server = Arc::new((self, builder));
        loop {
            let (room, accepted) = tokio::select! {
                accepted = async { (server.0.connections.room().await, listener.accept().await) } => accepted,
                () = stopping.cancelled() => break,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let counted = server.0.connections.count(server.0.countable(peer.ip()), room);
                    let Some(counted) = counted else { continue };
                    let (server, stopping) = (Arc::clone(&server), stopping.clone());
                    tasks.spawn(async move {
                        server.0.connection(&server.1, stream, peer, &stopping).await;
                        drop(counted);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(listener);
        tasks.close();
        if tokio::time::timeout(drain, tasks.wait()).await.is_err() {
            tracing::warn!(open = tasks.len(), "connections were cut because they did not end in time");
        }
    }

    /// Whose share a connection takes; a trusted proxy connects for many.
    fn countable(&self, peer: IpAddr) -> Option<IpAddr> {
        (!self.front.gate.trusts(peer)).then_some(peer)
    }

    async fn connection(
        &self,
        builder: &http1::Builder,
        mut stream: TcpStream,
        peer: SocketAddr,
        stopping: &CancellationToken,
    ) {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY could not be set");
        }
        let peer = if self.proxy_protocol {
            match self.introduced(&mut stream, peer).await {
                Ok(client) => client,
                Err(error) => {
                    tracing::debug!(%error, %peer, "a connection without a good PROXY header was closed");
                    return;
                }
            }
        } else {
            peer
        };
        let turn = Arc::new(Turn::default());
        let front = Arc::clone(&self.front);
        let instead = Box::new(move |status| whole(front.answer_to_nothing(status)));
        let (stream, heads) = HeadGuard::new(Speaker::new(Lingering::new(stream), Arc::clone(&turn), instead));
        let service = service_fn(|mut request| {
            heads.mark(&mut request);
            turn.begin();
            async { Ok::<_, Infallible>(Answering::new(self.front.handle(peer, request).await, &turn)) }
        });
        let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service).with_upgrades());
        let mut patience = Patience::new(self.header_timeout, self.idle_timeout, self.send_timeout);
        let mut told = false;
        let result = loop {
            tokio::select! {
                result = connection.as_mut() => break result,
                () = stopping.cancelled(), if !told => {
                    told = true;
                    connection.as_mut().graceful_shutdown();
                }
                () = patience.next() => if patience.is_over(&turn, &heads) {
                    tracing::debug!(%peer, "a connection was closed because its client neither sent nor read");
                    return;
                }
            }
        };
        if let Err(error) = result {
            tracing::debug!(%error, %peer, "a connection ended badly");
        }
    }

    /// Who connected to the proxy that connected to us.
    async fn introduced(&self, stream: &mut TcpStream, peer: SocketAddr) -> io::Result<SocketAddr> {
        let header = tokio::time::timeout(self.header_timeout, proxy_protocol::read(stream)).await;
        let client = header.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        // This machine may speak for itself, as `portcullis healthcheck` does, and for nobody else.
        if self.front.gate.trusts(peer.ip()) || (client.is_none() && peer.ip().is_loopback()) {
            return Ok(client.unwrap_or(peer));
        }
        Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "server.proxy_protocol takes connections of server.trusted_proxies only",
        ))
    }
}

/// An answer as the bytes that go over the wire; its body is whole already.
fn whole(response: Response<super::front::FrontBody>) -> Bytes {
    let (parts, body) = response.into_parts();
    let body = match futures_util::FutureExt::now_or_never(body.collect()) {
        Some(Ok(body)) => body.to_bytes(),
        Some(Err(_)) | None => Bytes::new(),
    };
    let mut bytes = BytesMut::with_capacity(1024 + body.len());
    let status = parts.status;
    let reason = StatusCode::canonical_reason(&status).unwrap_or_default();
    bytes.put_slice(format!("HTTP/1.1 {} {reason}\r\n", status.as_str()).as_bytes());
    for (name, value) in &parts.headers {
        bytes.put_slice(name.as_str().as_bytes());
        bytes.put_slice(b": ");
        bytes.put_slice(value.as_bytes());
        bytes.put_slice(b"\r\n");
    }
    bytes.put_slice(format!("content-length: {}\r\n\r\n", body.len()).as_bytes());
    bytes.put_slice(&body);
    bytes.freeze()
}
