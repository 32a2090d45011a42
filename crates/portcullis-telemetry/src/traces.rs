//! Traces: the ids of a trace and its spans.

mod ids;

pub use ids::{SpanId, TraceId};
