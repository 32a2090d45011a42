//! The trace that a request belongs to (W3C Trace Context, level 2; B3 by choice).

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, HeaderValue};
use portcullis_telemetry::RequestScope;
use portcullis_telemetry::traces::{Lineage, SpanId, TraceId, Tracer};

use crate::request::propagation::Propagation;
use crate::request::request_id::RequestId;

mod b3;
mod state;

use b3::B3;
pub use b3::is_b3_field;

// Constants, because a name given as text is parsed at every look-up.
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// The caller records spans of this trace.
const SAMPLED: u8 = 1;
/// The last seven bytes of the trace id are random.
const RANDOM: u8 = 2;

/// The trace of a request, and the gateway's span in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    trace_id: TraceId,
    span_id: SpanId,
    /// The client's span, if the trace is the client's.
    parent: Option<SpanId>,
    /// Those of level 2; a continued trace has no other.
    flags: u8,
    /// Whether the trace is a client's that may decide whether it is recorded.
    is_trusted: bool,
    /// Whether somebody has decided whether it is recorded: a trusted client, or the gateway.
    is_decided: bool,
    /// Whether a trusted client wants it recorded in any case (B3).
    is_debug: bool,
    /// Whether the client's `tracestate` belongs to it.
    has_state: bool,
}

impl TraceContext {
    /// Begins a trace. Its id is the request's, whose last eight bytes are pseudo-random.
    pub(crate) fn begin(id: RequestId, span_id: SpanId) -> Self {
        Self {
            trace_id: TraceId::own(*id.as_bytes()),
            span_id,
            parent: None,
            flags: RANDOM,
            is_trusted: false,
            is_decided: false,
            is_debug: false,
            has_state: false,
        }
    }

    /// Continues the client's trace, or begins one if the client names none, several, or a malformed one. A `traceparent`
    /// counts before B3. Whether the client samples counts only if `is_trusted` says so: anybody could make the gateway and
    /// the services behind it record everything.
    pub(crate) fn of_request(
        headers: &HeaderMap,
        id: RequestId,
        span_id: SpanId,
        propagation: Propagation,
        is_trusted: impl FnOnce() -> bool,
    ) -> Self {
        let begun = Self::begin(id, span_id);
        if propagation.reads_traceparent {
            let mut fields = headers.get_all(TRACEPARENT).iter();
            if let Some(parent) = fields.next().filter(|_| fields.next().is_none()).and_then(Parent::parse) {
                let is_trusted = is_trusted();
                return Self {
                    trace_id: parent.trace_id,
                    parent: Some(parent.span_id),
                    flags: parent.flags & if is_trusted { SAMPLED | RANDOM } else { RANDOM },
                    is_trusted,
                    is_decided: is_trusted,
                    has_state: true,
                    ..begun
                };
            }
        }
        match propagation.reads_b3().then(|| B3::of_headers(headers)).flatten() {
            Some(b3) => begun.continuing(b3, is_trusted()),
            None => begun,
        }
    }

    /// Continues a client's trace of B3, which says nothing of randomness.
    fn continuing(mut self, b3: B3, is_trusted: bool) -> Self {
        if let Some((trace_id, span_id)) = b3.ids {
            self = Self { trace_id, parent: Some(span_id), flags: 0, ..self };
        }
        self.is_trusted = is_trusted;
        if let Some(sampled) = b3.sampled.filter(|_| is_trusted) {
            self.is_decided = true;
            self.is_debug = b3.is_debug;
            self.flags |= if sampled { SAMPLED } else { 0 };
        }
        self
    }

    /// Decides whether the gateway records the trace. A client that is not trusted can choose a trace id, so the request's
    /// own id decides instead.
    pub(crate) fn decide(&mut self, tracer: &Tracer, id: RequestId) -> bool {
        let client = self.is_decided.then_some(self.flags & SAMPLED != 0);
        let deciding = if self.is_trusted { self.trace_id } else { TraceId::own(*id.as_bytes()) };
        let sampled = tracer.samples(&deciding, client);
        self.flags = if sampled { self.flags | SAMPLED } else { self.flags & !SAMPLED };
        self.is_decided = true;
        self.is_debug &= sampled;
        sampled
    }

    /// Returns the id of the gateway's span.
    pub fn span_id(&self) -> SpanId {
        self.span_id
    }

    /// Returns where the gateway's span belongs.
    pub(crate) fn lineage(&self) -> Lineage {
        Lineage { trace_id: self.trace_id, parent: self.parent, has_remote_parent: self.parent.is_some() }
    }

    /// Returns the scope of work within the gateway's span.
    pub(crate) fn recorded(&self, scope: &RequestScope) -> RequestScope {
        scope.within(self.trace_id, self.span_id)
    }

    /// Returns the id of the trace.
    pub fn trace_id(&self) -> &str {
        self.trace_id.as_str()
    }

    pub(crate) fn id(&self) -> &[u8; 32] {
        self.trace_id.as_bytes()
    }

    /// Returns the `traceparent` field for the next hop.
    pub fn traceparent(&self) -> [u8; 55] {
        self.traceparent_in(self.span_id)
    }

    /// Returns the `traceparent` field of a request that is sent within this span of the trace.
    pub fn traceparent_in(&self, span: SpanId) -> [u8; 55] {
        let mut out = *b"00-00000000000000000000000000000000-0000000000000000-00";
        out[3..35].copy_from_slice(self.trace_id.as_bytes());
        out[36..52].copy_from_slice(&span.digits());
        out[54] = b'0' + self.flags;
        out
    }

    /// Returns the `tracestate` field for the next hop: the client's, if it belongs to the continued trace and is valid.
    pub fn tracestate<'h>(&self, headers: &'h HeaderMap) -> Option<Cow<'h, [u8]>> {
        if self.has_state { state::of_fields(headers.get_all(TRACESTATE).iter()) } else { None }
    }

    /// Returns the sampling state of B3 for the next hop; `None` if nobody has decided, and the next hop may.
    pub fn b3_state(&self) -> Option<u8> {
        self.is_decided.then_some(match self.flags & SAMPLED {
            _ if self.is_debug => b'd',
            0 => b'0',
            _ => b'1',
        })
    }
}

/// What a `traceparent` says.
struct Parent {
    trace_id: TraceId,
    span_id: SpanId,
    flags: u8,
}

impl Parent {
    /// Reads version 00 exactly, and later versions as far as version 00 defines their fields (§4.3).
    fn parse(field: &HeaderValue) -> Option<Self> {
        let text = field.as_bytes().trim_ascii();
        let [v0, v1, b'-', rest @ ..] = text else { return None };
        let version = hex_byte(*v0, *v1).filter(|version| *version != 0xff)?;
        let (trace_id, rest) = rest.split_at_checked(32)?;
        let (span_id, rest) = rest.strip_prefix(b"-")?.split_at_checked(16)?;
        let [b'-', f0, f1, later @ ..] = rest else { return None };
        if !(later.is_empty() || (version > 0 && later[0] == b'-')) {
            return None;
        }
        Some(Self {
            trace_id: TraceId::from_digits(trace_id)?,
            span_id: SpanId::from_digits(span_id)?,
            flags: hex_byte(*f0, *f1)?,
        })
    }
}

/// Reads two lower-case hexadecimal digits.
fn hex_byte(high: u8, low: u8) -> Option<u8> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    Some(digit(high)? << 4 | digit(low)?)
}

#[cfg(test)]
mod tests;
