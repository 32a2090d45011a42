//! Exemplars: for a bucket of durations the latest request whose trace is recorded (OpenMetrics 1.0, "Exemplars"). So an
//! operator gets from a slow bucket of a graph to a trace.

use std::ops::RangeInclusive;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::request_page::push_seconds;
use crate::traces::{Span, SpanId, TraceId, Tracer};

/// The exemplars of a histogram: at most one for each bucket. Empty, and so without memory, while no trace is recorded.
#[derive(Debug, Default)]
pub(super) struct Exemplars(Mutex<Vec<Exemplar>>);

/// A request of a bucket.
#[derive(Clone, Copy, Debug)]
pub(super) struct Exemplar {
    pub(super) bucket: usize,
    pub(super) trace_id: TraceId,
    pub(super) span_id: SpanId,
    pub(super) took: Duration,
    /// Nanoseconds since the Unix epoch.
    pub(super) at: u64,
}

impl Exemplars {
    /// Keeps a request of a bucket in place of the one before. Never waits: of two at the same time, one is enough.
    pub(super) fn keep(&self, bucket: usize, took: Duration, span: &Span) {
        let at = Tracer::get().map_or(0, Tracer::now);
        self.replace(Exemplar { bucket, trace_id: span.trace_id(), span_id: span.id(), took, at });
    }

    pub(super) fn replace(&self, exemplar: Exemplar) {
        let Ok(mut kept) = self.0.try_lock() else { return };
        match kept.iter_mut().find(|known| known.bucket == exemplar.bucket) {
            Some(known) => *known = exemplar,
            None => kept.push(exemplar),
        }
    }

    /// Copies them into `all`.
    pub(super) fn read(&self, all: &mut Vec<Exemplar>) {
        all.clear();
        all.extend_from_slice(&self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Exemplar {
    /// Adds the latest exemplar of these buckets, if there is one, to the line of a page that counts them.
    pub(super) fn push_latest(all: &[Self], buckets: RangeInclusive<usize>, page: &mut String) {
        let of_line = all.iter().filter(|exemplar| buckets.contains(&exemplar.bucket));
        let Some(latest) = of_line.max_by_key(|exemplar| exemplar.at) else { return };
        page.push_str(" # {trace_id=\"");
        page.push_str(latest.trace_id.as_str());
        page.push_str("\",span_id=\"");
        page.extend(latest.span_id.digits().map(char::from));
        page.push_str("\"} ");
        push_seconds(page, u64::try_from(latest.took.as_nanos()).unwrap_or(u64::MAX));
        page.push(' ');
        push_seconds(page, latest.at);
    }
}
