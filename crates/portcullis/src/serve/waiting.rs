//! Listening while the house is built. That takes an instant, unless the database is migrated: then an orchestrator
//! must see that the process lives and is not ready, and not kill it half-way.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use portcullis_api::{Lifecycle, Starting};
use portcullis_model::policy::Environment;
use portcullis_model::{Clock, Random};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::TaskTracker;

/// Until then connections wait in the backlog, and the house itself answers them.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long a client may take to ask.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long answers may still take once the house stands.
const DRAIN: Duration = Duration::from_secs(1);
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What the answers say.
pub(super) struct Waiting {
    pub(super) lifecycle: Arc<Lifecycle>,
    pub(super) environment: Environment,
    pub(super) random: Random,
}

impl Waiting {
    /// Does the work; answers on the listener when it takes long.
    pub(super) async fn during<T>(self, listener: &TcpListener, work: impl Future<Output = T>) -> T {
        let connections = TaskTracker::new();
        let waiting = Arc::new(self);
        let accepting = async {
            tokio::time::sleep(PATIENCE).await;
            tracing::info!("answering health checks while the database is prepared");
            loop {
                match listener.accept().await {
                    Ok((stream, _)) => drop(connections.spawn(Arc::clone(&waiting).answer(stream))),
                    Err(error) => {
                        tracing::warn!(%error, "a connection could not be accepted");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                }
            }
        };
        let done = tokio::select! {
            done = work => done,
            () = accepting => unreachable!("it accepts for ever"),
        };
        connections.close();
        let _ = tokio::time::timeout(DRAIN, connections.wait()).await;
        done
    }

    /// One answer for each connection, so that the next request meets the house.
    async fn answer(self: Arc<Self>, stream: TcpStream) {
        let service = service_fn(|request: http::Request<hyper::body::Incoming>| {
            let starting =
                Starting { lifecycle: &self.lifecycle, clock: &Clock::system(), environment: self.environment };
            let answer = starting.answer(request.uri().path(), &self.random.hex::<16>());
            std::future::ready(Ok::<_, Infallible>(answer))
        });
        let mut builder = http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).keep_alive(false);
        if let Err(error) = builder.serve_connection(TokioIo::new(stream), service).await {
            tracing::debug!(%error, "a connection ended badly while the database was prepared");
        }
    }
}
