//! Why the gate let a request through no further. Knows no HTTP status.

use std::sync::Arc;
use std::time::Duration;

/// The gate's answer when there is no permit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Not a refusal at all: a CORS preflight, which the gate answers itself.
    Preflight,
    /// Two lengths, or a path that two servers would read differently.
    Malformed(Malformation),
    /// The URL is too long.
    UrlTooLong,
    /// The head is too large, or has too many fields.
    HeadTooLarge,
    /// The client expects what is not done here.
    ExpectationFailed,
    /// The body is larger than the route allows.
    PayloadTooLarge,
    /// No route has this path.
    NotFound,
    /// A route has this path, but not for this method.
    MethodNotAllowed {
        /// The methods it has, as `Allow` lists them.
        allow: String,
    },
    /// Not a version's name.
    InvalidVersion,
    /// A version's name, but none that is served.
    UnsupportedVersion {
        /// Those that are.
        supported: Vec<String>,
    },
    /// The version is past its sunset.
    VersionSunset {
        /// What to use instead.
        successor: Option<String>,
    },
    /// Over a limit.
    RateLimited {
        /// Until the next request is let through.
        retry: Duration,
        /// The limit's name.
        limit: Arc<str>,
    },
    /// The CSRF token is missing or wrong.
    InvalidCsrf {
        /// Why, for metrics and logs.
        reason: CsrfReason,
        /// Whether the client sends a bearer token and may not need CSRF at all.
        bearer_only: bool,
    },
    /// A request by cookie from another site.
    CrossSite,
    /// Two kinds of credential on one request.
    TwoCredentials,
    /// No credential on a route that needs one.
    CredentialRequired,
    /// A credential that is not good.
    InvalidCredential,
    /// Sessions cannot be looked up.
    Unavailable,
    /// An API key where only somebody who signed in will do.
    SignInRequired,
    /// The client's address is in none of the route's networks.
    NetworkNotAllowed,
    /// The sign-in is too long ago for this route.
    SignInTooOld {
        /// How long ago it may be.
        most: Duration,
    },
    /// The caller's e-mail address was never confirmed.
    EmailNotVerified,
    /// The role or the permissions do not suffice.
    NotPermitted,
}

impl Refusal {
    /// The label of a refusal for CSRF.
    pub(crate) fn csrf_reason(&self) -> Option<&'static str> {
        match self {
            Self::InvalidCsrf { reason, .. } => Some(reason.as_str()),
            Self::CrossSite => Some("cross_site"),
            _ => None,
        }
    }
}

/// What is malformed about a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformation {
    /// `Content-Length` together with `Transfer-Encoding`, or lengths that differ.
    Framing,
    /// The path.
    Path,
    /// The request line or a header field.
    Head,
    /// The body ended early while `_csrf` was looked for.
    Body,
}

/// Why a CSRF token was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CsrfReason {
    /// No CSRF cookie.
    NoCookie,
    /// Two CSRF cookies.
    TwoCookies,
    /// No token beside the cookie.
    NoToken,
    /// The token and the cookie differ.
    Mismatch,
    /// Not signed by us for this session or pre-session.
    Forged,
}

impl CsrfReason {
    /// The label of `csrf_refusals_total`.
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
