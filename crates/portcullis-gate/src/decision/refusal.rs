//! The reasons for which the gate refuses a request. Their HTTP status is the API's business.

use std::sync::Arc;
use std::time::Duration;

use crate::csrf::check::CsrfReason;
use crate::request::body::BodyError;
use crate::routes::requested_path::{PathVersionError, VersionError};

/// Why the gate refused a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The request can be read in two ways.
    Malformed(Malformation),
    /// The request target is too long.
    UrlTooLong,
    /// The head is too large, or has too many fields.
    HeadTooLarge,
    /// The client expects something other than `100-continue`.
    ExpectationFailed,
    /// The body is larger than the route allows.
    PayloadTooLarge,
    /// No route matches the path.
    NotFound,
    /// A route matches the path, but not the method.
    MethodNotAllowed {
        /// The methods of the path, as the `Allow` header lists them.
        allow: String,
    },
    /// The requested version is not the name of a version.
    InvalidVersion,
    /// The requested version is not served.
    UnsupportedVersion {
        /// The names of the versions that are served.
        supported: Vec<String>,
    },
    /// The version is past its sunset.
    VersionSunset {
        /// The version to use instead.
        successor: Option<String>,
    },
    /// The request is over a rate limit.
    RateLimited {
        /// The time until the next request is let through.
        retry: Duration,
        /// The name of the limit.
        limit: Arc<str>,
    },
    /// The CSRF token is missing or wrong.
    InvalidCsrf {
        /// What is wrong with the token.
        reason: CsrfReason,
        /// Whether an access token in `Authorization` is the only credential: such a client may not need CSRF at all.
        bearer_only: bool,
    },
    /// A request by cookie comes from another site.
    CrossSite,
    /// The request presents two kinds of credential.
    TwoCredentials,
    /// The body did not arrive in time while `_csrf` was looked for in it.
    BodyTooSlow,
    /// The route needs a credential, and the request presents none.
    CredentialRequired,
    /// The credential is invalid, expired or revoked.
    InvalidCredential,
    /// The database or Redis cannot be reached, and the decision needs it.
    Unavailable,
    /// The route needs a user who signed in, and the credential is an API key.
    SignInRequired,
    /// The client's address is in none of the route's networks.
    NetworkNotAllowed,
    /// The sign-in is too long ago for this route.
    SignInTooOld {
        /// How long ago the sign-in may be at most.
        most: Duration,
    },
    /// The route needs a confirmed e-mail address, and the caller's is not.
    EmailNotVerified,
    /// The caller's role or permissions do not suffice.
    NotPermitted,
}

/// The `reason` label of a request from another site.
const CROSS_SITE: &str = "cross_site";

impl Refusal {
    /// The `reason` labels of refusals for CSRF.
    pub(crate) fn csrf_reasons() -> impl Iterator<Item = &'static str> {
        CsrfReason::ALL.into_iter().map(CsrfReason::as_str).chain([CROSS_SITE])
    }

    /// Returns the `reason` label of a refusal for CSRF.
    pub(crate) fn csrf_reason(&self) -> Option<&'static str> {
        match self {
            Self::InvalidCsrf { reason, .. } => Some(reason.as_str()),
            Self::CrossSite => Some(CROSS_SITE),
            _ => None,
        }
    }
}

/// The malformed part of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformation {
    /// `Content-Length` together with `Transfer-Encoding`, or lengths that differ.
    Framing,
    /// `Host`, or the authority of the target, is not a host and perhaps a port.
    Host,
    /// The path can be read in two ways.
    Path,
    /// The request line or a header field is malformed.
    Head,
    /// The body ended early while `_csrf` was looked for.
    Body,
}

impl From<PathVersionError> for Refusal {
    fn from(error: PathVersionError) -> Self {
        match error {
            PathVersionError::Invalid => Self::InvalidVersion,
            PathVersionError::NotServed => Self::NotFound,
        }
    }
}

impl From<VersionError> for Refusal {
    fn from(error: VersionError) -> Self {
        match error {
            VersionError::Invalid => Self::InvalidVersion,
            VersionError::Unsupported { supported } => Self::UnsupportedVersion { supported },
            VersionError::Sunset { successor } => Self::VersionSunset { successor },
        }
    }
}

/// The body could not be read while the CSRF token was looked for in it.
impl From<BodyError> for Refusal {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::TooLarge => Self::PayloadTooLarge,
            BodyError::TooSlow => Self::BodyTooSlow,
            BodyError::Transport(_) => Self::Malformed(Malformation::Body),
        }
    }
}
