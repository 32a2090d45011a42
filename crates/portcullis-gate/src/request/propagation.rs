//! How requests name their trace.

/// The formats in which a request names its trace (`OTEL_PROPAGATORS`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Propagation {
    /// Whether a client's `traceparent` counts. The gateway writes its own in any case.
    pub reads_traceparent: bool,
    /// Whether the upstream gets `b3`.
    pub writes_b3: bool,
    /// Whether the upstream gets `X-B3-…`.
    pub writes_b3_multi: bool,
}

impl Propagation {
    /// Whether a client's fields of B3 count, and end at the gateway.
    pub fn reads_b3(self) -> bool {
        self.writes_b3 || self.writes_b3_multi
    }
}

impl Default for Propagation {
    /// W3C Trace Context alone.
    fn default() -> Self {
        Self { reads_traceparent: true, writes_b3: false, writes_b3_multi: false }
    }
}
