//! The cookies of a client that an upstream gets.

use bytes::Bytes;
use http::header::{COOKIE, HeaderMap, HeaderValue};
use portcullis_gate::CookieName;

use crate::http1::RequestHead;

/// Writes the client's cookies without the gateway's own ones. The others are opaque bytes, and pass as they are.
pub(super) fn write(head: &mut RequestHead, client_headers: &HeaderMap) {
    let ours =
        |value: &HeaderValue| value.as_bytes().windows(10).any(|window| window.eq_ignore_ascii_case(b"portcullis"));
    let fields = client_headers.get_all(COOKIE);
    if !fields.iter().any(ours) {
        for value in &fields {
            head.field(&COOKIE, value);
        }
        return;
    }
    let pairs = fields.iter().flat_map(|field| field.as_bytes().split(|byte| *byte == b';')).map(<[u8]>::trim_ascii);
    let kept: Vec<&[u8]> = pairs.filter(|pair| !pair.is_empty() && !is_ours(pair)).collect();
    if !kept.is_empty() {
        let value = HeaderValue::from_maybe_shared(Bytes::from(kept.join(&b"; "[..])));
        head.field(&COOKIE, &value.expect("parts of header values are a header value"));
    }
}

/// Whether a pair is one of our cookies, in any case. Some servers read `=name=value` as a cookie of that name.
fn is_ours(pair: &[u8]) -> bool {
    let start = pair.iter().position(|byte| *byte != b'=' && !byte.is_ascii_whitespace()).unwrap_or(pair.len());
    let name = pair[start..].split(|byte| *byte == b'=').next().unwrap_or_default().trim_ascii();
    CookieName::all_spellings().any(|ours| name.eq_ignore_ascii_case(ours.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The cookie fields that an upstream gets.
    fn passed_on(fields: &[&[u8]]) -> Vec<String> {
        let mut headers = HeaderMap::new();
        for field in fields {
            headers.append(COOKIE, HeaderValue::from_bytes(field).expect("a value"));
        }
        let mut head = RequestHead::new(Vec::new(), &http::Method::GET, &["/"]);
        write(&mut head, &headers);
        let (head, _) = head.finish();
        let lines = head.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
        lines.filter_map(|line| line.strip_prefix(b"cookie: ")).map(|value| value.escape_ascii().to_string()).collect()
    }

    #[test]
    fn sr_42_our_cookies_reach_no_upstream() {
        let mixed: [&[u8]; 2] =
            [b"a=1; portcullis-session=s; __Host-portcullis-csrf=c", b"b=2; PORTCULLIS-REFRESH=r; =portcullis-pre=p"];
        assert_eq!(passed_on(&mixed), ["a=1; b=2"]);
        assert!(passed_on(&[b"portcullis-pre=1"]).is_empty());
        assert_eq!(passed_on(&[b"a=1", b"b=2"]), ["a=1", "b=2"], "theirs stay as they are");
    }

    #[test]
    fn sr_42_foreign_bytes_hide_none_of_our_cookies() {
        let field = b"n=Andr\xc3\xa9;portcullis-session=s; \xff=\xfe; q=\"x y\"; a=b=c==; =nameless; alone; portcullis-csrf=\xe9";
        let kept = r#"n=Andr\xc3\xa9; \xff=\xfe; q=\"x y\"; a=b=c==; =nameless; alone"#;
        assert_eq!(passed_on(&[field]), [kept]);
        assert_eq!(passed_on(&[b"a=\xe9", b"portcullis-session=s"]), [r"a=\xe9"]);
        assert_eq!(passed_on(&[b"a=\xe9"]), [r"a=\xe9"]);
    }
}
