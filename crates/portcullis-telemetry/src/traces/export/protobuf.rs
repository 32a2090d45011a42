//! The wire format of Protocol Buffers, as far as OTLP's traces need it.

/// A message that is being written.
#[derive(Debug, Default)]
pub(super) struct Message(Vec<u8>);

impl Message {
    /// Makes an empty message with memory for so many bytes.
    pub(super) fn with_capacity(bytes: usize) -> Self {
        Self(Vec::with_capacity(bytes))
    }

    /// Adds a text. An empty one is the default and is left out.
    pub(super) fn text(&mut self, field: u32, text: &str) {
        self.bytes(field, text.as_bytes());
    }

    /// Adds bytes. None are the default and are left out.
    pub(super) fn bytes(&mut self, field: u32, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.delimited(field, bytes);
        }
    }

    /// Adds bytes, also if there are none: a text of a `oneof` is set even if it is empty.
    pub(super) fn bytes_or_empty(&mut self, field: u32, bytes: &[u8]) {
        self.delimited(field, bytes);
    }

    /// Adds a message, also if it is empty. It is written in place, and its length put before it afterwards.
    pub(super) fn message(&mut self, field: u32, write: impl FnOnce(&mut Self)) {
        self.varint(u64::from(field) << 3 | 2);
        let length_at = self.0.len();
        // One byte is enough for the length of most messages.
        self.0.push(0);
        write(self);
        let length = self.0.len() - length_at - 1;
        if length < 0x80 {
            self.0[length_at] = length as u8;
        } else {
            let mut bytes = Self::default();
            bytes.varint(length as u64);
            self.0.splice(length_at..=length_at, bytes.0);
        }
    }

    /// Adds a whole number as a varint, also if it is zero.
    pub(super) fn number(&mut self, field: u32, number: u64) {
        self.varint(u64::from(field) << 3);
        self.varint(number);
    }

    /// Adds a number of 64 bits.
    pub(super) fn fixed64(&mut self, field: u32, number: u64) {
        self.varint(u64::from(field) << 3 | 1);
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    /// Adds a number of 32 bits.
    pub(super) fn fixed32(&mut self, field: u32, number: u32) {
        self.varint(u64::from(field) << 3 | 5);
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    fn delimited(&mut self, field: u32, bytes: &[u8]) {
        self.varint(u64::from(field) << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    fn varint(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }
}

/// A field of a message that was read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Value<'b> {
    /// A varint or a number of fixed length.
    Number(u64),
    /// Bytes, a text or a message.
    Bytes(&'b [u8]),
}

/// Reads the next field of a message. `None` at its end, and if the rest is malformed.
pub(super) fn next_field<'b>(rest: &mut &'b [u8]) -> Option<(u32, Value<'b>)> {
    let tag = read_varint(rest)?;
    let value = match tag & 7 {
        0 => Value::Number(read_varint(rest)?),
        1 => Value::Number(u64::from_le_bytes(take(rest, 8)?.try_into().ok()?)),
        2 => {
            let length = usize::try_from(read_varint(rest)?).ok()?;
            Value::Bytes(take(rest, length)?)
        }
        5 => Value::Number(u32::from_le_bytes(take(rest, 4)?.try_into().ok()?).into()),
        _ => return None,
    };
    Some((u32::try_from(tag >> 3).ok()?, value))
}

fn take<'b>(rest: &mut &'b [u8], length: usize) -> Option<&'b [u8]> {
    let (taken, left) = rest.split_at_checked(length)?;
    *rest = left;
    Some(taken)
}

fn read_varint(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let byte = take(rest, 1)?[0];
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_written_as_the_specification_shows() {
        let mut message = Message::default();
        // The examples of the encoding guide: field 1 is 150, field 2 is "testing", field 3 holds the first message.
        message.number(1, 150);
        message.text(2, "testing");
        message.message(3, |inner| inner.number(1, 150));
        message.text(4, "");
        assert_eq!(message.into_bytes(), b"\x08\x96\x01\x12\x07testing\x1a\x03\x08\x96\x01");
    }

    #[test]
    fn a_message_of_any_length_is_read_again() {
        for length in [0, 1, 124, 125, 126, 127, 128, 16_380, 16_381, 16_384, 70_000] {
            let mut message = Message::default();
            message.message(1, |inner| inner.message(2, |innermost| innermost.bytes(3, &vec![7; length])));
            message.number(4, 5);
            let bytes = message.into_bytes();
            let mut rest = &bytes[..];
            let Some((1, Value::Bytes(mut inner))) = next_field(&mut rest) else { panic!("{length}") };
            let Some((2, Value::Bytes(mut innermost))) = next_field(&mut inner) else { panic!("{length}") };
            let found = next_field(&mut innermost).map_or(0, |(_, value)| match value {
                Value::Bytes(bytes) => bytes.len(),
                Value::Number(_) => 0,
            });
            assert_eq!((found, innermost.len(), inner.len()), (length, 0, 0), "{length}");
            assert_eq!(next_field(&mut rest), Some((4, Value::Number(5))), "{length}");
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let mut message = Message::default();
        message.number(1, u64::MAX);
        message.fixed64(7, 1 << 63);
        message.fixed32(16, 0x0103);
        message.bytes(2, &[7; 300]);
        let bytes = message.into_bytes();
        let mut rest = &bytes[..];
        assert_eq!(next_field(&mut rest), Some((1, Value::Number(u64::MAX))));
        assert_eq!(next_field(&mut rest), Some((7, Value::Number(1 << 63))));
        assert_eq!(next_field(&mut rest), Some((16, Value::Number(0x0103))));
        assert_eq!(next_field(&mut rest), Some((2, Value::Bytes(&[7; 300]))));
        assert_eq!(next_field(&mut rest), None);
    }

    #[test]
    fn malformed_bytes_end_the_reading() {
        for bad in [&b"\x08"[..], b"\x0a\x05ab", b"\x09\x01", b"\x0b", b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"]
        {
            let mut rest = bad;
            assert_eq!(next_field(&mut rest), None, "{bad:?}");
        }
    }
}
