//! Spans whose ids are known before they begin, so that what causes the work can link to it: the work is queued in a database
//! and done by any process later.

use std::borrow::Cow;

use super::{Lineage, Span, SpanId, SpanKind, TraceId, Tracer};

/// The first span of a trace of its own, by what the work is known by.
#[derive(Clone, Copy, Debug)]
pub struct KnownRoot {
    pub(super) trace_id: TraceId,
    pub(super) span_id: SpanId,
}

impl KnownRoot {
    /// The root span of an attempt at the work with this unique key. All attempts are in one trace.
    pub fn new(key: u128, attempt: u64) -> Self {
        // Samplers judge the end of a trace id, which must be as random as the key is somewhere.
        let low = mixed(key as u64 ^ mixed((key >> 64) as u64));
        let high = mixed((key >> 64) as u64 ^ low);
        let mut digits = [0; 32];
        digits[..16].copy_from_slice(&SpanId::new(high).digits());
        digits[16..].copy_from_slice(&SpanId::new(low).digits());
        Self { trace_id: TraceId::own(digits), span_id: SpanId::new(mixed(high ^ low.wrapping_add(attempt))) }
    }

    /// Whether the process records the trace. Another one with the same settings decides alike.
    pub(super) fn is_recorded(&self) -> bool {
        Tracer::get().is_some_and(|tracer| tracer.samples(&self.trace_id, None))
    }

    /// Begins the span. `None` if it is not recorded.
    pub fn begin(&self, name: impl Into<Cow<'static, str>>, kind: SpanKind) -> Option<Span> {
        let lineage = Lineage { trace_id: self.trace_id, parent: None, has_remote_parent: false };
        self.is_recorded().then(|| Span::new(self.span_id, lineage, name.into(), kind))
    }
}

/// Spreads the bits of a number over all bits (the finalizer of SplitMix64).
fn mixed(n: u64) -> u64 {
    let n = n.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ (n >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::traces::Sampler;

    #[test]
    fn attempts_are_spans_of_one_trace() {
        let [first, again, second] = [(7, 1), (7, 1), (7, 2)].map(|(key, attempt)| KnownRoot::new(key, attempt));
        assert_eq!((first.trace_id, first.span_id), (again.trace_id, again.span_id));
        assert_eq!(first.trace_id, second.trace_id);
        assert_ne!(first.span_id, second.span_id);
        assert_ne!(KnownRoot::new(8, 1).trace_id, first.trace_id);
    }

    #[test]
    fn a_share_of_keys_that_are_alike_is_recorded() {
        let tenth = Sampler { parent_based: true, ratio: 0.1 };
        // As UUIDs of version 7 are: fixed bits between others, of which few differ.
        let key = |n: u128| 0x019a_b000_0000_7000_8000_0000_0000_0000 | (n << 90) | (n % 97);
        let recorded = (0..10_000).filter(|n| tenth.samples(&KnownRoot::new(key(*n), 1).trace_id, None)).count();
        // Ten standard deviations of the binomial distribution.
        assert!((700..=1300).contains(&recorded), "{recorded}");
    }
}
