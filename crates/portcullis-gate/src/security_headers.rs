//! What tells browsers to be careful with an answer (requirement 29; OWASP HTTP Headers). Upstreams' own words count
//! before ours, unless the operator says otherwise.

use http::header::{
    CONTENT_SECURITY_POLICY, HeaderMap, HeaderName, HeaderValue, InvalidHeaderValue, REFERRER_POLICY,
    STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};

/// Which headers answers get.
#[derive(Clone, Debug, Default)]
pub struct SecurityHeaders {
    /// Header and value, but those of framing.
    plain: Vec<(HeaderName, HeaderValue)>,
    /// `frame-ancestors` of a content security policy, and its older form if there is one.
    framing: Option<(HeaderValue, Option<HeaderValue>)>,
    /// Whether ours replace an upstream's.
    overrides: bool,
}

/// What [`SecurityHeaders`] are made of; `None` leaves a header out.
#[derive(Clone, Debug, Default)]
pub struct SecurityHeaderOptions {
    /// Seconds for which browsers use HTTPS only (RFC 6797).
    pub hsts_seconds: Option<u64>,
    /// Whether types are not to be guessed.
    pub nosniff: bool,
    /// Who may show answers in a frame, as a content security policy names them.
    pub frame_ancestors: Option<String>,
    /// How much of an address other sites are told.
    pub referrer_policy: Option<String>,
    /// Whether these replace what an upstream has set.
    pub overrides: bool,
}

impl SecurityHeaders {
    /// Puts the values together, once for each configuration.
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
                    // It cannot name others.
                    _ => None,
                };
                Some((HeaderValue::from_str(&format!("frame-ancestors {sources}"))?, older))
            }
        };
        Ok(Self { plain, framing, overrides: options.overrides })
    }

    pub(crate) fn add(&self, headers: &mut HeaderMap) {
        for (name, value) in &self.plain {
            if self.overrides || !headers.contains_key(name) {
                headers.insert(name.clone(), value.clone());
            }
        }
        let Some((policy, older)) = &self.framing else { return };
        // A policy and its older form are one statement: an upstream that made either has decided.
        let decided = headers.contains_key(CONTENT_SECURITY_POLICY) || headers.contains_key(X_FRAME_OPTIONS);
        if decided && !self.overrides {
            return;
        }
        if self.overrides {
            // Policies add up: what an upstream allows beyond frames stays as narrow as it was.
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

    fn added(options: &SecurityHeaderOptions, upstream: &[(&'static str, &'static str)]) -> Vec<String> {
        let mut headers = HeaderMap::new();
        for (name, value) in upstream {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        SecurityHeaders::new(options).expect("plain values").add(&mut headers);
        let text = |value: &HeaderValue| value.to_str().expect("ASCII").to_owned();
        headers.iter().map(|(name, value)| format!("{name}: {}", text(value))).collect()
    }

    #[test]
    fn sr_29_answers_get_every_header_that_an_upstream_has_not_set() {
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
        let own = added(
            &options(),
            &[("content-security-policy", "frame-ancestors https://partner.example"), ("referrer-policy", "origin")],
        );
        assert!(
            own.contains(&"content-security-policy: frame-ancestors https://partner.example".to_owned()),
            "{own:?}"
        );
        assert!(own.contains(&"referrer-policy: origin".to_owned()), "{own:?}");
        assert!(!own.iter().any(|line| line.starts_with("x-frame-options")), "a partner's frame was closed: {own:?}");
        let older = added(&options(), &[("x-frame-options", "SAMEORIGIN")]);
        assert!(!older.iter().any(|line| line.starts_with("content-security-policy")), "{older:?}");
    }

    #[test]
    fn an_operator_may_put_their_own_words_first_or_leave_headers_out() {
        let first = SecurityHeaderOptions { overrides: true, frame_ancestors: Some("'self'".to_owned()), ..options() };
        let upstream = [
            ("content-security-policy", "default-src 'self'"),
            ("x-frame-options", "ALLOWALL"),
            ("referrer-policy", "unsafe-url"),
        ];
        let lines = added(&first, &upstream);
        for line in [
            "content-security-policy: default-src 'self'",
            "content-security-policy: frame-ancestors 'self'",
            "x-frame-options: SAMEORIGIN",
            "referrer-policy: strict-origin-when-cross-origin",
        ] {
            assert!(lines.contains(&line.to_owned()), "{line}: {lines:?}");
        }
        assert_eq!(added(&SecurityHeaderOptions::default(), &[]), Vec::<String>::new());
        let others =
            SecurityHeaderOptions { frame_ancestors: Some("https://a.example".to_owned()), ..Default::default() };
        assert_eq!(added(&others, &[]), ["content-security-policy: frame-ancestors https://a.example"]);
        assert!(
            SecurityHeaders::new(&SecurityHeaderOptions { referrer_policy: Some("a\nb".to_owned()), ..options() })
                .is_err()
        );
    }
}
