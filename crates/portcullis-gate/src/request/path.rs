//! Path normalisation (RFC 3986 §6.2.2): routes are matched on the normalised path, and an upstream gets the same one.
//!
//! Percent-encoded unreserved characters are decoded, the hexadecimal digits of the others are upper-cased, `//` is
//! merged and dot segments are removed. A path that two servers would read differently is refused: one with encoded
//! slashes, backslashes or control characters, with dots before a `;`, or with broken escapes.

use std::borrow::Cow;

/// The error for a path that different servers read differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the path is ambiguous")]
pub struct AmbiguousPath;

/// Returns the normalised form of a path, borrowed when the path is in that form already.
pub fn normalise(path: &str) -> Result<Cow<'_, str>, AmbiguousPath> {
    if !path.starts_with('/') {
        return Err(AmbiguousPath);
    }
    if is_clean(path) {
        return Ok(Cow::Borrowed(path));
    }
    let decoded = decode(path)?;
    remove_dot_segments(&decoded).map(Cow::Owned)
}

/// Whether a path is certainly normalised. It may be `false` for a normalised path too.
fn is_clean(path: &str) -> bool {
    let bytes = path.as_bytes();
    let mut previous = 0u8;
    for &byte in bytes {
        let suspicious = match byte {
            b'%' | b'\\' | b';' | 0..=0x20 | 0x7f.. => true,
            b'.' | b'/' => previous == b'/',
            _ => false,
        };
        if suspicious {
            return false;
        }
        previous = byte;
    }
    true
}

/// Decodes unreserved characters and upper-cases the other escapes in one pass, so that nothing is decoded twice.
fn decode(path: &str) -> Result<String, AmbiguousPath> {
    let mut out = String::with_capacity(path.len());
    let mut rest = path;
    while let Some(index) =
        rest.find(|c: char| c == '%' || c == '\\' || c.is_ascii_control() || c == ' ' || !c.is_ascii())
    {
        out.push_str(&rest[..index]);
        let escape = &rest.as_bytes()[index..];
        if escape[0] != b'%' {
            return Err(AmbiguousPath);
        }
        let digits = escape.get(1..3).ok_or(AmbiguousPath)?;
        let byte = u8::from_str_radix(std::str::from_utf8(digits).map_err(|_| AmbiguousPath)?, 16);
        let byte = byte.ok().filter(|_| digits.iter().all(u8::is_ascii_hexdigit)).ok_or(AmbiguousPath)?;
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            b'/' | b'\\' | 0..=0x1f | 0x7f => return Err(AmbiguousPath),
            // A server that decodes twice would read a second layer of encoding. `100%25` is only a name with a
            // percent sign in it.
            b'%' if is_hexadecimal_pair(escape.get(3..)) => return Err(AmbiguousPath),
            // An overlong UTF-8 form of an ASCII character (RFC 3629 §3): some decoders still
            // read `%C0%AE` as a dot.
            0xc0 | 0xc1 | 0xe0 | 0xf0 if is_overlong(byte, escape.get(3..)) => return Err(AmbiguousPath),
            _ => {
                out.push('%');
                out.push(char::from(digits[0].to_ascii_uppercase()));
                out.push(char::from(digits[1].to_ascii_uppercase()));
            }
        }
        rest = &rest[index + 3..];
    }
    out.push_str(rest);
    Ok(out)
}

fn is_hexadecimal_pair(text: Option<&[u8]>) -> bool {
    // The pair may be written in escapes itself: any escape right behind counts.
    text.is_some_and(|text| {
        matches!(text, [b'%', ..]) || matches!(text, [a, b, ..] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit())
    })
}

/// Whether `lead` and the escape after it begin an overlong UTF-8 form.
fn is_overlong(lead: u8, next: Option<&[u8]>) -> bool {
    let Some([b'%', high, low, ..]) = next else { return false };
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let Some(next) = digit(*high).zip(digit(*low)).map(|(high, low)| high * 16 + low) else { return false };
    match lead {
        0xc0 | 0xc1 => (0x80..0xc0).contains(&next),
        0xe0 => (0x80..0xa0).contains(&next),
        _ => (0x80..0x90).contains(&next),
    }
}

fn remove_dot_segments(path: &str) -> Result<String, AmbiguousPath> {
    let mut segments: Vec<&str> = Vec::new();
    let mut trailing = false;
    for segment in path[1..].split('/') {
        trailing = false;
        match segment {
            "" | "." => trailing = true,
            ".." => {
                segments.pop();
                trailing = true;
            }
            // `..;x` is a dot segment to servers that cut path parameters, `%3B` to those that decode first.
            _ => {
                let name = segment.split(';').next().unwrap_or_default();
                let name = name.split("%3B").next().unwrap_or_default();
                if name != segment && matches!(name, "" | "." | "..") {
                    return Err(AmbiguousPath);
                }
                segments.push(segment);
            }
        }
    }
    let mut out = String::with_capacity(path.len());
    for segment in &segments {
        out.push('/');
        out.push_str(segment);
    }
    if trailing || segments.is_empty() {
        out.push('/');
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn norm(path: &str) -> Option<String> {
        normalise(path).ok().map(Cow::into_owned)
    }

    #[test]
    fn every_spelling_of_a_path_becomes_one() {
        for spelling in [
            "/api/v1/admin",
            "//api/v1/admin",
            "/api//v1///admin",
            "/api/./v1/admin",
            "/api/x/../v1/admin",
            "/api/v1/%61dmin",
            "/api/v1/%61%64%6D%69%6e",
            "/api/v1/x/%2e%2e/admin",
            "/api/v1/%2E/admin",
            "/../../api/v1/admin",
        ] {
            assert_eq!(norm(spelling).as_deref(), Some("/api/v1/admin"), "{spelling}");
        }
        assert_eq!(norm("/a/b/..").as_deref(), Some("/a/"));
        assert_eq!(norm("/").as_deref(), Some("/"));
        assert_eq!(norm("/a/").as_deref(), Some("/a/"));
        assert_eq!(norm("/%c3%a9").as_deref(), Some("/%C3%A9"));
    }

    #[test]
    fn a_path_that_servers_read_differently_is_refused() {
        for ambiguous in [
            "/a%2fb",
            "/a%2Fb",
            "/a%5cb",
            "/a\\b",
            "/a%00",
            "/a%0a",
            "/a%7f",
            "/a%",
            "/a%2",
            "/a%zz",
            "/a%+1",
            "/..;/b",
            "/a/..;x=1/b",
            "/a/.;/b",
            "/;/b",
            "/a%252fb",
            "/a%252e%252e/b",
            "/a/..%3B/b",
            "/a%25%32%65",
            "/a/%c0%ae%c0%ae/b",
            "/a%C0%AFb",
            "/a/%e0%80%ae/b",
            "/a/%F0%80%80%AE/b",
            "a",
            "*",
            "/a b",
        ] {
            assert_eq!(norm(ambiguous), None, "{ambiguous}");
        }
        for fine in ["/a;v=1/b", "/100%25", "/100%25/b", "/a%25zz", "/%C3%80", "/%E0%A4%85", "/%F0%9F%98%80"] {
            assert_eq!(norm(fine).as_deref(), Some(fine));
        }
    }

    #[test]
    fn a_clean_path_is_borrowed() {
        assert!(matches!(normalise("/api/v1/files/a.txt"), Ok(Cow::Borrowed(_))));
    }

    proptest! {
        #[test]
        fn normalisation_is_idempotent_and_leaves_no_dot_segment(path in "/[a-zA-Z0-9./%;~_\\-]{0,40}") {
            if let Ok(once) = normalise(&path) {
                prop_assert_eq!(normalise(&once).map(Cow::into_owned), Ok(once.to_string()));
                prop_assert!(once.starts_with('/') && !once.contains("//"));
                prop_assert!(once.split('/').all(|segment| segment != "." && segment != ".."));
                prop_assert!(!once.to_ascii_lowercase().contains("%2f"));
            }
        }
    }
}
