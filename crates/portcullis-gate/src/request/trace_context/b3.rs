//! B3 (github.com/openzipkin/b3-propagation): the trace of a request in one field, `b3`, or in several, `X-B3-…`. The single
//! field counts before the others. What is malformed or there twice counts for nothing.

use http::{HeaderMap, HeaderName, HeaderValue};
use portcullis_telemetry::traces::{SpanId, TraceId};

// Constants, because a name given as text is parsed at every look-up.
const SINGLE: HeaderName = HeaderName::from_static("b3");
const TRACE_ID: HeaderName = HeaderName::from_static("x-b3-traceid");
const SPAN_ID: HeaderName = HeaderName::from_static("x-b3-spanid");
const SAMPLED: HeaderName = HeaderName::from_static("x-b3-sampled");
const FLAGS: HeaderName = HeaderName::from_static("x-b3-flags");

/// Whether a field is one of B3, by its name in lower case.
pub fn is_b3_field(name: &str) -> bool {
    name == "b3"
        || name
            .strip_prefix("x-b3-")
            .is_some_and(|end| matches!(end, "traceid" | "spanid" | "parentspanid" | "sampled" | "flags"))
}

/// What the fields say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct B3 {
    /// The trace and the client's span; `None` if the client leaves the trace to us.
    pub(super) ids: Option<(TraceId, SpanId)>,
    /// Whether the client records the trace; `None` if it leaves that to us.
    pub(super) sampled: Option<bool>,
    /// Whether the trace is to be recorded in any case.
    pub(super) is_debug: bool,
}

impl B3 {
    pub(super) fn of_headers(headers: &HeaderMap) -> Option<Self> {
        match only(headers, &SINGLE)? {
            Some(field) => Self::parse_single(field),
            None => Self::parse_several(headers),
        }
    }

    /// Reads `{trace id}-{span id}[-{sampling state}[-{parent span id}]]`, or a sampling state alone.
    fn parse_single(field: &[u8]) -> Option<Self> {
        let mut parts = field.split(|byte| *byte == b'-');
        let first = parts.next()?;
        let Some(span) = parts.next() else { return Self::decision(first) };
        let ids = Some((trace_id(first)?, SpanId::from_digits(span)?));
        let state = parts.next().map_or(Some(Self { ids: None, sampled: None, is_debug: false }), Self::decision)?;
        if let Some(parent) = parts.next() {
            SpanId::from_digits(parent)?;
        }
        parts.next().is_none().then_some(Self { ids, ..state })
    }

    fn parse_several(headers: &HeaderMap) -> Option<Self> {
        let state = match (only(headers, &FLAGS)?, only(headers, &SAMPLED)?) {
            (Some(b"1"), _) => Self::decision(b"d")?,
            (_, Some(state)) => Self::decision(state).filter(|state| !state.is_debug)?,
            (_, None) => Self { ids: None, sampled: None, is_debug: false },
        };
        match (only(headers, &TRACE_ID)?, only(headers, &SPAN_ID)?) {
            (Some(trace), Some(span)) => {
                Some(Self { ids: Some((trace_id(trace)?, SpanId::from_digits(span)?)), ..state })
            }
            (None, None) => Some(state).filter(|state| state.sampled.is_some()),
            _ => None,
        }
    }

    /// Reads a sampling state. Early tracers wrote words.
    fn decision(state: &[u8]) -> Option<Self> {
        let (sampled, is_debug) = match state {
            b"1" | b"true" => (true, false),
            b"0" | b"false" => (false, false),
            b"d" => (true, true),
            _ => return None,
        };
        Some(Self { ids: None, sampled: Some(sampled), is_debug })
    }
}

/// The value of a field, or none. `None` if it is there twice.
fn only<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<Option<&'h [u8]>> {
    let mut values = headers.get_all(name).iter().map(HeaderValue::as_bytes);
    let first = values.next();
    values.next().is_none().then_some(first)
}

/// Reads a trace id of 128 bits, or of 64.
fn trace_id(digits: &[u8]) -> Option<TraceId> {
    let mut padded = [b'0'; 32];
    if digits.len() == 16 {
        padded[16..].copy_from_slice(digits);
        return TraceId::from_digits(&padded);
    }
    TraceId::from_digits(digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "80f198ee56343ba864fe8b2a57d3eff7";
    const SPAN: &str = "e457b5a2e4d86bd1";

    fn read(fields: &[(&'static str, &str)]) -> Option<B3> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_str(value).expect("a value"));
        }
        B3::of_headers(&headers)
    }

    /// The trace, the span and the decision of fields that name all.
    fn ids(found: Option<B3>) -> Option<(String, u64, Option<bool>, bool)> {
        let B3 { ids: Some((trace, span)), sampled, is_debug } = found? else { return None };
        Some((trace.to_string(), span.get(), sampled, is_debug))
    }

    #[test]
    fn the_single_field_has_a_trace_a_span_and_a_decision() {
        for (end, sampled, is_debug) in [
            ("", None, false),
            ("-0", Some(false), false),
            ("-1", Some(true), false),
            ("-d", Some(true), true),
            ("-1-05e3ac9a4f6e3b90", Some(true), false),
        ] {
            let found = read(&[("b3", &format!("{TRACE}-{SPAN}{end}"))]);
            assert_eq!(ids(found), Some((TRACE.to_owned(), 0xe457_b5a2_e4d8_6bd1, sampled, is_debug)), "{end}");
        }
        let (short, _, _, _) = ids(read(&[("b3", &format!("{}-{SPAN}", &TRACE[16..]))])).expect("64 bits");
        assert_eq!(short, "000000000000000064fe8b2a57d3eff7");
    }

    #[test]
    fn several_fields_say_the_same() {
        let both = [("x-b3-traceid", TRACE), ("x-b3-spanid", SPAN), ("x-b3-parentspanid", "05e3ac9a4f6e3b90")];
        for (more, sampled, is_debug) in [
            (None, None, false),
            (Some(("x-b3-sampled", "0")), Some(false), false),
            (Some(("x-b3-sampled", "true")), Some(true), false),
            (Some(("x-b3-flags", "1")), Some(true), true),
        ] {
            let fields: Vec<_> = both.into_iter().chain(more).collect();
            assert_eq!(ids(read(&fields)), Some((TRACE.to_owned(), 0xe457_b5a2_e4d8_6bd1, sampled, is_debug)));
        }
    }

    #[test]
    fn a_decision_alone_leaves_the_trace_to_us() {
        for fields in [[("b3", "0")], [("x-b3-sampled", "0")]] {
            assert_eq!(read(&fields), Some(B3 { ids: None, sampled: Some(false), is_debug: false }));
        }
        assert_eq!(read(&[]), None);
    }

    #[test]
    fn malformed_fields_count_for_nothing() {
        let long = "a".repeat(100_000);
        let good = format!("{TRACE}-{SPAN}-1");
        for bad in [
            "",
            "-",
            "2",
            TRACE,
            &format!("{TRACE}-"),
            &format!("{TRACE}-{SPAN}-"),
            &format!("{TRACE}-{SPAN}-x"),
            &format!("{TRACE}-{SPAN}-1-"),
            &format!("{TRACE}-{SPAN}-1-{SPAN}-1"),
            &format!("{}-{SPAN}", TRACE.to_uppercase()),
            &format!("{}-{SPAN}", "0".repeat(32)),
            &format!("{TRACE}-{}", "0".repeat(16)),
            &format!("{}-{SPAN}", &TRACE[1..]),
            &long,
        ] {
            assert_eq!(read(&[("b3", bad)]), None, "{bad:.80}");
            // A malformed single field is not mended by the others.
            assert_eq!(read(&[("b3", bad), ("x-b3-traceid", TRACE), ("x-b3-spanid", SPAN)]), None, "{bad:.80}");
        }
        assert_eq!(read(&[("b3", &good), ("b3", &good)]), None);
        for bad in [
            &[("x-b3-traceid", TRACE)][..],
            &[("x-b3-spanid", SPAN)],
            &[("x-b3-traceid", TRACE), ("x-b3-traceid", TRACE), ("x-b3-spanid", SPAN)],
            &[("x-b3-traceid", TRACE), ("x-b3-spanid", SPAN), ("x-b3-sampled", "d")],
            &[("x-b3-traceid", long.as_str()), ("x-b3-spanid", SPAN)],
        ] {
            assert_eq!(read(bad), None, "{bad:.80?}");
        }
    }
}
