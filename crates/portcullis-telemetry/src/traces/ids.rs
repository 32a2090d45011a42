//! The ids of traces and spans (W3C Trace Context §3.2).

use std::fmt;
use std::num::NonZeroU64;

/// Bytes of a trace id as text: 32 hexadecimal digits.
const TRACE_ID_BYTES: usize = 32;

/// The id of a trace: 32 lower-case hexadecimal digits, not all zero. It is kept as text, because it comes as text and
/// goes as text: only an exported span has its 16 bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TraceId([u8; TRACE_ID_BYTES]);

impl TraceId {
    /// Takes 32 hexadecimal digits, unless one is none, is a capital, or all are zero.
    pub fn from_digits(digits: &[u8]) -> Option<Self> {
        let digits: [u8; TRACE_ID_BYTES] = digits.try_into().ok()?;
        (digits.iter().all(|digit| is_lower_hex(*digit)) && digits != [b'0'; TRACE_ID_BYTES]).then_some(Self(digits))
    }

    /// Takes the digits of an id that we made ourselves, such as a request id.
    pub const fn own(digits: [u8; TRACE_ID_BYTES]) -> Self {
        Self(digits)
    }

    /// The digits as ASCII.
    pub fn as_bytes(&self) -> &[u8; TRACE_ID_BYTES] {
        &self.0
    }

    /// The 128 bits.
    pub(super) fn to_bits(self) -> u128 {
        let (high, low) = self.0.split_at(TRACE_ID_BYTES / 2);
        u128::from(bits(high)) << 64 | u128::from(bits(low))
    }

    /// The last 64 bits.
    pub(super) fn low_bits(&self) -> u64 {
        bits(&self.0[TRACE_ID_BYTES / 2..])
    }

    /// The digits.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("hexadecimal digits are ASCII")
    }
}

impl fmt::Debug for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The id of a span: 64 bits, not all zero.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SpanId(NonZeroU64);

impl SpanId {
    /// Makes an id of a number; of zero, which is no id, the number 1.
    pub fn new(number: u64) -> Self {
        Self(NonZeroU64::new(number).unwrap_or(NonZeroU64::MIN))
    }

    /// Takes 16 hexadecimal digits, unless one is none, is a capital, or all are zero.
    pub fn from_digits(digits: &[u8]) -> Option<Self> {
        if digits.len() != 16 || !digits.iter().all(|digit| is_lower_hex(*digit)) {
            return None;
        }
        let number = u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
        NonZeroU64::new(number).map(Self)
    }

    /// The number.
    pub fn get(self) -> u64 {
        self.0.get()
    }

    /// The 16 hexadecimal digits as ASCII.
    pub fn digits(self) -> [u8; 16] {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut out = [0; 16];
        for (pair, byte) in out.chunks_exact_mut(2).zip(self.get().to_be_bytes()) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 15)];
        }
        out
    }
}

impl fmt::Debug for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.get())
    }
}

/// Reads 16 lower-case hexadecimal digits. Whether a request is recorded depends on them, so they are read without branches.
fn bits(digits: &[u8]) -> u64 {
    // In ASCII the low four bits of `a` are 1, and only letters have the bit 0x40.
    digits.iter().fold(0, |bits, digit| bits << 4 | u64::from((digit & 0x0f) + 9 * (digit >> 6)))
}

fn is_lower_hex(byte: u8) -> bool {
    byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bits_of_an_id_are_those_of_its_digits() {
        let id = TraceId::from_digits(b"0af7651916cd43dd8448eb211c80319c").expect("a trace id");
        assert_eq!((id.to_bits(), id.low_bits()), (0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c, 0x8448_eb21_1c80_319c));
        let id = TraceId::from_digits(b"0123456789abcdeffedcba9876543210").expect("a trace id");
        assert_eq!((id.to_bits(), id.low_bits()), (0x0123_4567_89ab_cdef_fedc_ba98_7654_3210, 0xfedc_ba98_7654_3210));
    }

    #[test]
    fn ids_are_lower_case_digits_and_never_zero() {
        assert_eq!(
            TraceId::from_digits(b"0af7651916cd43dd8448eb211c80319c").map(|id| id.to_string()).as_deref(),
            Some("0af7651916cd43dd8448eb211c80319c")
        );
        for bad in ["", "0af7651916cd43dd8448eb211c80319", "0AF7651916CD43DD8448EB211C80319C", &"0".repeat(32)] {
            assert_eq!(TraceId::from_digits(bad.as_bytes()), None, "{bad}");
        }
        let span = SpanId::from_digits(b"00f067aa0ba902b7").expect("a span id");
        assert_eq!(&span.digits(), b"00f067aa0ba902b7");
        for bad in ["", "+0f067aa0ba902b7", "00F067AA0BA902B7", "0000000000000000"] {
            assert_eq!(SpanId::from_digits(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(SpanId::new(0).get(), 1);
    }
}
