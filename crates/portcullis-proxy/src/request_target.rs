//! The request target that an upstream gets (RFC 9112 §3.2).

use http::Uri;
use portcullis_gate::Permit;
use portcullis_model::policy::Forwarding;

use crate::error::ProxyError;

/// The parts of the target: the canonical path without the route's prefix, and the query without `_csrf`.
pub(crate) fn request_target<'a>(
    permit: &'a Permit,
    forwarding: &Forwarding,
    original: &'a Uri,
) -> Result<[&'a str; 3], ProxyError> {
    let path = stripped(permit.path(), forwarding.strip_prefix.as_deref());
    // Nearly always nothing changed. Then the target was checked already.
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
    // The parts are sent as they are: nothing in them may end the request line or begin a fragment.
    let is_plain = |part: &str| part.bytes().all(|byte| byte > b' ' && byte != b'#' && byte != 0x7f);
    if parts.into_iter().all(is_plain) { Ok(parts) } else { Err(ProxyError::Target) }
}

/// Removes a prefix of whole segments. The rest always begins with `/`.
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
    fn a_prefix_is_removed_in_whole_segments_only() {
        assert_eq!(stripped("/api/v1/projects/7", Some("/api/v1")), "/projects/7");
        assert_eq!(stripped("/api/v1/projects/7", Some("/api/v1/")), "/projects/7");
        assert_eq!(stripped("/api/v1", Some("/api/v1")), "/");
        assert_eq!(stripped("/api/v10/x", Some("/api/v1")), "/api/v10/x");
        assert_eq!(stripped("/api/v1/x", None), "/api/v1/x");
    }
}
