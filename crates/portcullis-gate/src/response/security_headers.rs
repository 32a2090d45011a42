//! The security headers of responses (SR-29; OWASP HTTP Headers Cheat Sheet). An upstream's own headers count before
//! ours, unless the operator decides otherwise (`headers.override`).

use http::header::{
    CONTENT_SECURITY_POLICY, HeaderMap, HeaderName, HeaderValue, InvalidHeaderValue, REFERRER_POLICY,
    STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};

/// The security headers of a configuration, ready to be added.
#[derive(Clone, Debug, Default)]
pub struct SecurityHeaders {
    /// Headers and values, except those about framing.
    plain: Vec<(HeaderName, HeaderValue)>,
    /// The content security policy with `frame-ancestors`, and the same rule as `X-Frame-Options` if that can say it.
    framing: Option<(HeaderValue, Option<HeaderValue>)>,
    /// Whether ours replace an upstream's headers.
    overrides: bool,
}

/// The options of [`SecurityHeaders`]. `None` leaves a header out.
#[derive(Clone, Debug, Default)]
pub struct SecurityHeaderOptions {
    /// How long browsers use HTTPS only, in seconds (RFC 6797).
    pub hsts_seconds: Option<u64>,
    /// Whether browsers must not guess content types (`X-Content-Type-Options: nosniff`).
    pub nosniff: bool,
    /// The sources that may show responses in a frame, in the syntax of a content security policy.
    pub frame_ancestors: Option<String>,
    /// The value of `Referrer-Policy`: how much of a page's URL other sites learn.
    pub referrer_policy: Option<String>,
    /// Whether these headers replace the ones that an upstream has set.
    pub overrides: bool,
}

impl SecurityHeaders {
    /// Makes the header values, once for each configuration.
    ///
    /// # Errors
    /// Returns an error if an option holds characters that no header may hold.
    pub fn new(options: &SecurityHeaderOptions) -> Result<Self, InvalidHeaderValue> {
        let mut plain = Vec::new();
        if let Some(seconds) = options.hsts_seconds {
            plain.push((STRICT_TRANSPORT_SECURITY, HeaderValue::from_str(&format!("max-age={seconds}"))?));
        }
        if options.nosniff {
            plain.push((X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")));
        }
        if let Some(policy) = &options.referrer_policy {
            plain.push((REFERRER_POLICY, HeaderValue::from_str(policy)?));
        }
        let framing = match options.frame_ancestors.as_deref() {
            None => None,
            Some(sources) => {
                let older = match sources {
                    "'none'" => Some(HeaderValue::from_static("DENY")),
                    "'self'" => Some(HeaderValue::from_static("SAMEORIGIN")),
                    // X-Frame-Options cannot name other sources.
                    _ => None,
                };
                Some((HeaderValue::from_str(&format!("frame-ancestors {sources}"))?, older))
            }
        };
        Ok(Self { plain, framing, overrides: options.overrides })
    }

    /// Adds the headers. Unless they override, a header that an upstream has set stays.
    pub(crate) fn add_to(&self, headers: &mut HeaderMap) {
        for (name, value) in &self.plain {
            if self.overrides || !headers.contains_key(name) {
                headers.insert(name.clone(), value.clone());
            }
        }
        let Some((policy, older)) = &self.framing else { return };
        // The policy and X-Frame-Options state the same rule: an upstream that has set either has decided it.
        let decided = headers.contains_key(CONTENT_SECURITY_POLICY) || headers.contains_key(X_FRAME_OPTIONS);
        if decided && !self.overrides {
            return;
        }
        if self.overrides {
            // Browsers enforce all policies together, so the upstream's policy for everything else stays in force.
            headers.append(CONTENT_SECURITY_POLICY, policy.clone());
            headers.remove(X_FRAME_OPTIONS);
        } else {
            headers.insert(CONTENT_SECURITY_POLICY, policy.clone());
        }
        if let Some(older) = older {
            headers.insert(X_FRAME_OPTIONS, older.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> SecurityHeaderOptions {
        SecurityHeaderOptions {
            hsts_seconds: Some(31_536_000),
            nosniff: true,
            frame_ancestors: Some("'none'".to_owned()),
            referrer_policy: Some("strict-origin-when-cross-origin".to_owned()),
            overrides: false,
        }
    }

    /// The lines of a response with the headers of `upstream`, after ours were added.
    fn added(options: &SecurityHeaderOptions, upstream: &[(&'static str, &'static str)]) -> Vec<String> {
        let mut headers = HeaderMap::new();
        for (name, value) in upstream {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        SecurityHeaders::new(options).expect("plain values").add_to(&mut headers);
        let text = |value: &HeaderValue| value.to_str().expect("ASCII").to_owned();
        headers.iter().map(|(name, value)| format!("{name}: {}", text(value))).collect()
    }

    #[test]
    fn sr_29_a_response_gets_every_header() {
        assert_eq!(
            added(&options(), &[]),
            [
                "strict-transport-security: max-age=31536000",
                "x-content-type-options: nosniff",
                "referrer-policy: strict-origin-when-cross-origin",
                "content-security-policy: frame-ancestors 'none'",
                "x-frame-options: DENY",
            ]
        );
    }

    #[test]
    fn sr_29_an_upstreams_own_headers_stay() {
        let policy = "frame-ancestors https://partner.example";
        let lines = added(&options(), &[("content-security-policy", policy), ("referrer-policy", "origin")]);
        assert!(lines.contains(&format!("content-security-policy: {policy}")), "{lines:?}");
        assert!(lines.contains(&"referrer-policy: origin".to_owned()), "{lines:?}");
        assert!(!lines.iter().any(|line| line.starts_with("x-frame-options")), "it would close a partner's frame");
    }

    #[test]
    fn an_upstreams_x_frame_options_decides_framing() {
        let lines = added(&options(), &[("x-frame-options", "SAMEORIGIN")]);
        assert!(!lines.iter().any(|line| line.starts_with("content-security-policy")), "{lines:?}");
    }

    #[test]
    fn an_operators_headers_may_override_an_upstreams() {
        let ours = SecurityHeaderOptions { overrides: true, frame_ancestors: Some("'self'".to_owned()), ..options() };
        let upstream = [
            ("content-security-policy", "default-src 'self'"),
            ("x-frame-options", "ALLOWALL"),
            ("referrer-policy", "unsafe-url"),
        ];
        let lines = added(&ours, &upstream);
        for line in [
            "content-security-policy: default-src 'self'",
            "content-security-policy: frame-ancestors 'self'",
            "x-frame-options: SAMEORIGIN",
            "referrer-policy: strict-origin-when-cross-origin",
        ] {
            assert!(lines.contains(&line.to_owned()), "{line}: {lines:?}");
        }
    }

    #[test]
    fn a_header_without_an_option_is_left_out() {
        assert_eq!(added(&SecurityHeaderOptions::default(), &[]), Vec::<String>::new());
    }

    #[test]
    fn x_frame_options_is_left_out_where_it_cannot_name_the_source() {
        let partner = Some("https://a.example".to_owned());
        let options = SecurityHeaderOptions { frame_ancestors: partner, ..Default::default() };
        assert_eq!(added(&options, &[]), ["content-security-policy: frame-ancestors https://a.example"]);
    }

    #[test]
    fn an_option_that_no_header_can_hold_is_an_error() {
        let options = SecurityHeaderOptions { referrer_policy: Some("a\nb".to_owned()), ..options() };
        assert!(SecurityHeaders::new(&options).is_err());
    }
}
