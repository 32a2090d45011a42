//! The request target an upstream sees.

use http::Uri;
use portcullis_gate::Permit;
use portcullis_model::policy::Forwarding;

use crate::error::ProxyError;

/// The gate's path without the route's prefix, and the query without `_csrf`: the parts that make up the target.
pub(crate) fn target<'a>(
    permit: &'a Permit,
    forwarding: &Forwarding,
    original: &'a Uri,
) -> Result<[&'a str; 3], ProxyError> {
    let path = stripped(permit.path(), forwarding.strip_prefix.as_deref());
    // Nearly always nothing changed: then it has been looked at already.
    if let Some(same) = original.path_and_query()
        && same.path() == path
        && same.query() == permit.query()
    {
        return Ok([same.as_str(), "", ""]);
    }
    let parts = match permit.query() {
        Some(query) if !query.is_empty() => [path, "?", query],
        _ => [path, "", ""],
    };
    // It goes over the wire as it is, so nothing in it may end the request line or begin a fragment.
    let is_plain = |part: &str| part.bytes().all(|byte| byte > b' ' && byte != b'#' && byte != 0x7f);
    if parts.into_iter().all(is_plain) { Ok(parts) } else { Err(ProxyError::Target) }
}

/// Takes a prefix off at a segment's border; what is left always begins with `/`.
fn stripped<'a>(path: &'a str, prefix: Option<&str>) -> &'a str {
    let rest = prefix.and_then(|prefix| path.strip_prefix(prefix.trim_end_matches('/')));
    match rest {
        Some("") => "/",
        Some(rest) if rest.starts_with('/') => rest,
        _ => path,
    }
}

#[cfg(test)]
mod tests {
    use super::stripped;

    #[test]
    fn a_prefix_is_taken_off_whole_segments_only() {
        assert_eq!(stripped("/api/v1/projects/7", Some("/api/v1")), "/projects/7");
        assert_eq!(stripped("/api/v1/projects/7", Some("/api/v1/")), "/projects/7");
        assert_eq!(stripped("/api/v1", Some("/api/v1")), "/");
        assert_eq!(stripped("/api/v10/x", Some("/api/v1")), "/api/v10/x");
        assert_eq!(stripped("/api/v1/x", None), "/api/v1/x");
    }
}
