//! Count and checksum of a table's rows, in whatever order an engine gives them.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};

use crate::engine::value::Value;

/// How many rows, and the sum of their digests. A sum and not an exclusive or, so that rows that occur twice count
/// twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    /// Rows.
    pub rows: u64,
    lanes: [u64; 4],
}

impl Sum {
    pub(crate) fn add(&mut self, row: &[Value]) {
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

/// `123 rows (checksum 0123456789abcdef)`: the first of four parts tells any two apart that people compare by eye.
impl fmt::Display for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} rows (checksum {:016x})", self.rows, self.lanes[0])
    }
}

impl Sum {
    /// All of the checksum, in hexadecimal.
    pub fn checksum(&self) -> String {
        self.lanes.iter().map(|lane| format!("{lane:016x}")).collect()
    }
}

/// The same bytes for the same value on both engines, and other bytes for any other: a kind, a length, the content.
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

    fn sum(rows: &[&[Value]]) -> Sum {
        let mut sum = Sum::default();
        rows.iter().for_each(|row| sum.add(row));
        sum
    }

    #[test]
    fn order_does_not_matter_and_everything_else_does() {
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
