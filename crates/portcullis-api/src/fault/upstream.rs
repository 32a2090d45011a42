//! Why an upstream gave no answer, as a client sees it.

use http::{HeaderName, HeaderValue, StatusCode};
use portcullis_gate::{Malformation, Refusal};
use portcullis_proxy::ProxyError;

use super::Fault;

/// RFC 9209.
const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");

impl From<ProxyError> for Fault {
    fn from(error: ProxyError) -> Self {
        use StatusCode as S;
        let status = HeaderValue::try_from(format!("portcullis; error={}", error.proxy_status()));
        let fault = match &error {
            ProxyError::Timeout => Self::new(
                S::GATEWAY_TIMEOUT,
                "Gateway timeout",
                "The service did not answer in time.",
                "upstream.timeout",
            ),
            ProxyError::BodyTooLarge => return Self::too_large(),
            ProxyError::BodyTooSlow => return Self::body_too_slow(),
            ProxyError::ClientBody => return Self::from_body_cut(),
            ProxyError::SessionEnded => return Self::invalid_token(),
            ProxyError::Target => return Self::from(Refusal::Malformed(Malformation::Path)),
            ProxyError::UnknownUpstream(_)
            | ProxyError::Connect(_)
            | ProxyError::Broken(_)
            | ProxyError::UnexpectedUpgrade => {
                tracing::warn!(error = &error as &dyn std::error::Error, "an upstream gave no answer");
                Self::new(
                    S::BAD_GATEWAY,
                    "Bad gateway",
                    "The service behind the gateway did not answer.",
                    "upstream.bad_gateway",
                )
            }
        };
        match status {
            Ok(status) => fault.header(PROXY_STATUS, status),
            Err(_) => fault,
        }
    }
}
