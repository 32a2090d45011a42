//! Web origins, and the ones whose pages may read responses (docs/contract.md, "CORS"; SR-29).

use std::collections::HashSet;

/// An origin as a browser writes it: scheme, host, and the port unless it is the scheme's default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin(Box<str>);

impl Origin {
    /// Returns the origin of a URL, or `None` for a URL without a host.
    pub fn of(url: &url::Url) -> Option<Self> {
        let origin = url.origin();
        origin.is_tuple().then(|| Self(origin.ascii_serialization().into()))
    }

    /// Returns the text that a browser sends in `Origin`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The origins, other than the gateway's own, whose pages may read responses and send requests by cookie.
#[derive(Clone, Debug, Default)]
pub struct AllowedOrigins {
    exact: HashSet<Box<str>>,
}

impl AllowedOrigins {
    /// Takes the origins exactly as browsers send them.
    pub fn new(origins: impl IntoIterator<Item = String>) -> Self {
        Self { exact: origins.into_iter().map(Into::into).collect() }
    }

    /// Whether exactly this origin is allowed. `null` never is.
    pub fn allows(&self, origin: &str) -> bool {
        !self.exact.is_empty() && self.exact.contains(origin)
    }

    /// Whether no origin is allowed, so that no response depends on the request's origin.
    pub(crate) fn is_empty(&self) -> bool {
        self.exact.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sr_29_origins_are_compared_exactly() {
        let allowed = AllowedOrigins::new(["https://app.example.com".to_owned()]);
        assert!(allowed.allows("https://app.example.com"));
        for other in
            ["http://app.example.com", "https://app.example.com:443", "https://app.example.com.evil", "null", "", "*"]
        {
            assert!(!allowed.allows(other), "{other}");
        }
        assert!(!AllowedOrigins::default().allows("null"));
    }
}
