//! Sends finished spans to a collector by OTLP, in batches, beside the requests. No request waits for it: when the collector
//! is slower than the spans come, or gone, spans are dropped and counted.

mod collector;
mod otlp;
mod protobuf;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tls_tests;
mod worker;

use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::tracer::{Tracer, TracerParts};
use super::{SpanRecord, TraceOptions};
use collector::Collector;
use worker::Worker;

/// The task that sends spans.
#[derive(Debug)]
pub struct TraceExporter {
    /// Until when the last spans may be sent, once the process stops.
    stop: watch::Sender<Option<Instant>>,
    task: JoinHandle<()>,
}

impl TraceExporter {
    /// Starts to record and to send spans. `version` is the program's. `None` if this process does so already. Must be
    /// called within a Tokio runtime.
    pub fn start(options: &TraceOptions, version: &'static str, parts: TracerParts) -> Option<Self> {
        let (sender, queue) = mpsc::channel(options.batching.queue);
        Tracer::install(options.sampler, parts, sender)?;
        Some(Self::run(queue, options, version))
    }

    fn run(queue: mpsc::Receiver<Box<SpanRecord>>, options: &TraceOptions, version: &'static str) -> Self {
        let (stop, stopped) = watch::channel(None);
        let worker = Worker::new(queue, Collector::new(options, version), options.batching, stopped);
        Self { stop, task: tokio::spawn(worker.run()) }
    }

    /// Sends the spans that are left, for at most this long, and ends.
    pub async fn shut_down(self, limit: Duration) {
        self.stop.send_replace(Some(Instant::now() + limit));
        // A task that panicked has nothing left to send.
        let _ = self.task.await;
    }
}
