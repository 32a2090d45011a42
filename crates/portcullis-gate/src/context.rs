//! What is known of a request from its first phase to its answer.

use std::sync::Arc;

use http::Uri;
use http::header::HeaderValue;
use portcullis_telemetry::InFlight;

use crate::config::GateConfig;
use crate::limits::Standing;
use crate::request_id::RequestId;

/// What is known of a request whether it is permitted or not.
pub struct Context {
    pub(crate) config: Arc<GateConfig>,
    pub(crate) request_id: RequestId,
    pub(crate) client_request_id: Option<HeaderValue>,
    pub(crate) uri: Uri,
    pub(crate) accept: Option<HeaderValue>,
    pub(crate) flight: Option<InFlight>,
    pub(crate) allowed_origin: Option<HeaderValue>,
    pub(crate) preflight: bool,
    pub(crate) ambiguous: bool,
    pub(crate) version: Option<usize>,
    pub(crate) standing: Option<Standing>,
    /// Whether the answer gets the headers that tell browsers to be careful.
    pub(crate) careful: bool,
}

impl Context {
    /// The path as the client wrote it.
    pub fn raw_path(&self) -> &str {
        self.uri.path()
    }

    /// Our name for the request.
    pub fn request_id(&self) -> &RequestId {
        &self.request_id
    }

    /// The client's own name for it, for logs.
    pub fn client_request_id(&self) -> Option<&str> {
        self.client_request_id.as_ref().and_then(|value| value.to_str().ok())
    }

    /// The route's template, or `unmatched`.
    pub fn route(&self) -> &str {
        self.flight.as_ref().map_or("unmatched", InFlight::template)
    }

    /// Whether the client prefers a problem document (RFC 9457) to the envelope.
    pub fn prefers_problem(&self) -> bool {
        let Some(accept) = self.accept.as_ref().and_then(|value| value.to_str().ok()) else { return false };
        let quality = |wanted: &str| {
            accept
                .split(',')
                .filter_map(|range| {
                    let mut parts = range.split(';').map(str::trim);
                    parts.next().filter(|kind| kind.eq_ignore_ascii_case(wanted))?;
                    let q = parts.find_map(|p| p.strip_prefix("q=")).and_then(|q| q.parse::<f32>().ok());
                    Some(q.unwrap_or(1.0))
                })
                .fold(0.0f32, f32::max)
        };
        let problem = quality("application/problem+json");
        problem > 0.0 && problem >= quality("application/json")
    }
}

/// A client's own request id, if it is one that can be logged (contract §1).
pub(crate) fn is_client_request_id(value: &HeaderValue) -> bool {
    let bytes = value.as_bytes();
    (1..=64).contains(&bytes.len()) && bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_request_id_is_kept_only_if_it_can_be_logged() {
        for (id, kept) in [
            ("abc-1.2_3", true),
            ("", false),
            ("a b", false),
            ("a\tb", false),
            (&"x".repeat(64), true),
            (&"x".repeat(65), false),
        ] {
            assert_eq!(is_client_request_id(&HeaderValue::from_str(id).expect("a value")), kept, "{id:?}");
        }
    }
}
