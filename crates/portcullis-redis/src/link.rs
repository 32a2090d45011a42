//! The connection, and whether it can be relied on: after a loss every call fails at once until Redis has answered.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use fred::clients::Client;
use fred::error::{Error, ErrorKind};
use fred::interfaces::ClientLike;
use portcullis_model::SharedUnavailable;
use portcullis_telemetry::Metrics;

/// How often a lost Redis is asked whether it is back.
const PROBE: Duration = Duration::from_millis(250);

/// A client, and what is known of it.
pub(crate) struct Link {
    pub(crate) client: Client,
    pub(crate) prefix: String,
    available: AtomicBool,
    command_timeout: Duration,
    metrics: Metrics,
}

impl Link {
    pub(crate) fn new(client: Client, prefix: String, command_timeout: Duration, metrics: Metrics) -> Arc<Self> {
        let link = Arc::new(Self { client, prefix, available: AtomicBool::new(false), command_timeout, metrics });
        let watched = Arc::downgrade(&link);
        let up = move || watched.upgrade().map_or(0.0, |link| f64::from(u8::from(link.is_available())));
        link.metrics.gauge_fn("redis_up", "Whether Redis answers.", Box::new(up));
        link
    }

    pub(crate) fn is_available(&self) -> bool {
        self.available.load(Ordering::Acquire)
    }

    /// Runs a command within its time. One that fails for want of Redis makes all others fail at once from then on.
    pub(crate) async fn run<T>(
        &self,
        operation: &'static str,
        command: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, SharedUnavailable> {
        if !self.is_available() {
            return Err(SharedUnavailable);
        }
        let outcome = tokio::time::timeout(self.command_timeout, command).await;
        let error = match outcome {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(error)) => error,
            Err(_) => Error::new(ErrorKind::Timeout, "it did not answer in time"),
        };
        self.metrics.redis_error(operation);
        if self.available.swap(false, Ordering::AcqRel) {
            tracing::warn!(
                operation,
                error = &error as &dyn std::error::Error,
                "Redis is not available: replicas go on without it"
            );
        }
        Err(SharedUnavailable)
    }

    /// Asks for a sign of life.
    pub(crate) async fn ping(&self) -> Result<(), Error> {
        let answer = tokio::time::timeout(self.command_timeout, self.client.ping::<()>(None)).await;
        answer.unwrap_or_else(|_| Err(Error::new(ErrorKind::Timeout, "it did not answer in time")))
    }

    /// Notes that Redis has answered.
    pub(crate) fn found(&self, again: bool) {
        if !self.available.swap(true, Ordering::AcqRel) && again {
            tracing::info!("Redis is available again");
        }
    }

    /// Looks after a lost Redis until the link is dropped.
    pub(crate) async fn look_after(link: Weak<Self>) {
        loop {
            tokio::time::sleep(PROBE).await;
            let Some(link) = link.upgrade() else { return };
            if link.is_available() {
                continue;
            }
            match link.ping().await {
                Ok(()) => link.found(true),
                // The connection stands and nobody answers on it: packets are dropped. A new one may get through.
                Err(error) if matches!(error.kind(), ErrorKind::Timeout) => {
                    let _ = link.client.force_reconnection().await;
                }
                Err(_) => {}
            }
        }
    }
}
