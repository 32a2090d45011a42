//! The one place where errors become responses (contract §1).
//!
//! Rooms below know no HTTP: their errors say what happened, and this file
//! chooses the status, the texts that front ends compare literally, and the
//! stable `code`.

use http::header::{ALLOW, CONNECTION, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use http_body_util::Full;
use portcullis_gate::{BodyError, Malformation, Refusal};
use portcullis_identity::IdentityError;
use portcullis_model::{Clock, user::rfc3339_millis};
use portcullis_proxy::ProxyError;
use portcullis_storage::StoreError;
use serde::Serialize;
use serde_json::{Value, json};

use crate::reply::{JSON, ReplyBody, to_bytes};

/// RFC 9209.
const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");

/// Why a request was not served, as a client sees it.
#[derive(Debug)]
pub struct Fault {
    status: StatusCode,
    /// The short text that front ends compare.
    error: &'static str,
    /// A sentence for people.
    message: String,
    /// The stable machine name.
    code: &'static str,
    details: Option<Value>,
    headers: Box<HeaderMap>,
}

/// What an error answer says besides the fault itself.
#[derive(Clone, Copy, Debug)]
pub struct FaultContext<'a> {
    /// The request's path as it came, without the query.
    pub path: &'a str,
    /// Our request id.
    pub request_id: &'a str,
    /// Whether the client's `Accept` prefers `application/problem+json`.
    pub prefers_problem: bool,
}

impl Fault {
    fn new(status: StatusCode, error: &'static str, message: impl Into<String>, code: &'static str) -> Self {
        Self { status, error, message: message.into(), code, details: None, headers: Box::default() }
    }

    fn details(mut self, details: Value) -> Self {
        self.details = Some(details);
        self
    }

    fn header(mut self, name: HeaderName, value: impl Into<HeaderValue>) -> Self {
        self.headers.insert(name, value.into());
        self
    }

    /// The status it answers with.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    pub(crate) fn validation(problems: Vec<String>) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "Validation failed",
            "The request body is not valid. See details.body.",
            "request.validation_failed",
        )
        .details(Value::from_iter([("body", Value::from(problems))]))
    }

    pub(crate) fn malformed_json(error: &serde_json::Error) -> Self {
        // serde_json's own message may quote the body; the position is enough.
        let problem = match error.classify() {
            serde_json::error::Category::Data => {
                format!(
                    "Body must be a JSON object without repeated members (line {}, column {})",
                    error.line(),
                    error.column()
                )
            }
            _ => format!("Body must be valid JSON (line {}, column {})", error.line(), error.column()),
        };
        let mut fault = Self::validation(vec![problem]);
        fault.code = "request.malformed_json";
        fault
    }

    pub(crate) fn unsupported_media_type() -> Self {
        Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "Unsupported media type",
            "Send the body as application/json.",
            "request.unsupported_media_type",
        )
    }

    pub(crate) fn from_body(error: BodyError) -> Self {
        match error {
            BodyError::TooLarge => Self::too_large(),
            BodyError::Transport(source) => {
                tracing::debug!(error = %source, "a request body was cut");
                Self::from_body_cut()
            }
        }
    }

    fn from_body_cut() -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "Bad request",
            "The request body ended before it was complete.",
            "request.incomplete_body",
        )
    }

    fn too_large() -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "Payload too large",
            "The request body is larger than this endpoint accepts.",
            "request.too_large",
        )
    }

    pub(crate) fn cross_site() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "Cross-site request refused",
            "The request did not come from a page of this site or of an allowed origin.",
            "csrf.cross_site",
        )
    }

    pub(crate) fn token_required() -> Self {
        unauthorised("Access token is required", "Sign in and send the access token.", "auth.token_required")
    }

    pub(crate) fn invalid_token() -> Self {
        unauthorised(
            "Invalid token",
            "The access token is not valid. Sign in again or refresh it.",
            "auth.invalid_token",
        )
    }

    pub(crate) fn not_found(what: &'static str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "Not found", format!("{what} was not found."), "resource.not_found")
    }

    pub(crate) fn unavailable() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "Service unavailable",
            "The service cannot answer right now. Try again shortly.",
            "service.unavailable",
        )
        .header(RETRY_AFTER, HeaderValue::from(1))
    }

    fn internal() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "Internal server error",
            "Something went wrong on our side. Quote the request id when you report it.",
            "internal",
        )
    }

    /// The answer, in the envelope or as a problem document (RFC 9457).
    pub fn into_response(self, context: FaultContext<'_>, clock: &Clock) -> Response<ReplyBody> {
        let Self { status, error, message, code, details, headers } = self;
        if status == StatusCode::NO_CONTENT {
            let mut response = Response::new(Full::default());
            *response.status_mut() = status;
            return response;
        }
        let (content_type, body) = if context.prefers_problem {
            let problem = Problem {
                kind: "about:blank",
                title: error,
                status: status.as_u16(),
                detail: &message,
                instance: context.path,
                code,
                request_id: context.request_id,
                details: details.as_ref(),
            };
            ("application/problem+json", to_bytes(&problem))
        } else {
            let envelope = ErrorEnvelope {
                success: false,
                error,
                message: &message,
                code,
                details: details.as_ref(),
                request_id: context.request_id,
                timestamp: rfc3339_millis(clock.now()),
                path: context.path,
                status_code: status.as_u16(),
            };
            (JSON, to_bytes(&envelope))
        };
        let mut response = Response::new(Full::new(body));
        *response.status_mut() = status;
        *response.headers_mut() = *headers;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        response
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ErrorEnvelope<'a> {
    success: bool,
    error: &'a str,
    message: &'a str,
    code: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<&'a Value>,
    request_id: &'a str,
    timestamp: String,
    path: &'a str,
    status_code: u16,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Problem<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    title: &'a str,
    status: u16,
    detail: &'a str,
    instance: &'a str,
    code: &'a str,
    request_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<&'a Value>,
}

fn unauthorised(error: &'static str, message: &'static str, code: &'static str) -> Fault {
    Fault::new(StatusCode::UNAUTHORIZED, error, message, code)
        .header(http::header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))
}

impl From<IdentityError> for Fault {
    fn from(error: IdentityError) -> Self {
        use StatusCode as S;
        match error {
            IdentityError::Validation(problems) => Self::validation(problems),
            IdentityError::PasswordsDoNotMatch => Self::new(
                S::BAD_REQUEST,
                "Passwords do not match",
                "The password and its confirmation differ.",
                "auth.passwords_do_not_match",
            ),
            IdentityError::InvalidCredentials => Self::new(
                S::UNAUTHORIZED,
                "Invalid credentials",
                "The email or the password is wrong.",
                "auth.invalid_credentials",
            ),
            IdentityError::InvalidRefreshToken => Self::new(
                S::UNAUTHORIZED,
                "Invalid refresh token",
                "The refresh token is not valid any more. Sign in again.",
                "auth.invalid_refresh_token",
            ),
            IdentityError::InvalidVerificationToken => Self::new(
                S::BAD_REQUEST,
                "Invalid verification token",
                "The link was already used, has expired or is not complete.",
                "auth.invalid_verification_token",
            ),
            IdentityError::CurrentPasswordIncorrect => Self::new(
                S::BAD_REQUEST,
                "Current password is incorrect",
                "Type the password that you sign in with now, or reset it by mail.",
                "auth.current_password_incorrect",
            ),
            IdentityError::InvalidResetToken => Self::new(
                S::BAD_REQUEST,
                "Invalid or expired reset token",
                "The link was already used, has expired or is not complete. Ask for another one.",
                "auth.invalid_reset_token",
            ),
            IdentityError::UserExists => Self::new(
                S::CONFLICT,
                "User already exists with this email or username",
                "Choose another email or username, or sign in.",
                "auth.user_exists",
            ),
            IdentityError::RegistrationClosed => Self::new(
                S::FORBIDDEN,
                "Registration is closed",
                "New accounts are made by an administrator here.",
                "auth.registration_closed",
            ),
            IdentityError::EmailNotVerified => Self::new(
                S::FORBIDDEN,
                "Email not verified",
                "Confirm your email address before you sign in.",
                "auth.email_not_verified",
            ),
            IdentityError::DemoInProduction => Self::new(
                S::FORBIDDEN,
                "Demo mode is not available in production",
                "Sign in with an account of your own.",
                "auth.demo_in_production",
            ),
            IdentityError::DemoReadOnly => Self::new(
                S::FORBIDDEN,
                "Demo account cannot be changed",
                "The demo account is the same for everyone.",
                "auth.demo_read_only",
            ),
            IdentityError::SetupUnavailable => Self::new(
                S::CONFLICT,
                "Setup is not available",
                "There is an administrator already, or the link has expired. \
                 A new link is printed at the next start, as long as there is none.",
                "auth.setup_unavailable",
            ),
            IdentityError::NotFound => Self::not_found("What was asked for"),
            IdentityError::Busy => {
                let mut fault = Self::unavailable();
                fault.code = "auth.busy";
                fault.message = "Too many people are signing in at this moment. Try again shortly.".to_owned();
                fault
            }
            IdentityError::Unavailable { source } => {
                // Storage itself tells when it goes and when it returns; here it would be a line a request.
                tracing::debug!(error = source.as_ref() as &dyn std::error::Error, "storage is unavailable");
                Self::unavailable()
            }
            IdentityError::Internal { source } => {
                tracing::error!(
                    error = source.as_ref() as &dyn std::error::Error,
                    "an internal error was answered with 500"
                );
                Self::internal()
            }
        }
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        IdentityError::from(error).into()
    }
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        use StatusCode as S;
        match refusal {
            Refusal::Preflight => Self::new(S::NO_CONTENT, "", "", "cors.preflight"),
            Refusal::Malformed(what) => {
                let message = match what {
                    Malformation::Framing => "The request's length is ambiguous.",
                    Malformation::Path => {
                        "The path can be read in more than one way. Send it without encoded slashes and control characters."
                    }
                    Malformation::Body => "The request body ended before it was complete.",
                };
                let fault = Self::new(S::BAD_REQUEST, "Bad request", message, "request.malformed");
                // What follows on this connection may be the rest of an ambiguous request (RFC 9112 §11.2).
                fault.header(CONNECTION, HeaderValue::from_static("close"))
            }
            Refusal::UrlTooLong => Self::new(
                S::URI_TOO_LONG,
                "URI too long",
                "The request target is longer than 16 KB.",
                "request.uri_too_long",
            ),
            Refusal::PayloadTooLarge => Self::too_large(),
            Refusal::NotFound => {
                Self::new(S::NOT_FOUND, "Route not found", "There is nothing at this path.", "route.not_found")
            }
            Refusal::MethodNotAllowed { allow } => {
                let fault = Self::new(
                    S::METHOD_NOT_ALLOWED,
                    "Method not allowed",
                    format!("This path answers {allow}."),
                    "route.method_not_allowed",
                );
                match HeaderValue::try_from(allow) {
                    Ok(allow) => fault.header(ALLOW, allow),
                    Err(_) => fault,
                }
            }
            Refusal::InvalidVersion => Self::new(
                S::BAD_REQUEST,
                "Invalid API version",
                "A version is v and a number from 1 to 999, such as v1.",
                "version.invalid",
            ),
            Refusal::UnsupportedVersion { supported } => Self::new(
                S::BAD_REQUEST,
                "Unsupported API version",
                "This version of the API is not served here. See details.supportedVersions.",
                "version.unsupported",
            )
            .details(json!({ "supportedVersions": supported })),
            Refusal::VersionSunset { successor } => Self::new(
                S::GONE,
                "API version no longer served",
                "This version of the API is past its sunset.",
                "version.sunset",
            )
            .details(json!({ "successor": successor })),
            Refusal::RateLimited { .. } => Self::new(
                S::TOO_MANY_REQUESTS,
                "Too many requests",
                "Too many requests in a short time. Retry-After says when to come back.",
                "rate.limited",
            ),
            Refusal::InvalidCsrf { reason, bearer_only } => {
                let hint = if bearer_only {
                    "A client that only sends bearer tokens needs no CSRF token when csrf.mode is \"cookie\"."
                } else {
                    "Fetch a token from /api/csrf-token and send it in X-CSRF-Token together with the cookies."
                };
                Self::new(
                    S::FORBIDDEN,
                    "Invalid CSRF token",
                    "CSRF token validation failed. Please refresh and try again.",
                    "csrf.invalid_token",
                )
                .details(json!({ "reason": reason.as_str(), "hint": hint }))
            }
            Refusal::CrossSite => Self::cross_site(),
            Refusal::TwoCredentials => Self::new(
                S::BAD_REQUEST,
                "Ambiguous credentials",
                "Send one kind of credential: a bearer token, an API key or the session cookie.",
                "auth.two_credentials",
            ),
            Refusal::CredentialRequired => Self::token_required(),
            Refusal::InvalidCredential => Self::invalid_token(),
            Refusal::Unavailable => Self::unavailable(),
            Refusal::NotPermitted => Self::new(
                S::FORBIDDEN,
                "Insufficient permissions",
                "Your role or permissions do not allow this.",
                "auth.insufficient_permissions",
            ),
        }
    }
}

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
