//! The trace that a request belongs to (W3C Trace Context).

use crate::request::request_id::{RequestId, write_hex};

/// The trace and the span of a request, for the next hop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceContext {
    trace_id: [u8; 32],
    span_id: [u8; 16],
    sampled: bool,
}

impl TraceContext {
    /// Continues the client's trace with a span of ours. Without a valid one, the request id becomes the trace id.
    pub(crate) fn continue_from(traceparent: Option<&str>, id: RequestId, span: u64) -> Self {
        let mut span_id = [0u8; 16];
        write_hex(&mut span_id, span);
        match traceparent.and_then(parse_traceparent) {
            Some((trace_id, sampled)) => Self { trace_id, span_id, sampled },
            None => Self { trace_id: id.0, span_id, sampled: false },
        }
    }

    /// Returns the 32 hexadecimal digits of the trace id.
    pub fn trace_id(&self) -> &str {
        std::str::from_utf8(&self.trace_id).expect("hexadecimal digits are ASCII")
    }

    pub(crate) fn id(&self) -> &[u8; 32] {
        &self.trace_id
    }

    /// Returns the `traceparent` header for the next hop.
    pub fn traceparent(&self) -> [u8; 55] {
        let mut out = *b"00-00000000000000000000000000000000-0000000000000000-00";
        out[3..35].copy_from_slice(&self.trace_id);
        out[36..52].copy_from_slice(&self.span_id);
        out[54] = if self.sampled { b'1' } else { b'0' };
        out
    }
}

/// Reads version 00 exactly, and later versions as far as version 00 defines their fields.
fn parse_traceparent(text: &str) -> Option<([u8; 32], bool)> {
    let bytes = text.as_bytes();
    let shape = bytes.len() >= 55 && bytes[2] == b'-' && bytes[35] == b'-' && bytes[52] == b'-';
    let known = bytes.len() == 55 || (shape && &bytes[..2] != b"00" && bytes[55] == b'-');
    if !shape || !known || &bytes[..2] == b"ff" {
        return None;
    }
    let lower_hex = |part: &[u8]| part.iter().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(b));
    let zero = |part: &[u8]| part.iter().all(|b| *b == b'0');
    let (trace, span, flags) = (&bytes[3..35], &bytes[36..52], &bytes[53..55]);
    if ![&bytes[..2], trace, span, flags].into_iter().all(lower_hex) || zero(trace) || zero(span) {
        return None;
    }
    let sampled = u8::from_str_radix(std::str::from_utf8(flags).ok()?, 16).ok()? & 1 == 1;
    Some((trace.try_into().ok()?, sampled))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::request_id::RequestIds;
    use portcullis_model::Random;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

    fn id() -> RequestId {
        RequestIds::new(&Random::system()).next()
    }

    #[test]
    fn a_valid_trace_is_continued_with_our_span() {
        let theirs = format!("00-{TRACE}-b7ad6b7169203331-01");
        let trace = TraceContext::continue_from(Some(&theirs), id(), 0xabc);
        assert_eq!(trace.trace_id(), TRACE);
        assert_eq!(&trace.traceparent(), format!("00-{TRACE}-0000000000000abc-01").as_bytes());
    }

    #[test]
    fn an_invalid_trace_is_replaced_by_the_request_id() {
        let id = id();
        for bad in [
            "",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x",
            "00-0af7651916cd43dd8448eb211c80319c",
        ] {
            assert_eq!(TraceContext::continue_from(Some(bad), id, 1).trace_id(), id.as_str(), "{bad}");
        }
    }

    #[test]
    fn a_later_version_is_read_as_far_as_version_00_goes() {
        let later = format!("01-{TRACE}-b7ad6b7169203331-00-more");
        assert_eq!(TraceContext::continue_from(Some(&later), id(), 1).trace_id(), TRACE);
    }
}
