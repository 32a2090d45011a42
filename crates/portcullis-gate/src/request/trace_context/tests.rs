//! What a request's fields make of its trace. The cases of the W3C are those of its test suite.

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
    TraceContext::of_request(&headers(fields), id(), SpanId::new(0xabc), Propagation::default(), || false)
}

/// Whether a client's `traceparent` is continued.
fn is_continued(traceparent: &str) -> bool {
    context(&[("traceparent", traceparent)]).trace_id() == TRACE
}

#[test]
fn a_request_without_a_trace_begins_one() {
    let id = id();
    let context = TraceContext::of_request(&HeaderMap::new(), id, SpanId::new(0xabc), Propagation::default(), || true);
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
        let context = TraceContext::of_request(&fields, id(), SpanId::new(0xabc), Propagation::default(), || trusted);
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

const B3: &str = "80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1";

/// The context after these fields where B3 counts too.
fn with_b3(fields: &[(&str, &str)], is_trusted: bool) -> TraceContext {
    let propagation = Propagation { writes_b3: true, ..Propagation::default() };
    TraceContext::of_request(&headers(fields), id(), SpanId::new(0xabc), propagation, || is_trusted)
}

#[test]
fn b3_is_continued_only_by_choice() {
    let field = ("b3", &*format!("{B3}-1"));
    assert_ne!(context(&[field]).trace_id(), &B3[..32]);
    let context = with_b3(&[field, ("tracestate", "foo=1")], false);
    assert_eq!(&context.traceparent(), format!("00-{}-0000000000000abc-00", &B3[..32]).as_bytes());
    assert_eq!(context.parent, SpanId::from_digits(&B3.as_bytes()[33..]));
    assert_eq!(context.tracestate(&headers(&[("tracestate", "foo=1")])), None, "it belongs to no traceparent");
}

#[test]
fn a_traceparent_counts_before_b3() {
    let traceparent = format!("00-{TRACE}-1234567890123456-00");
    let both = [("b3", B3), ("traceparent", &traceparent)];
    assert_eq!(with_b3(&both, false).trace_id(), TRACE);
    let b3_alone = Propagation { reads_traceparent: false, writes_b3: false, writes_b3_multi: true };
    let context = TraceContext::of_request(&headers(&both), id(), SpanId::new(0xabc), b3_alone, || false);
    assert_eq!(context.trace_id(), &B3[..32]);
}

#[test]
fn only_a_trusted_client_decides_on_sampling_by_b3() {
    for (end, state, flags) in
        [("", None, "00"), ("-0", Some(b'0'), "00"), ("-1", Some(b'1'), "01"), ("-d", Some(b'd'), "01")]
    {
        let field = format!("{B3}{end}");
        let context = with_b3(&[("b3", &field)], true);
        assert_eq!((context.b3_state(), &context.traceparent()[53..]), (state, flags.as_bytes()), "{end}");
        let untrusted = with_b3(&[("b3", &field)], false);
        assert_eq!((untrusted.b3_state(), &untrusted.traceparent()[53..]), (None, &b"00"[..]), "{end}");
    }
    let alone = with_b3(&[("b3", "1")], true);
    assert_eq!((alone.parent, alone.b3_state(), &alone.traceparent()[53..]), (None, Some(b'1'), &b"03"[..]));
}
