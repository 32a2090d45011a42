//! The fields of B3 that an upstream gets, by choice (`OTEL_PROPAGATORS`).

use portcullis_gate::{Propagation, TraceContext};
use portcullis_telemetry::traces::SpanId;

use crate::http1::RequestHead;

/// Writes the fields that were chosen. `span` is the span that the upstream's own spans belong to.
pub(super) fn write(head: &mut RequestHead, trace: &TraceContext, span: SpanId, propagation: Propagation) {
    let state = trace.b3_state();
    if propagation.writes_b3 {
        head.field_with("b3", |out| {
            out.extend_from_slice(trace.trace_id().as_bytes());
            out.push(b'-');
            out.extend_from_slice(&span.digits());
            out.extend(state.into_iter().flat_map(|state| [b'-', state]));
        });
    }
    if propagation.writes_b3_multi {
        head.literal_field("x-b3-traceid", trace.trace_id());
        head.field_with("x-b3-spanid", |out| out.extend_from_slice(&span.digits()));
        match state {
            None => {}
            Some(b'd') => head.literal_field("x-b3-flags", "1"),
            Some(state) => head.field_with("x-b3-sampled", |out| out.push(state)),
        }
    }
}
