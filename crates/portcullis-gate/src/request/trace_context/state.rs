//! `tracestate`: what the tracing systems on a request's way wrote for each other (W3C Trace Context, level 2, §3.3).

use std::borrow::Cow;

use http::HeaderValue;

/// The most entries of a list.
const MAX_ENTRIES: usize = 32;
/// The longest list, in bytes. The standard asks for 512 at least; servers commonly take heads of 8 KB.
const MAX_BYTES: usize = 4096;
/// The longest key and the longest value, in bytes.
const MAX_PART: usize = 256;

/// Combines the fields of a request into one. `None` if there is nothing to send: one entry is malformed, or there are too
/// many, or they are too long. Part of a list is never sent, because its entries may refer to each other.
pub(super) fn of_fields<'h>(fields: impl Iterator<Item = &'h HeaderValue>) -> Option<Cow<'h, [u8]>> {
    let mut combined: Option<Cow<'h, [u8]>> = None;
    let mut entries = 0;
    for field in fields.map(|field| field.as_bytes().trim_ascii()) {
        let mut is_empty = true;
        for entry in field.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|entry| !entry.is_empty()) {
            is_empty = false;
            entries += 1;
            if entries > MAX_ENTRIES || !is_entry(entry) {
                return None;
            }
        }
        if is_empty {
            continue;
        }
        match &mut combined {
            None => combined = Some(Cow::Borrowed(field)),
            Some(before) => {
                let before = before.to_mut();
                before.push(b',');
                before.extend_from_slice(field);
            }
        }
        if combined.as_ref().is_some_and(|combined| combined.len() > MAX_BYTES) {
            return None;
        }
    }
    combined
}

/// Whether this is a key, an equals sign and a value. The whitespace around it is gone.
fn is_entry(entry: &[u8]) -> bool {
    let Some(equals) = entry.iter().position(|byte| *byte == b'=') else { return false };
    let (key, value) = (&entry[..equals], &entry[equals + 1..]);
    let is_start = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_key_byte = |byte: &u8| is_start(byte) || b"_-*/@".contains(byte);
    let is_value_byte = |byte: &u8| (b' '..=b'~').contains(byte) && *byte != b'=';
    key.first().is_some_and(is_start)
        && key.len() <= MAX_PART
        && key.iter().all(is_key_byte)
        && (1..=MAX_PART).contains(&value.len())
        && value.iter().all(is_value_byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is sent after these fields, or an empty text.
    fn sent(fields: &[&str]) -> String {
        let fields: Vec<HeaderValue> =
            fields.iter().map(|field| HeaderValue::from_bytes(field.as_bytes()).expect("a value")).collect();
        of_fields(fields.iter()).map(|sent| String::from_utf8_lossy(&sent).into_owned()).unwrap_or_default()
    }

    fn numbered(from: usize, to: usize) -> String {
        (from..=to).map(|n| format!("bar{n:02}={n:02}")).collect::<Vec<_>>().join(",")
    }

    #[test]
    fn a_valid_list_is_passed_on() {
        for list in [
            "foo=1",
            "foo=1,bar=2",
            "foo=1,foo=2",
            "1foo=1",
            "foo@=1,bar=2",
            "foo@@bar=1,bar=2",
            "foo@bar@baz=1,bar=2",
            "foo=1 \t , \t bar=2, \t baz=3",
            "foo=1\t \t,\t \tbar=2,\t \tbaz=3",
            "foo= 1",
            "foo=1,,bar=2",
        ] {
            assert_eq!(sent(&[list]), list);
        }
        let key = "abcdefghijklmnopqrstuvwxyz0123456789_-*/";
        let value: String = (b' '..=b'~').filter(|byte| !b",=".contains(byte)).map(char::from).collect();
        for key in [key.to_owned(), format!("{key}@a-z0-9_-*/")] {
            let list = format!("{key}={value}");
            assert_eq!(sent(&[&list]), list);
        }
    }

    #[test]
    fn fields_are_combined_in_their_order() {
        assert_eq!(sent(&["foo=1,bar=2", "rojo=1,congo=2", "baz=3"]), "foo=1,bar=2,rojo=1,congo=2,baz=3");
        assert_eq!(sent(&["foo=1", "foo=1"]), "foo=1,foo=1");
    }

    #[test]
    fn whitespace_around_a_list_is_removed() {
        for field in [" foo=1", "\tfoo=1", "foo=1 ", "foo=1\t", "\t foo=1 \t"] {
            assert_eq!(sent(&[field]), "foo=1", "{field:?}");
        }
    }

    #[test]
    fn empty_fields_are_left_out() {
        assert_eq!(sent(&[""]), "");
        assert_eq!(sent(&[" , \t,"]), "");
        assert_eq!(sent(&["foo=1", ""]), "foo=1");
        assert_eq!(sent(&["", "foo=1"]), "foo=1");
    }

    #[test]
    fn one_malformed_entry_rejects_the_list() {
        for bad in
            ["foo =1", "FOO=1", "foo.bar=1", "@foo=1", "_foo=1", "=1", "foo=", "foo", "foo=1=2", "foo=a\tb", "foo=é"]
        {
            assert_eq!(sent(&[bad]), "", "{bad}");
            assert_eq!(sent(&["bar=2", bad]), "", "{bad}");
        }
    }

    #[test]
    fn a_list_has_at_most_32_entries() {
        let (first, second, third) = (numbered(1, 10), numbered(11, 20), numbered(21, 30));
        assert_eq!(sent(&[&first, &second, &third, "bar31=31,bar32=32"]), numbered(1, 32));
        assert_eq!(sent(&[&first, &second, &third, "bar31=31,bar32=32,bar33=33"]), "");
    }

    #[test]
    fn keys_and_values_have_at_most_256_bytes() {
        let longest = format!("{}={}", "z".repeat(256), "v".repeat(256));
        assert_eq!(sent(&["foo=1", &longest]), format!("foo=1,{longest}"));
        let tenant = format!("{}@{}=1", "t".repeat(241), "v".repeat(14));
        assert_eq!(sent(&["foo=1", &tenant]), format!("foo=1,{tenant}"));
        assert_eq!(sent(&["foo=1", &format!("{}=1", "z".repeat(257))]), "");
        assert_eq!(sent(&["foo=1", &format!("z={}", "v".repeat(257))]), "");
    }

    #[test]
    fn a_list_over_4096_bytes_is_not_passed_on() {
        // 16 entries of 255 bytes and the commas between them.
        let list = (0..16).map(|n| format!("{n:02}={}", "v".repeat(252))).collect::<Vec<_>>().join(",");
        assert_eq!(list.len(), 4095);
        assert_eq!(sent(&[&list]), list);
        assert_eq!(sent(&[&list, "a=1"]), "");
        assert_eq!(sent(&[&"foo=1,".repeat(17_000)]), "");
    }
}
