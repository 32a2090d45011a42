//! The cookies of a client that an upstream gets.

use http::header::{COOKIE, HeaderMap, HeaderValue};
use portcullis_gate::CookieName;

use crate::http1::RequestHead;

/// Writes the client's cookies without the gateway's own ones.
pub(super) fn write(head: &mut RequestHead, client_headers: &HeaderMap) {
    let ours =
        |value: &HeaderValue| value.as_bytes().windows(10).any(|window| window.eq_ignore_ascii_case(b"portcullis"));
    let lines = client_headers.get_all(COOKIE);
    if !lines.iter().any(ours) {
        for value in &lines {
            head.field(&COOKIE, value);
        }
        return;
    }
    let mut kept: Vec<&str> = Vec::new();
    for line in &lines {
        // A line that is not ASCII might hide one of our cookies, so all of it is left out.
        let Ok(line) = line.to_str() else { continue };
        kept.extend(line.split(';').map(str::trim).filter(|pair| {
            let name = pair.split('=').next().unwrap_or_default().trim();
            !pair.is_empty() && !CookieName::all_spellings().any(|ours| name.eq_ignore_ascii_case(ours))
        }));
    }
    if !kept.is_empty() {
        head.field(
            &COOKIE,
            &HeaderValue::try_from(kept.join("; ")).expect("parts of a header value are a header value"),
        );
    }
}

#[cfg(test)]
mod tests {
    use http::header::HeaderName;

    use super::*;

    fn headers(list: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in list {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn sr_42_our_cookies_reach_no_upstream() {
        let passed_on = |cookies: &[(&'static str, &'static str)]| {
            let mut head = RequestHead::new(Vec::new(), &http::Method::GET, &["/"]);
            write(&mut head, &headers(cookies));
            let head = String::from_utf8(head.finish()).expect("text");
            head.lines().filter_map(|line| line.strip_prefix("cookie: ")).map(str::to_owned).collect::<Vec<_>>()
        };
        let mixed = [
            ("cookie", "a=1; portcullis-session=s; __Host-portcullis-csrf=c"),
            ("cookie", "b=2; PORTCULLIS-REFRESH=r"),
        ];
        assert_eq!(passed_on(&mixed), ["a=1; b=2"]);
        assert!(passed_on(&[("cookie", "portcullis-pre=1")]).is_empty());
        assert_eq!(passed_on(&[("cookie", "a=1"), ("cookie", "b=2")]), ["a=1", "b=2"], "theirs stay as they are");
    }
}
