//! The trace that a request belongs to (W3C Trace Context, level 2).

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, HeaderValue};
use portcullis_telemetry::RequestScope;
use portcullis_telemetry::traces::{Lineage, SpanId, TraceId, Tracer};

use crate::request::request_id::RequestId;

mod state;

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
}

impl TraceContext {
    /// Begins a trace. Its id is the request's, whose last eight bytes are pseudo-random.
    pub(crate) fn begin(id: RequestId, span_id: SpanId) -> Self {
        Self { trace_id: TraceId::own(*id.as_bytes()), span_id, parent: None, flags: RANDOM, is_trusted: false }
    }

    /// Continues the client's trace, or begins one if the client sent no `traceparent`, several, or a malformed one.
    /// Whether the client samples counts only if `is_trusted` says so: anybody could make the gateway and the services
    /// behind it record everything.
    pub(crate) fn of_request(
        headers: &HeaderMap,
        id: RequestId,
        span_id: SpanId,
        is_trusted: impl FnOnce() -> bool,
    ) -> Self {
        let mut fields = headers.get_all(TRACEPARENT).iter();
        let Some(parent) = fields.next().filter(|_| fields.next().is_none()).and_then(Parent::parse) else {
            return Self::begin(id, span_id);
        };
        let is_trusted = is_trusted();
        let flags = parent.flags & if is_trusted { SAMPLED | RANDOM } else { RANDOM };
        Self { trace_id: parent.trace_id, span_id, parent: Some(parent.span_id), flags, is_trusted }
    }

    /// Decides whether the gateway records the trace. A client that is not trusted can choose a trace id, so the request's
    /// own id decides instead.
    pub(crate) fn decide(&mut self, tracer: &Tracer, id: RequestId) -> bool {
        let client = self.is_trusted.then_some(self.flags & SAMPLED != 0);
        let deciding = if self.is_trusted { self.trace_id } else { TraceId::own(*id.as_bytes()) };
        let sampled = tracer.samples(&deciding, client);
        self.flags = if sampled { self.flags | SAMPLED } else { self.flags & !SAMPLED };
        sampled
    }

    /// Returns the id of the gateway's span.
    pub(crate) fn span_id(&self) -> SpanId {
        self.span_id
    }

    /// Returns where the gateway's span belongs.
    pub(crate) fn lineage(&self) -> Lineage {
        Lineage { trace_id: self.trace_id, parent: self.parent, has_remote_parent: self.parent.is_some() }
    }

    /// Returns the scope of work within the gateway's span.
    pub(crate) fn recorded(&self, scope: RequestScope) -> RequestScope {
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
        self.parent?;
        state::of_fields(headers.get_all(TRACESTATE).iter())
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
mod tests {
    use super::*;
    use crate::request::request_id::RequestIds;
    use portcullis_model::Random;

    const TRACE: &str = "12345678901234567890123456789012";

    fn id() -> RequestId {
        RequestIds::new(&Random::system()).next().0
    }

    fn headers(fields: &[(&str, &str)]) -> HeaderMap {
        let parsed = |(name, value): &(&str, &str)| {
            let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
            (name, HeaderValue::from_str(value).expect("a value"))
        };
        let mut headers = HeaderMap::new();
        for (name, value) in fields.iter().map(parsed) {
            headers.append(name, value);
        }
        headers
    }

    /// The context after these fields of an untrusted client.
    fn context(fields: &[(&str, &str)]) -> TraceContext {
        TraceContext::of_request(&headers(fields), id(), SpanId::new(0xabc), || false)
    }

    /// Whether a client's `traceparent` is continued.
    fn is_continued(traceparent: &str) -> bool {
        context(&[("traceparent", traceparent)]).trace_id() == TRACE
    }

    #[test]
    fn a_request_without_a_trace_begins_one() {
        let id = id();
        let context = TraceContext::of_request(&HeaderMap::new(), id, SpanId::new(0xabc), || true);
        assert_eq!(&context.traceparent(), format!("00-{id}-0000000000000abc-02").as_bytes());
    }

    #[test]
    fn a_valid_trace_is_continued_with_our_span() {
        let context = context(&[("traceparent", &format!("00-{TRACE}-1234567890123456-00"))]);
        assert_eq!(&context.traceparent(), format!("00-{TRACE}-0000000000000abc-00").as_bytes());
    }

    #[test]
    fn two_traceparents_begin_a_new_trace() {
        let (one, other) = (format!("00-{TRACE}-1234567890123456-01"), format!("00-{TRACE}-6543210987654321-01"));
        for second in [&one, &other] {
            let context = context(&[("traceparent", &one), ("traceparent", second), ("tracestate", "foo=1")]);
            assert_ne!(context.trace_id(), TRACE);
        }
    }

    #[test]
    fn other_names_are_no_traceparent() {
        let value = format!("00-{TRACE}-1234567890123456-01");
        for name in ["trace-parent", "trace.parent"] {
            assert_ne!(context(&[(name, &value)]).trace_id(), TRACE, "{name}");
        }
        for name in ["TraceParent", "TrAcEpArEnT", "TRACEPARENT"] {
            assert_eq!(context(&[(name, &value)]).trace_id(), TRACE, "{name}");
        }
    }

    #[test]
    fn a_version_00_has_nothing_after_its_flags() {
        for end in [".", "-what-the-future-will-be-like", "-"] {
            assert!(!is_continued(&format!("00-{TRACE}-1234567890123456-01{end}")), "{end}");
        }
    }

    #[test]
    fn a_later_version_is_read_as_far_as_version_00_goes() {
        for (value, continued) in [
            (format!("cc-{TRACE}-1234567890123456-01"), true),
            (format!("cc-{TRACE}-1234567890123456-01-what-the-future-will-be-like"), true),
            (format!("01-{TRACE}-1234567890123456-01-"), true),
            (format!("cc-{TRACE}-1234567890123456-01.what-the-future-will-be-like"), false),
            (format!("cc-{TRACE}-1234567890123456-0"), false),
            (format!("ff-{TRACE}-1234567890123456-01"), false),
            (format!("ff-{TRACE}-1234567890123456-01-more"), false),
        ] {
            assert_eq!(is_continued(&value), continued, "{value}");
        }
        let later = context(&[("traceparent", &format!("cc-{TRACE}-1234567890123456-ff-more"))]);
        assert_eq!(&later.traceparent(), format!("00-{TRACE}-0000000000000abc-02").as_bytes());
    }

    #[test]
    fn a_malformed_traceparent_begins_a_new_trace() {
        for bad in [
            // Versions of other characters, too long and too short ones.
            ".0-12345678901234567890123456789012-1234567890123456-01",
            "0.-12345678901234567890123456789012-1234567890123456-01",
            "CC-12345678901234567890123456789012-1234567890123456-01",
            "000-12345678901234567890123456789012-1234567890123456-01",
            "0000-12345678901234567890123456789012-1234567890123456-01",
            "0-12345678901234567890123456789012-1234567890123456-01",
            // Trace ids.
            "00-00000000000000000000000000000000-1234567890123456-01",
            "00-.2345678901234567890123456789012-1234567890123456-01",
            "00-1234567890123456789012345678901.-1234567890123456-01",
            "00-1234567890123456789012345678901A-1234567890123456-01",
            "00-123456789012345678901234567890123-1234567890123456-01",
            "00-1234567890123456789012345678901-1234567890123456-01",
            // Parent ids.
            "00-12345678901234567890123456789012-0000000000000000-01",
            "00-12345678901234567890123456789012-.234567890123456-01",
            "00-12345678901234567890123456789012-123456789012345.-01",
            "00-12345678901234567890123456789012-12345678901234567-01",
            "00-12345678901234567890123456789012-123456789012345-01",
            // Flags.
            "00-12345678901234567890123456789012-1234567890123456-.0",
            "00-12345678901234567890123456789012-1234567890123456-0.",
            "00-12345678901234567890123456789012-1234567890123456-001",
            "00-12345678901234567890123456789012-1234567890123456-1",
            "00-12345678901234567890123456789012-1234567890123456",
            "",
            "00-12345678901234567890123456789012-1234567890123456-01, 00-12345678901234567890123456789012-1234567890123456-01",
        ] {
            let context = context(&[("traceparent", bad), ("tracestate", "foo=1")]);
            assert_eq!(context.parent, None, "{bad}");
            let fields = headers(&[("tracestate", "foo=1")]);
            assert_eq!(context.tracestate(&fields), None, "the client's state belongs to no trace: {bad}");
        }
    }

    #[test]
    fn whitespace_around_a_traceparent_does_not_count() {
        for (before, after) in [(" ", ""), ("\t", ""), ("", " "), ("", "\t"), ("\t ", " \t")] {
            assert!(is_continued(&format!("{before}00-{TRACE}-1234567890123456-01{after}")), "{before:?} {after:?}");
        }
    }

    #[test]
    fn only_a_trusted_client_decides_on_sampling() {
        let fields = headers(&[("traceparent", &format!("00-{TRACE}-1234567890123456-03"))]);
        for (trusted, flags) in [(true, "03"), (false, "02")] {
            let context = TraceContext::of_request(&fields, id(), SpanId::new(0xabc), || trusted);
            assert_eq!(&context.traceparent(), format!("00-{TRACE}-0000000000000abc-{flags}").as_bytes());
        }
    }

    #[test]
    fn the_random_flag_of_a_continued_trace_is_kept() {
        for (theirs, ours) in [("00", "00"), ("02", "02"), ("fe", "02"), ("fc", "00")] {
            let context = context(&[("traceparent", &format!("00-{TRACE}-1234567890123456-{theirs}"))]);
            assert_eq!(&context.traceparent()[53..], ours.as_bytes(), "{theirs}");
        }
    }
}
