//! The tracer of the process: decides which traces are recorded, and hands finished spans to the exporter.

use std::borrow::Cow;
use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::mpsc;

use super::sampler::Sampler;
use super::span::{Lineage, Span, SpanKind, SpanRecord};
use super::{SpanId, TraceId};
use crate::logs::RequestScope;

/// The process has one tracer, as it has one log. Without an address of a collector it has none.
static TRACER: OnceLock<Tracer> = OnceLock::new();
/// The spans that the collector has taken, and those that it never got.
pub(super) static COUNTS: SpanCounts = SpanCounts { exported: AtomicU64::new(0), dropped: AtomicU64::new(0) };

pub(super) struct SpanCounts {
    pub(super) exported: AtomicU64,
    pub(super) dropped: AtomicU64,
}

/// What the tracer takes of the rest of the process.
pub struct TracerParts {
    /// Nanoseconds since the Unix epoch.
    pub now: Box<dyn Fn() -> u64 + Send + Sync>,
    /// Random bytes, from which the ids of spans are made.
    pub seed: [u8; 24],
}

/// Records spans.
pub struct Tracer {
    sampler: Sampler,
    parts: TracerParts,
    next: AtomicU64,
    queue: mpsc::Sender<Box<SpanRecord>>,
}

impl Tracer {
    /// Makes the tracer of the process. `None` if it has one already.
    pub(super) fn install(sampler: Sampler, parts: TracerParts, queue: mpsc::Sender<Box<SpanRecord>>) -> Option<()> {
        TRACER.set(Self { sampler, parts, next: AtomicU64::new(0), queue }).ok()
    }

    /// The tracer of the process, if traces are exported.
    pub fn get() -> Option<&'static Self> {
        TRACER.get()
    }

    /// Decides whether a trace is recorded. `parent` is the decision of its client, if that is trusted.
    pub fn samples(&self, trace: &TraceId, parent: Option<bool>) -> bool {
        self.sampler.samples(trace, parent)
    }

    /// Begins a span whose id is known already.
    pub fn span_with_id(
        &'static self,
        id: SpanId,
        lineage: Lineage,
        name: impl Into<Cow<'static, str>>,
        kind: SpanKind,
    ) -> Span {
        Span::new(id, lineage, name.into(), kind)
    }

    /// Begins a span of a trace of its own, if that is sampled.
    fn root(&'static self, name: Cow<'static, str>, kind: SpanKind) -> Option<Span> {
        let mut digits = [0; 32];
        digits[..16].copy_from_slice(&SpanId::new(self.seed(16)).digits());
        digits[16..].copy_from_slice(&SpanId::new(self.number()).digits());
        let trace_id = TraceId::own(digits);
        let lineage = Lineage { trace_id, parent: None, has_remote_parent: false };
        self.samples(&trace_id, None).then(|| Span::new(SpanId::new(self.number()), lineage, name, kind))
    }

    /// Nanoseconds since the Unix epoch.
    pub(crate) fn now(&self) -> u64 {
        (self.parts.now)()
    }

    /// Hands a span to the exporter. If its queue is full, the span is dropped and counted: nobody waits for a collector.
    pub(super) fn export(&self, record: Box<SpanRecord>) {
        if self.queue.try_send(record).is_err() {
            COUNTS.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Returns a pseudo-random number, each time another one (SplitMix64).
    fn number(&self) -> u64 {
        let count = self.next.fetch_add(1, Ordering::Relaxed);
        let n = self.seed(0).wrapping_add(count.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (n ^ (n >> 31)) ^ self.seed(8)
    }

    fn seed(&self, at: usize) -> u64 {
        u64::from_le_bytes(std::array::from_fn(|n| self.parts.seed[at + n]))
    }
}

impl fmt::Debug for Tracer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tracer").field("sampler", &self.sampler).finish_non_exhaustive()
    }
}

/// Begins a span within the span that the thread is in. `None` if the work belongs to no trace that is recorded.
#[inline]
pub fn span(name: impl Into<Cow<'static, str>>, kind: SpanKind) -> Option<Span> {
    let (trace_id, parent) = RequestScope::recorded()?;
    let tracer = Tracer::get()?;
    let lineage = Lineage { trace_id, parent: Some(parent), has_remote_parent: false };
    Some(Span::new(SpanId::new(tracer.number()), lineage, name.into(), kind))
}

/// Begins a span of work that no request asked for. `None` if it is not recorded.
pub fn root_span(name: impl Into<Cow<'static, str>>, kind: SpanKind) -> Option<Span> {
    Tracer::get()?.root(name.into(), kind)
}

/// Does work within a span, if there is one, so that spans of the work are its children. Returns the span with the outcome;
/// it ends when it is dropped.
pub async fn within<F: Future>(span: Option<Span>, work: F) -> (F::Output, Option<Span>) {
    let scope = span.as_ref().map_or_else(RequestScope::current, Span::scope);
    (scope.wrap(work).await, span)
}

/// The number of spans that the collector has taken so far.
pub fn exported_spans() -> u64 {
    COUNTS.exported.load(Ordering::Relaxed)
}

/// The number of spans that the collector never got.
pub fn dropped_spans() -> u64 {
    COUNTS.dropped.load(Ordering::Relaxed)
}
