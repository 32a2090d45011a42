//! The one place that turns errors of other crates into responses.

use http::header::{ALLOW, CONNECTION, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue};
use portcullis_gate::{BodyError, Malformation, Refusal};
use portcullis_identity::IdentityError;
use portcullis_proxy::ProxyError;
use portcullis_storage::StoreError;
use serde_json::json;

use super::{ApiError, ErrorKind as Kind};

/// What is told to the owner of an API key whose e-mail address is not confirmed.
const KEY_OWNER: &str = "API keys need a confirmed e-mail address of their owner. Follow the link that was mailed, or ask \
    for another one with POST /api/v1/auth/resend-verification.";

/// The header that names the cause of an error of the data plane (RFC 9209).
const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");

impl From<&'static Kind> for ApiError {
    fn from(kind: &'static Kind) -> Self {
        Self::new(kind)
    }
}

/// Refusals of the gate.
impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        let kind = match refusal {
            Refusal::Malformed(malformation) => return malformed(malformation),
            Refusal::UrlTooLong => Kind::URI_TOO_LONG,
            Refusal::HeadTooLarge => Kind::HEAD_TOO_LARGE,
            Refusal::ExpectationFailed => Kind::EXPECTATION_FAILED,
            Refusal::PayloadTooLarge => Kind::PAYLOAD_TOO_LARGE,
            Refusal::NotFound => Kind::ROUTE_NOT_FOUND,
            Refusal::MethodNotAllowed { allow } => {
                let error = Self::new(Kind::METHOD_NOT_ALLOWED)
                    .message_of(format!("This path accepts only these methods: {allow}."));
                return with_header(error, ALLOW, &allow);
            }
            Refusal::InvalidVersion => Kind::INVALID_VERSION,
            Refusal::UnsupportedVersion { supported } => {
                return Self::new(Kind::UNSUPPORTED_VERSION).details(json!({ "supportedVersions": supported }));
            }
            Refusal::VersionSunset { successor } => {
                return Self::new(Kind::VERSION_SUNSET).details(json!({ "successor": successor }));
            }
            Refusal::RateLimited { .. } => Kind::RATE_LIMITED,
            Refusal::InvalidCsrf { reason, bearer_only } => {
                let hint = if bearer_only {
                    "A client that only sends bearer tokens needs no CSRF token when csrf.mode is \"cookie\"."
                } else {
                    "Fetch a token from /api/csrf-token and send it in X-CSRF-Token together with the cookies."
                };
                let details = json!({ "reason": reason.as_str(), "hint": hint });
                return Self::new(Kind::INVALID_CSRF_TOKEN).details(details);
            }
            Refusal::CrossSite => Kind::CROSS_SITE,
            Refusal::TwoCredentials => Kind::TWO_CREDENTIALS,
            Refusal::CredentialRequired => Kind::TOKEN_REQUIRED,
            Refusal::InvalidCredential => Kind::INVALID_TOKEN,
            Refusal::BodyTooSlow => Kind::REQUEST_TIMEOUT,
            Refusal::Unavailable => Kind::UNAVAILABLE,
            Refusal::SignInRequired => Kind::SIGN_IN_REQUIRED,
            Refusal::NetworkNotAllowed => Kind::NETWORK_NOT_ALLOWED,
            Refusal::SignInTooOld { most } => {
                // RFC 9470 §3: tells a client that a new sign-in is what it lacks.
                let most = most.as_secs();
                let challenge = format!("Bearer error=\"insufficient_user_authentication\", max_age={most}");
                let error = Self::new(Kind::SIGN_IN_TOO_OLD).details(json!({ "maxAge": most }));
                return with_header(error, WWW_AUTHENTICATE, &challenge);
            }
            Refusal::EmailNotVerified => Kind::EMAIL_NOT_CONFIRMED,
            Refusal::NotPermitted => Kind::NOT_PERMITTED,
        };
        Self::new(kind)
    }
}

/// A malformed request. What follows on its connection may be the rest of an ambiguous request (RFC 9112 §11.2).
fn malformed(malformation: Malformation) -> ApiError {
    let message = match malformation {
        Malformation::Framing => "The length of the request is ambiguous.",
        Malformation::Host => "The host that the request names is not a valid host.",
        Malformation::Path => {
            "The path can be read in more than one way. Send it without encoded slashes and control characters."
        }
        Malformation::Head => "The request line or a header field is malformed.",
        Malformation::Body => "The request body ended before it was complete.",
    };
    let error = ApiError::new(Kind::MALFORMED).message_of(message);
    error.header(CONNECTION, HeaderValue::from_static("close"))
}

/// A header whose value was made from other text; one that is no valid header value is left out.
fn with_header(error: ApiError, name: HeaderName, value: &str) -> ApiError {
    match HeaderValue::try_from(value) {
        Ok(value) => error.header(name, value),
        Err(_) => error,
    }
}

/// Bodies that could not be read to their end.
impl From<BodyError> for ApiError {
    fn from(error: BodyError) -> Self {
        Self::new(match error {
            BodyError::TooLarge => Kind::PAYLOAD_TOO_LARGE,
            BodyError::TooSlow => Kind::REQUEST_TIMEOUT,
            BodyError::Transport(source) => {
                tracing::debug!(error = %source, "the connection ended before the request body was complete");
                Kind::INCOMPLETE_BODY
            }
        })
    }
}

/// Errors of the use cases.
impl From<IdentityError> for ApiError {
    fn from(error: IdentityError) -> Self {
        let kind = match error {
            IdentityError::Validation(problems) => return Self::validation(problems),
            IdentityError::PasswordsDoNotMatch => Kind::PASSWORDS_DO_NOT_MATCH,
            IdentityError::InvalidCredentials => Kind::INVALID_CREDENTIALS,
            IdentityError::InvalidRefreshToken => Kind::INVALID_REFRESH_TOKEN,
            IdentityError::InvalidVerificationToken => Kind::INVALID_VERIFICATION_TOKEN,
            IdentityError::CurrentPasswordIncorrect => Kind::CURRENT_PASSWORD_INCORRECT,
            IdentityError::InvalidResetToken => Kind::INVALID_RESET_TOKEN,
            IdentityError::UserExists | IdentityError::UsernameTaken => Kind::USER_EXISTS,
            IdentityError::RegistrationClosed => Kind::REGISTRATION_CLOSED,
            IdentityError::EmailNotVerified => Kind::EMAIL_NOT_VERIFIED,
            IdentityError::SessionEnded => Kind::INVALID_TOKEN,
            IdentityError::KeyNeedsVerifiedEmail => return Self::new(Kind::EMAIL_NOT_CONFIRMED).message_of(KEY_OWNER),
            IdentityError::DemoInProduction => Kind::DEMO_IN_PRODUCTION,
            IdentityError::DemoReadOnly => Kind::DEMO_READ_ONLY,
            IdentityError::SetupUnavailable => Kind::SETUP_UNAVAILABLE,
            IdentityError::NotFound => Kind::RESOURCE_NOT_FOUND,
            IdentityError::UserGone => Kind::INVALID_TOKEN,
            IdentityError::Throttled { retry } => {
                return Self::new(Kind::THROTTLED).header(RETRY_AFTER, HeaderValue::from(retry.as_secs() + 1));
            }
            IdentityError::NotPermitted(why) => return Self::new(Kind::NOT_PERMITTED).message_of(why),
            IdentityError::LastAdministrator => Kind::LAST_ADMINISTRATOR,
            IdentityError::TooManyKeys => Kind::TOO_MANY_API_KEYS,
            IdentityError::TooManyKeysMade { retry } => {
                return Self::new(Kind::API_KEYS_THROTTLED).header(RETRY_AFTER, HeaderValue::from(retry.as_secs() + 1));
            }
            IdentityError::KeyReused => Kind::IDEMPOTENCY_KEY_REUSED,
            IdentityError::Busy => Kind::BUSY,
            IdentityError::ShareUsedUp => {
                return Self::new(Kind::TOO_MANY_AT_ONCE).header(RETRY_AFTER, HeaderValue::from(1));
            }
            IdentityError::Unavailable { source } => {
                // Storage logs when it becomes unreachable and when it returns; here it would be a line per request.
                tracing::debug!(error = source.as_ref() as &dyn std::error::Error, "storage is unavailable");
                return Self::new(Kind::UNAVAILABLE).because_of(source.as_ref());
            }
            IdentityError::Internal { source } => {
                tracing::error!(
                    error = source.as_ref() as &dyn std::error::Error,
                    "a request was answered with 500 because of an internal error"
                );
                return Self::new(Kind::INTERNAL).because_of(source.as_ref());
            }
        };
        Self::new(kind)
    }
}

/// Errors of handlers that read storage directly.
impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        IdentityError::from(error).into()
    }
}

/// Errors of the data plane.
impl From<ProxyError> for ApiError {
    fn from(error: ProxyError) -> Self {
        let kind = match &error {
            ProxyError::BodyTooLarge => return Kind::PAYLOAD_TOO_LARGE.into(),
            ProxyError::BodyTooSlow => Kind::REQUEST_TIMEOUT,
            ProxyError::ClientBody => return Kind::INCOMPLETE_BODY.into(),
            ProxyError::SessionEnded => return Kind::INVALID_TOKEN.into(),
            ProxyError::RightLost => return Kind::NOT_PERMITTED.into(),
            ProxyError::Unconfirmed => return Kind::UNAVAILABLE.into(),
            ProxyError::Target => return malformed(Malformation::Path),
            ProxyError::WriteTimeout | ProxyError::ResponseTimeout | ProxyError::BodyTimeout => Kind::GATEWAY_TIMEOUT,
            ProxyError::Overloaded(_) => Kind::UPSTREAM_BUSY,
            ProxyError::UnknownUpstream(_)
            | ProxyError::Connect(_)
            | ProxyError::Broken(_)
            | ProxyError::UnexpectedUpgrade => {
                tracing::warn!(error = &error as &dyn std::error::Error, "an upstream did not answer a request");
                Kind::BAD_GATEWAY
            }
        };
        with_header(Self::new(kind), PROXY_STATUS, &format!("portcullis; error={}", error.proxy_status()))
    }
}
