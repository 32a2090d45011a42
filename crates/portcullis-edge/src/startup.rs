//! Responds on the listener while the gateway starts. That takes an instant, unless the database is migrated: then an
//! orchestrator must see that the process is alive and not ready, so that it does not kill it in the middle.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::TaskTracker;

/// Connections of the first second wait in the backlog; a quick start serves them itself.
const STARTUP_GRACE: Duration = Duration::from_secs(1);
/// How long a client may take to send its request.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long responses may still take after the start.
const DRAIN: Duration = Duration::from_secs(1);
/// Pause before accepting again when the process is out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Responds to requests until the gateway has started.
pub struct StartupServer<F> {
    respond: F,
}

impl<F, B> StartupServer<F>
where
    F: Fn(&Request<Incoming>) -> Response<B> + Send + Sync + 'static,
    B: Body<Data = Bytes, Error = Infallible> + Send + 'static,
{
    /// Makes a server that takes every response from `respond`.
    pub fn new(respond: F) -> Self {
        Self { respond }
    }

    /// Runs `start` and returns its output. If it takes more than a second, responds on `listener` meanwhile.
    pub async fn run_during<T>(self, listener: &TcpListener, start: impl Future<Output = T>) -> T {
        let connections = TaskTracker::new();
        let server = Arc::new(self);
        let accepting = async {
            tokio::time::sleep(STARTUP_GRACE).await;
            tracing::info!("responding to health checks while the database is prepared");
            loop {
                match listener.accept().await {
                    Ok((stream, _)) => drop(connections.spawn(Arc::clone(&server).serve_connection(stream))),
                    Err(error) => {
                        tracing::warn!(%error, "a connection could not be accepted");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                }
            }
        };
        let started = tokio::select! {
            started = start => started,
            () = accepting => unreachable!("the loop does not end"),
        };
        connections.close();
        let _ = tokio::time::timeout(DRAIN, connections.wait()).await;
        started
    }

    /// Responds once on each connection, so that the client's next request reaches the started gateway.
    async fn serve_connection(self: Arc<Self>, stream: TcpStream) {
        let service = service_fn(|request| std::future::ready(Ok::<_, Infallible>((self.respond)(&request))));
        let mut builder = http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT).keep_alive(false).half_close(true);
        if let Err(error) = builder.serve_connection(TokioIo::new(stream), service).await {
            tracing::debug!(%error, "a connection ended with an error during the start");
        }
    }
}
