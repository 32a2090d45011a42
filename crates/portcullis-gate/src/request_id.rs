//! Our own name for each request, and the W3C trace context around it.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use portcullis_model::Random;

/// 128 bits as 32 lower-case hexadecimal digits, unique to the request. Not a
/// secret: it is a random prefix for the process and a scrambled counter.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RequestId([u8; 32]);

impl RequestId {
    /// The 32 digits.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("hexadecimal digits are ASCII")
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Makes request ids without a system call each.
#[derive(Debug)]
pub(crate) struct RequestIds {
    process: u64,
    seed: u64,
    next: AtomicU64,
}

impl RequestIds {
    pub(crate) fn new(random: &Random) -> Self {
        Self {
            process: u64::from_le_bytes(random.bytes()) | 1,
            seed: u64::from_le_bytes(random.bytes()),
            next: AtomicU64::new(0),
        }
    }

    pub(crate) fn next(&self) -> RequestId {
        let count = self.next.fetch_add(1, Ordering::Relaxed);
        RequestId(hex32(self.process, scramble(self.seed.wrapping_add(count))))
    }

    /// A span id: 64 bits, never zero.
    pub(crate) fn span(&self) -> u64 {
        let count = self.next.fetch_add(1, Ordering::Relaxed);
        scramble(self.seed.wrapping_add(count)) | 1
    }
}

/// The trace a request belongs to (W3C Trace Context).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceContext {
    trace_id: [u8; 32],
    span_id: [u8; 16],
    sampled: bool,
}

impl TraceContext {
    /// Continues the client's trace with a span of ours; without one, our request id is the trace id.
    pub(crate) fn continue_from(traceparent: Option<&str>, id: RequestId, span: u64) -> Self {
        let mut span_id = [0u8; 16];
        write_hex(&mut span_id, span);
        match traceparent.and_then(parse_traceparent) {
            Some((trace_id, sampled)) => Self { trace_id, span_id, sampled },
            None => Self { trace_id: id.0, span_id, sampled: false },
        }
    }

    /// 32 hexadecimal digits.
    pub fn trace_id(&self) -> &str {
        std::str::from_utf8(&self.trace_id).expect("hexadecimal digits are ASCII")
    }

    /// The `traceparent` for the next hop.
    pub fn traceparent(&self) -> [u8; 55] {
        let mut out = *b"00-00000000000000000000000000000000-0000000000000000-00";
        out[3..35].copy_from_slice(&self.trace_id);
        out[36..52].copy_from_slice(&self.span_id);
        out[54] = if self.sampled { b'1' } else { b'0' };
        out
    }
}

/// Version 00 exactly, and later versions as far as 00 defines them.
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

/// SplitMix64's finaliser: neighbouring counters give unlike numbers.
fn scramble(n: u64) -> u64 {
    let n = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ (n >> 31)
}

fn hex32(high: u64, low: u64) -> [u8; 32] {
    let mut out = [0u8; 32];
    write_hex(&mut out[..16], high);
    write_hex(&mut out[16..], low);
    out
}

fn write_hex(out: &mut [u8], n: u64) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (index, byte) in n.to_be_bytes().into_iter().enumerate() {
        out[2 * index] = DIGITS[usize::from(byte >> 4)];
        out[2 * index + 1] = DIGITS[usize::from(byte & 15)];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_ids_differ_and_are_32_digits() {
        let ids = RequestIds::new(&Random::system());
        let seen: std::collections::HashSet<_> = (0..10_000).map(|_| ids.next().to_string()).collect();
        assert_eq!(seen.len(), 10_000);
        assert!(seen.iter().all(|id| id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit())));
    }

    #[test]
    fn a_good_trace_is_continued_and_a_bad_one_replaced() {
        let id = RequestIds::new(&Random::system()).next();
        let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let trace = TraceContext::continue_from(Some(good), id, 0xabc);
        assert_eq!(trace.trace_id(), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(&trace.traceparent(), b"00-0af7651916cd43dd8448eb211c80319c-0000000000000abc-01");
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
        let later = "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00-more";
        assert_eq!(TraceContext::continue_from(Some(later), id, 1).trace_id(), "0af7651916cd43dd8448eb211c80319c");
    }
}
