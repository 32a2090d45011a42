//! The checksum of a table, which does not depend on the order of its rows.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};

use crate::engine::value::Value;

/// The number of a table's rows, and the sum of their SHA-256 digests. It is a sum instead of an exclusive or, so that
/// two equal rows do not cancel each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checksum {
    /// Number of rows.
    pub rows: u64,
    lanes: [u64; 4],
}

impl Checksum {
    /// Adds a row: a value for each of its columns.
    pub fn add(&mut self, row: &[Value]) {
        let mut bytes = Vec::with_capacity(256);
        for value in row {
            encode(value, &mut bytes);
        }
        let digest = digest(&SHA256, &bytes);
        for (lane, part) in self.lanes.iter_mut().zip(digest.as_ref().chunks_exact(8)) {
            let part = part.try_into().map(u64::from_be_bytes).expect("chunks are eight bytes long");
            *lane = lane.wrapping_add(part);
        }
        self.rows += 1;
    }
}

/// Writes `123 rows (checksum 0123456789abcdef)`: the first of four parts is enough for a comparison by eye.
impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} rows (checksum {:016x})", self.rows, self.lanes[0])
    }
}

impl Checksum {
    /// Returns the whole checksum in hexadecimal.
    pub fn hex(&self) -> String {
        self.lanes.iter().map(|lane| format!("{lane:016x}")).collect()
    }
}

/// Encodes a value as its kind, its length and its content: the same bytes on both engines, and different bytes for
/// different values.
fn encode(value: &Value, bytes: &mut Vec<u8>) {
    let mut put = |kind: u8, content: Option<&[u8]>| {
        bytes.push(kind);
        match content {
            None => bytes.extend(u64::MAX.to_be_bytes()),
            Some(content) => {
                bytes.extend((content.len() as u64).to_be_bytes());
                bytes.extend(content);
            }
        }
    };
    match value {
        Value::Boolean(value) => put(b'b', value.map(|value| [u8::from(value)]).as_ref().map(<[u8; 1]>::as_slice)),
        Value::BigInt(value) => put(b'i', value.map(i64::to_be_bytes).as_ref().map(<[u8; 8]>::as_slice)),
        Value::Text(value) => put(b't', value.as_deref().map(str::as_bytes)),
        Value::Bytes(value) => put(b'y', value.as_deref()),
        Value::Uuid(value) => put(b'u', value.as_ref().map(|value| value.as_bytes().as_slice())),
        Value::Time(value) => {
            let micros = value.map(|value| value.timestamp_micros().to_be_bytes());
            put(b'd', micros.as_ref().map(<[u8; 8]>::as_slice));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(rows: &[&[Value]]) -> Checksum {
        let mut sum = Checksum::default();
        rows.iter().for_each(|row| sum.add(row));
        sum
    }

    #[test]
    fn only_the_order_of_rows_does_not_matter() {
        let text = |text: &str| Value::Text(Some(text.to_owned()));
        let (one, two): (&[Value], &[Value]) = (&[text("a"), text("b")], &[text("c"), Value::Text(None)]);
        assert_eq!(sum(&[one, two]), sum(&[two, one]));
        for other in [
            sum(&[one]),
            sum(&[one, one]),
            sum(&[one, two, two]),
            sum(&[&[text("ab"), text("")], two]),
            sum(&[one, &[text("c"), text("")]]),
            sum(&[one, &[Value::Bytes(Some(b"c".to_vec())), Value::Text(None)]]),
        ] {
            assert_ne!(sum(&[one, two]), other);
        }
    }
}
