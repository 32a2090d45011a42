//! Traces (`docs/tracing.md`): spans of requests and of what is done for them, sent to a collector by OTLP.
//!
//! Spans are recorded only of traces that are sampled. Elsewhere, and without a collector, a span costs a look at a
//! thread-local. Finished spans go into a bounded queue; nothing waits for the collector.

mod collector_tls;
mod export;
mod ids;
mod known_root;
mod options;
mod sampler;
mod span;
mod tracer;

pub use collector_tls::{CollectorTls, TlsFileError};
pub use export::TraceExporter;
pub use ids::{SpanId, TraceId};
pub use known_root::KnownRoot;
pub use options::{Batching, Compression, OtlpProtocol, TraceOptions};
pub use sampler::Sampler;
use span::SpanRecord;
pub use span::{AttributeValue, Lineage, Span, SpanKind};
pub use tracer::{Tracer, TracerParts, dropped_spans, exported_spans, root_span, span, within};
