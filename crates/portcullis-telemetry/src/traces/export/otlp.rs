//! The messages of OTLP (opentelemetry-proto 1.x, `collector/trace/v1` and `trace/v1`).

use super::protobuf::{Message, Value, next_field};
use crate::traces::span::{AttributeValue, SpanRecord};

/// The trace is recorded (W3C), and the two bits that say where the parent is.
const FLAG_SAMPLED: u32 = 0x01;
const FLAG_REMOTE_KNOWN: u32 = 0x100;
const FLAG_REMOTE: u32 = 0x200;
/// The bytes of a usual span, rather too many.
const SPAN_BYTES: usize = 640;
/// `STATUS_CODE_ERROR`.
const ERROR: u64 = 2;

/// Writes an `ExportTraceServiceRequest` with these spans.
pub(super) fn request(resource: &[(String, String)], version: &str, spans: &[Box<SpanRecord>]) -> Vec<u8> {
    let mut request = Message::with_capacity(1024 + spans.len() * SPAN_BYTES);
    request.message(1, |of_resource| {
        of_resource.message(1, |message| {
            for (key, value) in resource {
                message.message(1, |attribute| {
                    attribute.text(1, key);
                    attribute.message(2, |any| any.bytes_or_empty(1, value.as_bytes()));
                });
            }
        });
        of_resource.message(2, |of_scope| {
            of_scope.message(1, |scope| {
                scope.text(1, "portcullis");
                scope.text(2, version);
            });
            for span in spans {
                of_scope.message(2, |message| write_span(message, span));
            }
        });
    });
    request.into_bytes()
}

fn write_span(message: &mut Message, span: &SpanRecord) {
    message.bytes(1, &span.trace_id.to_bits().to_be_bytes());
    message.bytes(2, &span.span_id.get().to_be_bytes());
    if let Some(parent) = span.parent {
        message.bytes(4, &parent.get().to_be_bytes());
    }
    message.text(5, &span.name);
    message.number(6, span.kind as u64);
    message.fixed64(7, span.start);
    message.fixed64(8, span.end);
    for (key, value) in &span.attributes {
        message.message(9, |attribute| {
            attribute.text(1, key);
            attribute.message(2, |any| match value {
                AttributeValue::Text(text) => any.bytes_or_empty(1, text.as_bytes()),
                AttributeValue::Shared(text) => any.bytes_or_empty(1, text.as_bytes()),
                AttributeValue::Number(number) => any.number(3, number.cast_unsigned()),
            });
        });
    }
    for (trace_id, span_id) in &span.links {
        message.message(13, |link| {
            link.bytes(1, &trace_id.to_bits().to_be_bytes());
            link.bytes(2, &span_id.get().to_be_bytes());
        });
    }
    if span.has_failed {
        message.message(15, |status| status.number(3, ERROR));
    }
    let remote = if span.has_remote_parent { FLAG_REMOTE } else { 0 };
    message.fixed32(16, FLAG_SAMPLED | FLAG_REMOTE_KNOWN | remote);
}

/// Reads from an `ExportTraceServiceResponse` how many spans the collector rejected, and why.
pub(super) fn rejected(mut response: &[u8]) -> (u64, String) {
    let (mut count, mut reason) = (0, String::new());
    while let Some((field, value)) = next_field(&mut response) {
        let (1, Value::Bytes(mut partial)) = (field, value) else { continue };
        while let Some(field) = next_field(&mut partial) {
            match field {
                (1, Value::Number(number)) => count = number,
                (2, Value::Bytes(text)) => reason = String::from_utf8_lossy(text).into_owned(),
                _ => {}
            }
        }
    }
    (count, reason)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::traces::{SpanId, SpanKind, TraceId};

    /// The values of a field of a message.
    fn values<'b>(mut message: &'b [u8], wanted: u32) -> Vec<Value<'b>> {
        let mut found = Vec::new();
        while let Some((field, value)) = next_field(&mut message) {
            if field == wanted {
                found.push(value);
            }
        }
        assert!(message.is_empty(), "malformed after {found:?}");
        found
    }

    /// The bytes of the only field of this number.
    fn only(message: &[u8], field: u32) -> &[u8] {
        match values(message, field)[..] {
            [Value::Bytes(bytes)] => bytes,
            ref other => panic!("field {field} is {other:?}"),
        }
    }

    fn record() -> SpanRecord {
        SpanRecord {
            begun: std::time::Instant::now(),
            trace_id: TraceId::own(*b"0af7651916cd43dd8448eb211c80319c"),
            span_id: SpanId::new(0x0102_0304_0506_0708),
            parent: Some(SpanId::new(9)),
            has_remote_parent: true,
            name: "GET /things".into(),
            kind: SpanKind::Server,
            start: 1_700_000_000_000_000_000,
            end: 1_700_000_000_000_000_500,
            links: vec![(TraceId::own([b'1'; 32]), SpanId::new(5))],
            attributes: vec![("http.response.status_code", 500_u16.into()), ("url.query", "".into())],
            has_failed: true,
        }
    }

    #[test]
    fn a_span_is_written_with_its_ids_times_and_attributes() {
        let resource = [("service.name".to_owned(), "gate".to_owned())];
        let request = request(&resource, "1.2", &[Box::new(record()), Box::new(record())]);
        let of_resource = only(&request, 1);
        let attribute = only(only(of_resource, 1), 1);
        assert_eq!(only(attribute, 1), b"service.name");
        assert_eq!(only(only(attribute, 2), 1), b"gate");
        let of_scope = only(of_resource, 2);
        assert_eq!(only(only(of_scope, 1), 2), b"1.2");
        let spans = values(of_scope, 2);
        assert_eq!(spans.len(), 2);
        let Value::Bytes(span) = spans[0] else { panic!("a span is a message") };
        assert_eq!(only(span, 1), 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c_u128.to_be_bytes());
        assert_eq!(only(span, 2), [1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(only(span, 4), [0, 0, 0, 0, 0, 0, 0, 9]);
        assert_eq!(only(span, 5), b"GET /things");
        assert_eq!(values(span, 6), [Value::Number(2)]);
        assert_eq!(values(span, 7), [Value::Number(1_700_000_000_000_000_000)]);
        assert_eq!(values(span, 8), [Value::Number(1_700_000_000_000_000_500)]);
        let attributes = values(span, 9);
        let (Value::Bytes(status), Value::Bytes(empty)) = (&attributes[0], &attributes[1]) else { panic!("messages") };
        assert_eq!(values(only(status, 2), 3), [Value::Number(500)]);
        assert_eq!(only(only(empty, 2), 1), b"", "an empty text is a text");
        assert_eq!(only(only(span, 13), 1), [0x11; 16]);
        assert_eq!(only(only(span, 13), 2), [0, 0, 0, 0, 0, 0, 0, 5]);
        assert_eq!(values(only(span, 15), 3), [Value::Number(2)]);
        assert_eq!(values(span, 16), [Value::Number(0x301)]);
    }

    #[test]
    fn a_partial_success_says_how_many_spans_were_rejected() {
        assert_eq!(rejected(b""), (0, String::new()));
        assert_eq!(rejected(b"\x0a\x07\x08\x03\x12\x03old"), (3, "old".to_owned()));
        assert_eq!(rejected(b"<html>").0, 0);
    }
}
