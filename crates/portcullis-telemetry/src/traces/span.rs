//! A span: one piece of work for a request or a job.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Instant;

use super::known_root::KnownRoot;
use super::tracer::Tracer;
use super::{SpanId, TraceId};
use crate::logs::RequestScope;

/// The relation of a span to its parent and its children. The numbers are those of OTLP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanKind {
    /// Work within the process.
    Internal = 1,
    /// A request that the gateway handles.
    Server = 2,
    /// A request of the gateway to another server.
    Client = 3,
}

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AttributeValue {
    /// A text that the program contains, or one of the span's own.
    Text(Cow<'static, str>),
    /// A text that others hold too.
    Shared(Arc<str>),
    /// A whole number.
    Number(i64),
}

impl From<&'static str> for AttributeValue {
    fn from(text: &'static str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
}

impl From<String> for AttributeValue {
    fn from(text: String) -> Self {
        Self::Text(Cow::Owned(text))
    }
}

impl From<Arc<str>> for AttributeValue {
    fn from(text: Arc<str>) -> Self {
        Self::Shared(text)
    }
}

impl From<u16> for AttributeValue {
    fn from(number: u16) -> Self {
        Self::Number(number.into())
    }
}

impl From<u32> for AttributeValue {
    fn from(number: u32) -> Self {
        Self::Number(number.into())
    }
}

impl From<u64> for AttributeValue {
    fn from(number: u64) -> Self {
        Self::Number(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

/// What is exported of a span.
#[derive(Debug)]
pub(super) struct SpanRecord {
    /// When the work began, by a clock that never jumps.
    pub(super) begun: Instant,
    pub(super) trace_id: TraceId,
    pub(super) span_id: SpanId,
    pub(super) parent: Option<SpanId>,
    /// Whether the parent is another process's.
    pub(super) has_remote_parent: bool,
    pub(super) name: Cow<'static, str>,
    pub(super) kind: SpanKind,
    /// Nanoseconds since the Unix epoch.
    pub(super) start: u64,
    /// Nanoseconds since the Unix epoch.
    pub(super) end: u64,
    pub(super) attributes: Vec<(&'static str, AttributeValue)>,
    /// Spans of other traces that this work caused.
    pub(super) links: Vec<(TraceId, SpanId)>,
    pub(super) has_failed: bool,
}

/// A span that is recorded. It ends when it is dropped, so that abandoned work has its span too.
#[derive(Debug)]
pub struct Span {
    /// `None` once it was handed to the exporter. Boxed, because a request carries its span along.
    record: Option<Box<SpanRecord>>,
}

/// Where a new span belongs.
#[derive(Clone, Copy, Debug)]
pub struct Lineage {
    /// The trace.
    pub trace_id: TraceId,
    /// The span above it.
    pub parent: Option<SpanId>,
    /// Whether the span above is another process's.
    pub has_remote_parent: bool,
}

impl Span {
    pub(super) fn new(span_id: SpanId, lineage: Lineage, name: Cow<'static, str>, kind: SpanKind) -> Self {
        let Lineage { trace_id, parent, has_remote_parent } = lineage;
        let record = SpanRecord {
            begun: Instant::now(),
            trace_id,
            span_id,
            parent,
            has_remote_parent,
            name,
            kind,
            start: 0,
            end: 0,
            attributes: Vec::with_capacity(8),
            links: Vec::new(),
            has_failed: false,
        };
        Self { record: Some(Box::new(record)) }
    }

    /// Sets the moment that the span began.
    pub fn begun_at(&mut self, begun: Instant) {
        if let Some(record) = &mut self.record {
            record.begun = begun;
        }
    }

    /// Returns the id of the span.
    pub fn id(&self) -> SpanId {
        self.record().span_id
    }

    /// Returns the id of the trace that the span belongs to.
    pub fn trace_id(&self) -> TraceId {
        self.record().trace_id
    }

    fn record(&self) -> &SpanRecord {
        self.record.as_ref().expect("a span has its record until it is dropped")
    }

    /// Returns the scope of work within this span: that of the thread now, with this span as the parent of new spans.
    pub fn scope(&self) -> RequestScope {
        let SpanRecord { trace_id, span_id, .. } = *self.record();
        RequestScope::current().within(trace_id, span_id)
    }

    /// Sets another name.
    pub fn rename(&mut self, name: impl Into<Cow<'static, str>>) {
        if let Some(record) = &mut self.record {
            record.name = name.into();
        }
    }

    /// Adds an attribute.
    pub fn set(&mut self, key: &'static str, value: impl Into<AttributeValue>) {
        if let Some(record) = &mut self.record {
            record.attributes.push((key, value.into()));
        }
    }

    /// Adds a link to a span of another trace, if that will be recorded.
    pub fn link(&mut self, other: &KnownRoot) {
        if let Some(record) = self.record.as_mut().filter(|_| other.is_recorded()) {
            record.links.push((other.trace_id, other.span_id));
        }
    }

    /// Marks the work as failed. `kind` is a value of `error.type`, of which there are few. The first failure counts.
    pub fn fail(&mut self, kind: impl Into<AttributeValue>) {
        if let Some(record) = self.record.as_mut().filter(|record| !record.has_failed) {
            record.has_failed = true;
            record.attributes.push(("error.type", kind.into()));
        }
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        // Only a tracer makes spans.
        if let (Some(mut record), Some(tracer)) = (self.record.take(), Tracer::get()) {
            let lasted = u64::try_from(record.begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
            record.end = tracer.now();
            record.start = record.end.saturating_sub(lasted);
            tracer.export(record);
        }
    }
}
