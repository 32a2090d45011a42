//! Accepts connections and serves each in a task of its own.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::server::conn::http1::Builder as Http1Builder;
use portcullis_gate::Peer;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::connection_limit::{ConnectionLimit, ConnectionPermit, TooManyConnections};
use crate::connection_timers::{ConnectionTimeouts, ConnectionTimers};
use crate::handler::Handler;
use crate::http1::Served;
use crate::lingering_close::LingeringStream;
use crate::protocol_detection::{self, Protocol};
use crate::{http1, http2, keep_alive, proxy_protocol};

/// Pause before accepting again when the process is out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Shortest time between two log lines about connections that cannot be accepted.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// How long a client that connected just before the shutdown may take to begin its request.
const SHUTDOWN_FIRST_BYTE_TIMEOUT: Duration = Duration::from_secs(1);

/// Serves the clients of one listener.
pub struct Server<H> {
    /// Responds to the requests.
    pub handler: Arc<H>,
    /// Bounds the connections.
    pub connection_limit: Arc<ConnectionLimit>,
    /// Bounds how long a client may take.
    pub timeouts: ConnectionTimeouts,
    /// Whether a client that begins with the HTTP/2 preface is served; otherwise it is told to use HTTP/1.1.
    pub http2: bool,
    /// Whether every connection must begin with a PROXY header.
    pub proxy_protocol: bool,
}

impl<H: Handler> Server<H> {
    /// Serves until `stopping` is cancelled. Then it closes the listener and lets open requests finish within `drain`. Those
    /// that do not are cut off before it returns, so that the process still shows them in its log and its traces.
    pub async fn run(self, listener: TcpListener, stopping: CancellationToken, drain: Duration) {
        keep_alive::enable(&listener);
        let tasks = TaskTracker::new();
        let server = Arc::new((self, http1::builder()));
        let mut connections = JoinSet::new();
        let mut logged = None;
        loop {
            let (slot, accepted) = tokio::select! {
                accepted = async {
                    (server.0.connection_limit.wait_for_slot().await, listener.accept().await)
                } => accepted,
                // Frees the memory of connections that have ended.
                Some(_) = connections.join_next() => continue,
                () = stopping.cancelled() => break,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let mut permit = server.0.connection_limit.count(slot, tasks.token());
                    if server.0.count_address(&mut permit, peer.ip()).is_err() {
                        continue;
                    }
                    // A token of its own, because each look at a token takes its lock, several times a request.
                    let (server, stopping) = (Arc::clone(&server), stopping.child_token());
                    connections.spawn(async move {
                        server.0.serve_connection(&server.1, stream, peer, permit, &stopping).await;
                    });
                }
                // The client has gone before it was accepted.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    accept_failed(&error, &mut logged);
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(listener);
        tasks.close();
        if tokio::time::timeout(drain, tasks.wait()).await.is_err() {
            tracing::warn!(
                open = tasks.len(),
                "connections were closed because their requests did not finish within server.drain_timeout"
            );
            server.0.handler.drain_ends();
            connections.shutdown().await;
        }
    }

    /// Counts a connection against the limit of its address. A trusted proxy connects for many clients and has no limit.
    fn count_address(&self, permit: &mut ConnectionPermit, address: IpAddr) -> Result<(), TooManyConnections> {
        if self.handler.trusts(address) { Ok(()) } else { permit.count_address(address) }
    }

    async fn serve_connection(
        &self,
        builder: &Http1Builder,
        mut stream: TcpStream,
        peer: SocketAddr,
        mut permit: ConnectionPermit,
        stopping: &CancellationToken,
    ) {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY could not be set");
        }
        let mut timers = ConnectionTimers::new(self.timeouts);
        let client = if self.proxy_protocol {
            let header = self.read_proxy_header(&mut stream, peer);
            let Some(header) = before_the_first_request(header, &mut timers, stopping).await else { return };
            match header {
                Ok(client) if self.count_address(&mut permit, client.address.ip()).is_ok() => client,
                Ok(_) => return,
                Err(error) => {
                    tracing::debug!(%error, %peer, "a connection without a valid PROXY header was closed");
                    return;
                }
            }
        } else {
            Peer::from(peer)
        };
        let protocol = before_the_first_request(protocol_detection::detect(&stream), &mut timers, stopping).await;
        let Some(protocol) = protocol else { return };
        let stream = LingeringStream::new(stream, permit);
        let result = match protocol {
            Protocol::Http1 => self.serve_http1(builder, stream, client, &mut timers, stopping).await,
            Protocol::Http2 if self.http2 => {
                // Boxed, so that the many connections of HTTP/1.1 do not hold memory for HTTP/2.
                Box::pin(http2::serve(&self.handler, stream, client, &mut timers, stopping)).await
            }
            Protocol::Http2 => return protocol_detection::refuse_http2(stream).await,
        };
        if let Err(error) = result {
            tracing::debug!(%error, client = %client.address, "a connection ended with an error");
        }
    }

    async fn serve_http1(
        &self,
        builder: &Http1Builder,
        mut stream: LingeringStream,
        client: Peer,
        timers: &mut ConnectionTimers,
        stopping: &CancellationToken,
    ) -> hyper::Result<()> {
        let service = http1::Service { handler: &self.handler, builder, client, stopping };
        let mut is_new = true;
        loop {
            // Boxed, so that a connection that waits for its next request holds no memory for serving one.
            match Box::pin(http1::serve(&service, stream, is_new, timers)).await {
                Served::Closed(result) => return result,
                Served::Idle(idle) => stream = idle,
            }
            let has_request = tokio::select! {
                has_bytes = stream.has_bytes() => has_bytes,
                () = timers.expired_unchanged() => false,
                () = stopping.cancelled() => false,
            };
            if !has_request {
                return Ok(());
            }
            timers.restart();
            is_new = false;
        }
    }

    /// Reads the PROXY header and returns the client that it names, or `peer` if the proxy connects for itself.
    async fn read_proxy_header(&self, stream: &mut TcpStream, peer: SocketAddr) -> io::Result<Peer> {
        let denied = || {
            let why = "server.proxy_protocol accepts connections from server.trusted_proxies only";
            io::Error::new(io::ErrorKind::PermissionDenied, why)
        };
        let is_trusted = self.handler.trusts(peer.ip());
        // A process of this machine, such as `portcullis healthcheck`, may connect for itself and for nobody else.
        if !is_trusted && !peer.ip().is_loopback() {
            return Err(denied());
        }
        let header = proxy_protocol::read(stream).await?;
        if !is_trusted && header.client.is_some() {
            return Err(denied());
        }
        Ok(Peer { address: header.client.unwrap_or(peer), https: header.https && is_trusted })
    }
}

/// Logs that a connection could not be accepted, at most once in [`LOG_INTERVAL`].
fn accept_failed(error: &io::Error, logged: &mut Option<Instant>) {
    if logged.is_none_or(|at| at.elapsed() >= LOG_INTERVAL) {
        *logged = Some(Instant::now());
        tracing::warn!(
            %error,
            "connections cannot be accepted; hint: if files are the reason, raise the limit of open files (ulimit -n, LimitNOFILE=)"
        );
    }
}

/// Waits for what a client sends before its first request; `None` if it sends nothing in time.
async fn before_the_first_request<T>(
    received: impl Future<Output = T>,
    timers: &mut ConnectionTimers,
    stopping: &CancellationToken,
) -> Option<T> {
    let shutdown = async {
        stopping.cancelled().await;
        tokio::time::sleep(SHUTDOWN_FIRST_BYTE_TIMEOUT).await;
    };
    tokio::select! {
        received = received => Some(received),
        () = shutdown => None,
        () = timers.expired_unchanged() => None,
    }
}
