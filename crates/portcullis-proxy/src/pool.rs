//! Kept-alive connections to one target.
//!
//! A connection is driven by whoever uses it: the request's own task polls the
//! connection beside the response, so that a request costs no second task and
//! no wake-up across threads. While it is idle nobody polls it; what the target
//! did meanwhile is found out when it is taken out again.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use portcullis_gate::InboundBody;
use tokio::net::TcpStream;

use crate::error::ProxyError;
use crate::upstream::Target;

/// The most idle connections kept for one target.
const MAX_IDLE: usize = 128;
/// How long an idle connection is kept. Shorter than common servers' own limit of 60 to 75 s.
const IDLE_LIFETIME: Duration = Duration::from_secs(45);

type Http = http1::Connection<TokioIo<TcpStream>, InboundBody>;

/// Reads and writes for a connection, until it has closed.
pub(crate) struct Driver(Option<Pin<Box<Http>>>);

/// One connection and what drives it.
pub(crate) struct Connection {
    pub(crate) sender: SendRequest<InboundBody>,
    pub(crate) driver: Driver,
    /// Whether it carried a request before: then the target may have closed it
    /// just as we write.
    pub(crate) reused: bool,
}

/// The idle connections of a target, latest used first.
#[derive(Default)]
pub(crate) struct Pool {
    idle: Mutex<Vec<(Connection, Instant)>>,
}

impl Pool {
    /// A live idle connection.
    pub(crate) fn take(&self, cx: &mut Context<'_>) -> Option<Connection> {
        loop {
            let (mut connection, since) = self.lock().pop()?;
            if since.elapsed() < IDLE_LIFETIME && connection.is_usable(cx) {
                connection.reused = true;
                return Some(connection);
            }
        }
    }

    /// Keeps a connection that may carry another request.
    pub(crate) fn give_back(&self, mut connection: Connection, cx: &mut Context<'_>) {
        if !connection.is_usable(cx) {
            return;
        }
        let mut idle = self.lock();
        if idle.len() >= MAX_IDLE {
            // The oldest are at the front.
            idle.remove(0);
        }
        idle.push((connection, Instant::now()));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<(Connection, Instant)>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connection {
    /// Connects to a target.
    pub(crate) async fn open(target: &Target) -> Result<Self, ProxyError> {
        let (sender, driver) = handshake(target).await?;
        Ok(Self { sender, driver: Driver(Some(Box::pin(driver))), reused: false })
    }

    fn is_usable(&mut self, cx: &mut Context<'_>) -> bool {
        self.driver.drive(cx).is_pending() && self.sender.is_ready()
    }
}

impl Driver {
    /// Lets the connection read and write what it can. Ready once it has closed.
    pub(crate) fn drive(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(http) = &mut self.0 else { return Poll::Ready(()) };
        match http.as_mut().poll(cx) {
            // Whatever failed is told by the response or its body.
            Poll::Ready(_) => {
                self.0 = None;
                Poll::Ready(())
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

/// A connected socket that speaks HTTP/1.1.
pub(crate) async fn handshake(target: &Target) -> Result<(SendRequest<InboundBody>, Http), ProxyError> {
    let connecting = TcpStream::connect((target.host.as_str(), target.port));
    let stream = match tokio::time::timeout(target.connect_timeout, connecting).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Err(ProxyError::Connect(error)),
        Err(elapsed) => return Err(ProxyError::Connect(elapsed.into())),
    };
    stream.set_nodelay(true).map_err(ProxyError::Connect)?;
    http1::handshake(TokioIo::new(stream)).await.map_err(ProxyError::Broken)
}
