//! The connection and its state: after a failure every call fails at once until Redis answers again.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use fred::clients::Client;
use fred::error::{Error, ErrorKind};
use fred::interfaces::ClientLike;
use portcullis_model::SharedUnavailable;
use portcullis_telemetry::traces::{self, Span, SpanKind};
use portcullis_telemetry::{Metrics, ReadMetric};

/// The time between two probes of a Redis that is away.
const PROBE: Duration = Duration::from_millis(250);
/// The longest time that closing a connection may take.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(500);

/// What commands are for: the label `operation` of `redis_errors_total`.
const OPERATIONS: [&str; 4] = ["fetch", "offer", "limit", "publish"];

/// A client and whether Redis answers it.
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
        for operation in OPERATIONS {
            link.metrics.begin_redis_errors(operation);
        }
        let watched = Arc::downgrade(&link);
        let up = move || watched.upgrade().map(|link| f64::from(u8::from(link.is_available())));
        link.metrics.read_value(ReadMetric::RedisUp, up);
        link
    }

    pub(crate) fn is_available(&self) -> bool {
        self.available.load(Ordering::Acquire)
    }

    /// Runs a command with a time limit. After a failure all commands fail at once until a probe is answered. `operation` is
    /// one of [`OPERATIONS`]. `summary` names the command's span: the command, and what it works on. Keys and values are in
    /// no span.
    pub(crate) async fn run<T>(
        &self,
        operation: &'static str,
        summary: &'static str,
        command: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, SharedUnavailable> {
        if !self.is_available() {
            return Err(SharedUnavailable);
        }
        let span = span(summary);
        let outcome = tokio::time::timeout(self.command_timeout, command).await;
        let error = match outcome {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(error)) => error,
            Err(_) => Error::new(ErrorKind::Timeout, "Redis did not answer in time"),
        };
        if let Some(mut span) = span {
            span.fail(error.kind().to_str());
        }
        debug_assert!(OPERATIONS.contains(&operation), "{operation} has no counter that begins at zero");
        self.metrics.redis_error(operation);
        if self.available.swap(false, Ordering::AcqRel) {
            tracing::warn!(
                operation,
                error = &error as &dyn std::error::Error,
                "Redis is not available; this replica goes on without it"
            );
        }
        Err(SharedUnavailable)
    }

    pub(crate) async fn ping(&self) -> Result<(), Error> {
        let reply = tokio::time::timeout(self.command_timeout, self.client.ping::<()>(None)).await;
        reply.unwrap_or_else(|_| Err(Error::new(ErrorKind::Timeout, "Redis did not reply in time")))
    }

    /// Records that Redis answers. A return is logged, the first connection is not.
    pub(crate) fn mark_available(&self, is_return: bool) {
        if !self.available.swap(true, Ordering::AcqRel) && is_return {
            tracing::info!("Redis is available again");
        }
    }

    /// Probes Redis while it is away, until the link is dropped.
    pub(crate) async fn probe_while_away(link: Weak<Self>) {
        loop {
            tokio::time::sleep(PROBE).await;
            let Some(link) = link.upgrade() else { return };
            if link.is_available() {
                continue;
            }
            match link.ping().await {
                Ok(()) => link.mark_available(true),
                // The connection is open and nobody answers: packets are dropped. A new connection may get through.
                Err(error) if matches!(error.kind(), ErrorKind::Timeout) => {
                    let _ = link.client.force_reconnection().await;
                }
                Err(_) => {}
            }
        }
    }
}

/// Begins the span of a command, if the work that it is for is recorded.
fn span(summary: &'static str) -> Option<Span> {
    let mut span = traces::span(summary, SpanKind::Client)?;
    span.set("db.system.name", "redis");
    span.set("db.operation.name", summary.split(' ').next().unwrap_or(summary));
    span.set("db.query.summary", summary);
    Some(span)
}

/// Closes a client's connections. It does not wait for a server that does not answer.
pub(crate) async fn close(client: &impl ClientLike) {
    let _ = tokio::time::timeout(CLOSE_TIMEOUT, client.quit()).await;
}
