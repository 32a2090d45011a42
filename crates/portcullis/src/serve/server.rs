//! Accepting connections, and finding out who connects and what is spoken.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1 as hyper_http1;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connections::Connections;
use super::front::Front;
use super::patience::{Patience, Times, Waiting};
use super::preface::{self, Spoken};
use super::{http1, http2, proxy_protocol};

/// How long to wait before accepting again when the process is out of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How long a client that connected just before the process stops may take to begin its request.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// What the server needs besides its listener.
pub(super) struct Server {
    pub(super) front: Arc<Front>,
    pub(super) connections: Arc<Connections>,
    pub(super) times: Times,
    /// Whether HTTP/2 is spoken with those who begin with its preface.
    pub(super) http2: bool,
    /// Whether every connection begins with a PROXY header.
    pub(super) proxy_protocol: bool,
}

impl Server {
    /// Serves until `stopping` is cancelled, then lets open requests finish for at most `drain`.
    pub(super) async fn run(self, listener: TcpListener, stopping: CancellationToken, drain: Duration) {
        let tasks = TaskTracker::new();
        let server = Arc::new((self, http1::builder()));
        loop {
            let (room, accepted) = tokio::select! {
                accepted = async { (server.0.connections.room().await, listener.accept().await) } => accepted,
                () = stopping.cancelled() => break,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let counted = server.0.connections.count(server.0.countable(peer.ip()), room);
                    let Some(counted) = counted else { continue };
                    // Of its own: each look at it takes a lock, several times a request.
                    let (server, stopping) = (Arc::clone(&server), stopping.child_token());
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
        builder: &hyper_http1::Builder,
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
        let mut patience = Patience::new(self.times);
        let Some(spoken) = first_words(&stream, &mut patience, stopping).await else { return };
        let result = match spoken {
            Spoken::Http1 => http1::speak(&self.front, builder, stream, peer, &mut patience, stopping).await,
            Spoken::Http2 if self.http2 => {
                // In a box of its own: every connection has room for it, and few need it.
                Box::pin(http2::speak(&self.front, stream, peer, &mut patience, stopping)).await
            }
            Spoken::Http2 => return preface::refuse(stream).await,
        };
        if let Err(error) = result {
            tracing::debug!(%error, %peer, "a connection ended badly");
        }
    }

    /// Who connected to the proxy that connected to us.
    async fn introduced(&self, stream: &mut TcpStream, peer: SocketAddr) -> io::Result<SocketAddr> {
        let header = tokio::time::timeout(self.times.header, proxy_protocol::read(stream)).await;
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

/// What a client speaks; `None` when it said nothing for too long.
async fn first_words(stream: &TcpStream, patience: &mut Patience, stopping: &CancellationToken) -> Option<Spoken> {
    let mut spoken = pin!(preface::spoken(stream));
    let mut last_moment = pin!(async {
        stopping.cancelled().await;
        tokio::time::sleep(LAST_WORDS).await;
    });
    loop {
        tokio::select! {
            spoken = spoken.as_mut() => return Some(spoken),
            () = last_moment.as_mut() => return None,
            () = patience.next() => if patience.is_over(Some(Waiting::Head(0))) {
                return None;
            }
        }
    }
}
