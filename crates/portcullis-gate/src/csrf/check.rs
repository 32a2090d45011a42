//! Which requests need the CSRF token pair, and whether the pair is valid (docs/contract.md, "CSRF"; SR-25, SR-27).

use http::{HeaderMap, Method};
use portcullis_model::policy::{CsrfPolicy, RoutePolicy};
use portcullis_model::secret::constant_time_eq;

use crate::csrf::config::{CsrfConfig, CsrfMode};
use crate::csrf::tokens::is_pre_session;
use crate::request::cookies::{CookieValue, Cookies};
use crate::request::head::is_unsafe;
use crate::request::upgrade::asks_for_web_socket;

/// Why a CSRF token was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CsrfReason {
    /// The request has no CSRF cookie.
    NoCookie,
    /// The request has two CSRF cookies, of which one was planted.
    TwoCookies,
    /// The request has no token beside the cookie.
    NoToken,
    /// The token and the cookie differ.
    Mismatch,
    /// The gateway did not sign the token for this session or pre-session.
    Forged,
}

impl CsrfReason {
    pub(crate) const ALL: [Self; 5] = [Self::NoCookie, Self::TwoCookies, Self::NoToken, Self::Mismatch, Self::Forged];

    /// Returns the value of the `reason` label of `csrf_refusals_total`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoCookie => "no_cookie",
            Self::TwoCookies => "two_cookies",
            Self::NoToken => "no_token",
            Self::Mismatch => "mismatch",
            Self::Forged => "forged",
        }
    }
}

/// Whether the request must come from a page of ours.
///
/// That holds wherever the session cookie may authenticate (SR-27), so `csrf = false` does not lift it: that waives the
/// token only. It holds for a WebSocket handshake too, although that is a GET: no preflight and no CORS keeps another
/// site's page from opening and reading one (RFC 6455 §10.2; SR-53). A refresh by cookie is the one exception, because its
/// handler asks for more: an `Origin` that is ours or allowed.
pub(crate) fn must_be_same_site(policy: &RoutePolicy, method: &Method, headers: &HeaderMap, by_cookie: bool) -> bool {
    by_cookie && (is_unsafe(method) || asks_for_web_socket(headers)) && policy.csrf != CsrfPolicy::ExemptWithOriginCheck
}

/// Whether the request needs the token pair. `by_cookie` tells whether its session cookie is valid.
pub(crate) fn needs_token(
    mode: CsrfMode,
    policy: &RoutePolicy,
    method: &Method,
    cookies: &Cookies,
    by_cookie: bool,
) -> bool {
    if !is_unsafe(method) {
        return false;
    }
    if mode == CsrfMode::Cookie && cookies.session == CookieValue::Absent {
        return false;
    }
    match policy.csrf {
        CsrfPolicy::Checked => true,
        CsrfPolicy::ExemptUnlessCookie => by_cookie,
        CsrfPolicy::ExemptWithOriginCheck | CsrfPolicy::Exempt => false,
    }
}

/// Returns the identifier that a client without a session is known by.
pub(crate) fn pre_session(cookies: &Cookies) -> Option<&str> {
    cookies.pre.value().filter(|value| is_pre_session(value))
}

/// Checks the pair. `identifier` is the session or pre-session that the token must be signed for.
pub(crate) fn check_pair(
    config: &CsrfConfig,
    cookies: &Cookies,
    identifier: Option<&str>,
    presented: Option<&str>,
) -> Result<(), CsrfReason> {
    let cookie = match &cookies.csrf {
        CookieValue::Single(cookie) => cookie,
        CookieValue::Absent => return Err(CsrfReason::NoCookie),
        CookieValue::Duplicate => return Err(CsrfReason::TwoCookies),
    };
    let presented = presented.ok_or(CsrfReason::NoToken)?;
    if !constant_time_eq(cookie.as_bytes(), presented.as_bytes()) {
        return Err(CsrfReason::Mismatch);
    }
    let is_signed = identifier.is_some_and(|identifier| config.tokens.verify(identifier, presented));
    if is_signed { Ok(()) } else { Err(CsrfReason::Forged) }
}
