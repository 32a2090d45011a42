//! The task that gathers spans into batches and sends them, again if the collector may take them later.

use std::ops::Range;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::collector::{Collector, SendError};
use crate::traces::tracer::COUNTS;
use crate::traces::{Batching, SpanRecord};

/// How often this task looks for more spans meanwhile. To wait for the next one would wake it for each.
const LOOK: Duration = Duration::from_millis(50);
/// How often a batch is sent before it is given up.
const ATTEMPTS: u32 = 5;
/// The pause after the first failure. It doubles each time.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause that a collector may ask for.
const MAX_PAUSE: Duration = Duration::from_secs(30);
/// The shortest time between two warnings.
const BETWEEN_WARNINGS: Duration = Duration::from_secs(60);

pub(super) struct Worker {
    queue: mpsc::Receiver<Box<SpanRecord>>,
    collector: Collector,
    batching: Batching,
    /// Until when the last spans may be sent, once the process stops.
    stopped: watch::Receiver<Option<Instant>>,
    #[expect(clippy::vec_box, reason = "spans come boxed through the queue")]
    batch: Vec<Box<SpanRecord>>,
    /// The number of spans of the batch whose fate is known.
    settled: usize,
    warned: Option<Instant>,
    /// The spans that were dropped since the last warning.
    dropped: u64,
}

impl Worker {
    pub(super) fn new(
        queue: mpsc::Receiver<Box<SpanRecord>>,
        collector: Collector,
        batching: Batching,
        stopped: watch::Receiver<Option<Instant>>,
    ) -> Self {
        let batch = Vec::with_capacity(batching.batch);
        Self { queue, collector, batching, stopped, batch, settled: 0, warned: None, dropped: 0 }
    }

    /// Sends spans until the process stops, then those that are left as long as there is time.
    pub(super) async fn run(mut self) {
        let mut stopped = self.stopped.clone();
        let out_of_time = async {
            stop(&mut stopped).await;
            let deadline = *stopped.borrow();
            tokio::time::sleep_until(deadline.unwrap_or_else(Instant::now)).await;
        };
        tokio::select! {
            () = self.work() => return,
            // It may wait for a collector that does not answer.
            () = out_of_time => {}
        }
        self.queue.close();
        let lost = self.batch.len() - self.settled + self.queue.len();
        self.drop_spans(lost, "the process ends");
    }

    async fn work(&mut self) {
        while self.stopping_at().is_none() {
            self.gather().await;
            self.send_batch().await;
        }
        self.queue.close();
        while self.queue.recv_many(&mut self.batch, self.batching.batch).await > 0 {
            self.send_batch().await;
        }
    }

    fn stopping_at(&self) -> Option<Instant> {
        *self.stopped.borrow()
    }

    /// Waits for the first span, and then for others: until the batch is full, the first one has waited long enough, or the
    /// process stops.
    async fn gather(&mut self) {
        let Self { queue, stopped, batch, batching: Batching { delay, batch: most, .. }, .. } = self;
        let gathering = async {
            if queue.recv_many(batch, *most).await == 0 {
                // Nobody records spans any more.
                return std::future::pending().await;
            }
            let deadline = Instant::now() + *delay;
            while batch.len() < *most && Instant::now() < deadline {
                tokio::time::sleep(LOOK.min(*delay)).await;
                while batch.len() < *most
                    && let Ok(span) = queue.try_recv()
                {
                    batch.push(span);
                }
            }
        };
        tokio::select! {
            () = gathering => {}
            () = stop(stopped) => {}
        }
    }

    /// Sends the batch, in parts if the collector finds it too large.
    async fn send_batch(&mut self) {
        self.settled = 0;
        let mut parts = vec![Range { start: 0, end: self.batch.len() }];
        while let Some(part) = parts.pop() {
            if part.is_empty() {
                continue;
            }
            let limit = self.batching.timeout;
            let sent = tokio::time::timeout(limit, self.send(part.clone())).await;
            match sent.unwrap_or_else(|_| Err(SendError::Never(format!("it did not take them within {limit:?}")))) {
                Ok((rejected, reason)) => {
                    let rejected = rejected.min(part.len() as u64);
                    COUNTS.exported.fetch_add(part.len() as u64 - rejected, Ordering::Relaxed);
                    if rejected > 0 {
                        self.drop_spans(rejected as usize, &format!("the collector rejected them: {reason}"));
                    }
                    self.settled += part.len();
                }
                Err(SendError::TooLarge(_)) if part.len() > 1 => {
                    let middle = part.start + part.len() / 2;
                    parts.extend([middle..part.end, part.start..middle]);
                }
                Err(SendError::TooLarge(reason) | SendError::Never(reason) | SendError::Later { reason, .. }) => {
                    self.drop_spans(part.len(), &reason);
                    self.settled += part.len();
                }
            }
        }
        self.batch.clear();
        self.settled = 0;
    }

    /// Sends a part of the batch, several times if the collector may take it later. While the process stops, there is
    /// no time for pauses.
    async fn send(&mut self, part: Range<usize>) -> Result<(u64, String), SendError> {
        let mut pause = FIRST_PAUSE;
        for _ in 1..ATTEMPTS {
            let was_stopping = self.stopping_at().is_some();
            let (reason, after) = match self.collector.send(&self.batch[part.clone()]).await {
                Err(SendError::Later { reason, after }) => (reason, after),
                settled => return settled,
            };
            if was_stopping {
                return Err(SendError::Later { reason, after });
            }
            tracing::debug!(error = reason, "the collector of traces will be tried again");
            let pausing = tokio::time::sleep(after.unwrap_or(pause).min(MAX_PAUSE));
            tokio::select! {
                () = pausing => {}
                () = stop(&mut self.stopped) => {}
            }
            pause *= 2;
        }
        self.collector.send(&self.batch[part]).await
    }

    fn drop_spans(&mut self, count: usize, reason: &str) {
        COUNTS.dropped.fetch_add(count as u64, Ordering::Relaxed);
        self.dropped += count as u64;
        if self.warned.is_some_and(|warned| warned.elapsed() < BETWEEN_WARNINGS) {
            return;
        }
        tracing::warn!(
            error = reason,
            spans = self.dropped,
            "spans were dropped, because the collector of OTEL_EXPORTER_OTLP_ENDPOINT did not take them"
        );
        self.warned = Some(Instant::now());
        self.dropped = 0;
    }
}

/// Waits until the process stops.
async fn stop(stopped: &mut watch::Receiver<Option<Instant>>) {
    if stopped.wait_for(Option::is_some).await.is_err() {
        // The exporter was dropped without a last word, so there is no time to wait for.
        std::future::pending::<()>().await;
    }
}
