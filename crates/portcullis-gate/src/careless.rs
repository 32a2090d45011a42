//! How a careless server may read a path that the gate has normalised.
//!
//! Some servers fold case, cut path parameters off (`/admin;x` is `/admin`),
//! decode escapes before they match, or ignore a slash at the end. A path that
//! such a server would take for another route's is refused, or the looser route
//! would be a way round the stricter one.

use std::borrow::Cow;

/// Whether a careless reading of a path may differ from the plain one.
pub(crate) fn may_differ(path: &str) -> bool {
    let bytes = path.as_bytes();
    bytes.iter().any(|byte| byte.is_ascii_uppercase() || matches!(byte, b'%' | b';'))
        || (bytes.len() > 1 && bytes.ends_with(b"/"))
}

/// The careless reading; a slash at the end stays if the route itself has one.
pub(crate) fn reading(path: &str, keep_slash: bool) -> String {
    let mut out = String::with_capacity(path.len());
    for (index, segment) in path.split('/').enumerate() {
        if index > 0 {
            out.push('/');
        }
        let decoded = decode(segment);
        // A server that decodes before it splits takes the rest for a query or a fragment.
        let cut = decoded.split(['?', '#']).next().unwrap_or_default();
        out.push_str(cut.split(';').next().unwrap_or_default());
        if cut.len() < decoded.len() {
            break;
        }
    }
    out.make_ascii_lowercase();
    while !keep_slash && out.len() > 1 && out.ends_with('/') {
        out.pop();
    }
    out
}

/// A template as careless readings are matched against it.
pub(crate) fn template(template: &str) -> String {
    let segments: Vec<String> = template
        .split('/')
        .map(|segment| if segment.contains('{') { fold_literals(segment) } else { reading(segment, true) })
        .collect();
    segments.join("/")
}

/// Lower-cases what is not a parameter.
fn fold_literals(segment: &str) -> String {
    let mut inside = false;
    segment
        .chars()
        .map(|c| {
            inside = (inside || c == '{') && c != '}';
            if inside { c } else { c.to_ascii_lowercase() }
        })
        .collect()
}

/// Decodes what stands for one ASCII character. Braces stay, they mean parameters in a template.
fn decode(segment: &str) -> Cow<'_, str> {
    if !segment.contains('%') {
        return Cow::Borrowed(segment);
    }
    let mut out = String::with_capacity(segment.len());
    let mut rest = segment;
    while let Some(index) = rest.find('%') {
        out.push_str(&rest[..index]);
        let byte = rest.get(index + 1..index + 3).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match byte {
            Some(byte) if byte.is_ascii() && !matches!(byte, b'{' | b'}') => {
                out.push(char::from(byte));
                rest = &rest[index + 3..];
            }
            _ => {
                out.push('%');
                rest = &rest[index + 1..];
            }
        }
    }
    out.push_str(rest);
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_servers_do_to_paths_is_done_all_at_once() {
        for (path, read) in [
            ("/api/v1/Admin", "/api/v1/admin"),
            ("/api/v1/admin;x=1/users;y", "/api/v1/admin/users"),
            ("/api/v1/admin%3Bx", "/api/v1/admin"),
            ("/api/v1/things%3Adelete", "/api/v1/things:delete"),
            ("/api/v1/admin%3Fx/y", "/api/v1/admin"),
            ("/api/v1/admin%23", "/api/v1/admin"),
            ("/api/v1/admin/", "/api/v1/admin"),
            ("/%C3%89", "/%c3%89"),
            ("/", "/"),
        ] {
            assert!(may_differ(path) || path == read, "{path}");
            assert_eq!(reading(path, false), read, "{path}");
        }
        assert_eq!(reading("/a/", true), "/a/");
        assert!(!may_differ("/api/v1/projects/7"));
    }

    #[test]
    fn templates_are_read_the_same_way_but_for_their_parameters() {
        assert_eq!(template("/Api/{userId}/{*Rest}"), "/api/{userId}/{*Rest}");
        assert_eq!(template("/a%20B;v=1/c/"), "/a b/c/");
        assert_eq!(template("/a%7Bid%7D"), "/a%7bid%7d");
    }
}
