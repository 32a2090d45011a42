//! The request id: the gateway's own name for each request, in logs, responses and traces.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use portcullis_model::Random;
use portcullis_telemetry::traces::SpanId;

/// 128 bits as 32 lower-case hexadecimal digits, unique to the request. It is not a secret: half of it is random for
/// the process, the other half a scrambled counter.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RequestId(pub(crate) [u8; 32]);

impl RequestId {
    /// Returns the 32 hexadecimal digits as ASCII.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Returns the 32 hexadecimal digits.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("hexadecimal digits are ASCII")
    }
}

impl RequestId {
    /// A number from 0 to below 1 that differs from request to request, for samples.
    pub(crate) fn fraction(&self) -> f64 {
        // Seven digits are exact in a float, and they are of the scrambled counter.
        let digits = self.as_str()[25..].bytes().fold(0u32, |number, digit| {
            number << 4 | u32::from(if digit.is_ascii_digit() { digit - b'0' } else { digit - b'a' + 10 })
        });
        f64::from(digits) / f64::from(1u32 << 28)
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

/// Makes request ids without a system call for each.
#[derive(Debug)]
pub(crate) struct RequestIds {
    process: u64,
    seed: u64,
    span_seed: u64,
    next: AtomicU64,
}

impl RequestIds {
    pub(crate) fn new(random: &Random) -> Self {
        Self {
            process: u64::from_le_bytes(random.bytes()) | 1,
            seed: u64::from_le_bytes(random.bytes()),
            span_seed: u64::from_le_bytes(random.bytes()),
            next: AtomicU64::new(0),
        }
    }

    /// Returns a request id, and the id of the gateway's span for the request.
    pub(crate) fn next(&self) -> (RequestId, SpanId) {
        let count = self.next.fetch_add(1, Ordering::Relaxed);
        let id = hex32(self.process, mix(self.seed.wrapping_add(count)));
        (RequestId(id), SpanId::new(mix(self.span_seed.wrapping_add(count))))
    }
}

/// SplitMix64's finaliser, which makes unlike numbers of neighbouring counters.
fn mix(n: u64) -> u64 {
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
    fn request_ids_are_32_hex_digits_and_all_different() {
        let ids = RequestIds::new(&Random::system());
        let seen: std::collections::HashSet<_> = (0..10_000).map(|_| ids.next().0.to_string()).collect();
        assert_eq!(seen.len(), 10_000);
        assert!(seen.iter().all(|id| id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit())));
    }
}
