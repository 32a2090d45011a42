//! How a lenient server may read a path that the gate has normalised.
//!
//! Some servers ignore case, remove path parameters (`/admin;x` is `/admin`), decode escapes before they match, drop
//! dots and spaces at the end of a segment, or ignore a final slash. A path that such a server would read as another
//! route's is refused: otherwise a route with a weaker policy would be a way around the stricter one.

use std::borrow::Cow;

/// Whether a lenient server may read the path differently.
pub(crate) fn may_be_read_differently(path: &str) -> bool {
    // Nearly no path has such a byte, so that all of them are looked up without a branch.
    let has_lenient_byte = path.bytes().fold(false, |found, byte| found | IS_LENIENT[usize::from(byte)]);
    let ends_with_slash = path.len() > 1 && path.ends_with('/');
    ends_with_slash || (has_lenient_byte && has_lenient_reading(path))
}

/// The bytes of which another reading may consist: an upper-case letter, `%`, `;`, and a dot at the end of a segment.
static IS_LENIENT: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0u8;
    while byte < 128 {
        table[byte as usize] = byte.is_ascii_uppercase() || matches!(byte, b'%' | b';' | b'.');
        byte += 1;
    }
    table
};

fn has_lenient_reading(path: &str) -> bool {
    path.contains(|c: char| c.is_ascii_uppercase() || matches!(c, '%' | ';'))
        || path.contains("./")
        || path.ends_with('.')
}

/// Whether the last segment has a dot: [`without_format`] may then have a reading.
pub(crate) fn may_have_format(path: &str) -> bool {
    path.bytes().rev().take_while(|byte| *byte != b'/').any(|byte| byte == b'.')
}

/// Returns the path without what a server may take for a format (`/admin.json`): one reading for each dot in the last
/// segment.
pub(crate) fn without_format(path: &str) -> impl Iterator<Item = &str> {
    let start = path.rfind('/').map_or(0, |slash| slash + 1);
    let dots = path[start..].match_indices('.').filter(|(index, _)| *index > 0);
    dots.map(move |(index, _)| &path[..start + index])
}

/// Returns the path as a lenient server reads it. `keep_slash` keeps a final slash, for a route whose template has one.
pub(crate) fn read(path: &str, keep_slash: bool) -> String {
    let mut out = String::with_capacity(path.len());
    for (index, segment) in path.split('/').enumerate() {
        let decoded = decode(segment);
        // A server that decodes before it splits reads the rest as a query or a fragment.
        let cut = decoded.split(['?', '#']).next().unwrap_or_default();
        let name = cut.split(';').next().unwrap_or_default().trim_end_matches(['.', ' ']);
        // A segment of which nothing is left is none.
        if index > 0 && (!name.is_empty() || segment.is_empty()) {
            out.push('/');
        }
        out.push_str(name);
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

/// Returns a template that lenient readings can be matched against.
pub(crate) fn read_template(template: &str) -> String {
    let segments: Vec<String> = template
        .split('/')
        .map(|segment| if segment.contains('{') { lowercase_literals(segment) } else { read(segment, true) })
        .collect();
    segments.join("/")
}

/// Lower-cases a segment, apart from the names of its parameters.
fn lowercase_literals(segment: &str) -> String {
    let mut inside = false;
    segment
        .chars()
        .map(|c| {
            inside = (inside || c == '{') && c != '}';
            if inside { c } else { c.to_ascii_lowercase() }
        })
        .collect()
}

/// Decodes escapes of ASCII characters. Braces stay escaped, because they mark parameters in a template.
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
    fn every_leniency_is_applied_at_once() {
        for (path, expected) in [
            ("/api/v1/Admin", "/api/v1/admin"),
            ("/api/v1/admin;x=1/users;y", "/api/v1/admin/users"),
            ("/api/v1/admin%3Bx", "/api/v1/admin"),
            ("/api/v1/things%3Adelete", "/api/v1/things:delete"),
            ("/api/v1/admin%3Fx/y", "/api/v1/admin"),
            ("/api/v1/admin%23", "/api/v1/admin"),
            ("/api/v1/admin/", "/api/v1/admin"),
            ("/api/v1/admin.", "/api/v1/admin"),
            ("/api/v1/admin../users%20.", "/api/v1/admin/users"),
            ("/api/v1/admin%20./users", "/api/v1/admin/users"),
            ("/api/v1/admin/...", "/api/v1/admin"),
            ("/api/v1/.../admin", "/api/v1/admin"),
            ("/%C3%89", "/%c3%89"),
            ("/", "/"),
        ] {
            assert!(may_be_read_differently(path) || path == expected, "{path}");
            assert_eq!(read(path, false), expected, "{path}");
        }
        assert_eq!(read("/a/", true), "/a/");
        assert!(!may_be_read_differently("/api/v1/projects/7"));
    }

    #[test]
    fn each_dot_of_the_last_segment_may_begin_a_format() {
        let readings = |path: &'static str| without_format(path).collect::<Vec<_>>();
        assert_eq!(readings("/a.b/admin.tar.gz"), ["/a.b/admin", "/a.b/admin.tar"]);
        assert!(may_have_format("/a.b/admin.tar.gz") && !may_have_format("/a.b/admin"));
        for path in ["/a.b/admin", "/a/.well-known", "/"] {
            assert_eq!(readings(path), [""; 0], "{path}");
        }
    }

    #[test]
    fn templates_are_read_alike_apart_from_parameters() {
        assert_eq!(read_template("/Api/{userId}/{*Rest}"), "/api/{userId}/{*Rest}");
        assert_eq!(read_template("/a%20B;v=1/c/"), "/a b/c/");
        assert_eq!(read_template("/a%7Bid%7D"), "/a%7bid%7d");
    }
}
