//! Why the gate let a request no further, as a client sees it.

use http::header::{ALLOW, CONNECTION, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use portcullis_gate::{Malformation, Refusal};
use serde_json::json;

use super::Fault;

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
                    Malformation::Head => "The request line or a header field is malformed.",
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
            Refusal::HeadTooLarge => Self::new(
                S::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "Request header fields too large",
                "The request's head is longer than 64 KB or has more than 100 fields.",
                "request.head_too_large",
            ),
            Refusal::ExpectationFailed => Self::new(
                S::EXPECTATION_FAILED,
                "Expectation failed",
                "The only expectation that is met is 100-continue.",
                "request.expectation_failed",
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
            Refusal::SignInRequired => Self::new(
                S::FORBIDDEN,
                "Insufficient permissions",
                "This needs a person who is signed in: an API key does not do.",
                "auth.sign_in_required",
            ),
            Refusal::NetworkNotAllowed => Self::new(
                S::FORBIDDEN,
                "Insufficient permissions",
                "This may not be called from your network.",
                "auth.network_not_allowed",
            ),
            Refusal::SignInTooOld { most } => {
                // RFC 9470 §3: how a client learns that signing in again is what is missing.
                let most = most.as_secs();
                let challenge = format!("Bearer error=\"insufficient_user_authentication\", max_age={most}");
                Self::new(
                    S::UNAUTHORIZED,
                    "Recent sign-in required",
                    "Your sign-in is too long ago for this. Sign in again.",
                    "auth.sign_in_too_old",
                )
                .details(json!({ "maxAge": most }))
                .header(WWW_AUTHENTICATE, HeaderValue::try_from(challenge).expect("words, quotes and digits"))
            }
            Refusal::EmailNotVerified => Self::new(
                S::FORBIDDEN,
                "Insufficient permissions",
                "Confirm your e-mail address first.",
                "auth.email_not_verified",
            ),
            Refusal::NotPermitted => Self::new(
                S::FORBIDDEN,
                "Insufficient permissions",
                "Your role or permissions do not allow this.",
                "auth.insufficient_permissions",
            ),
        }
    }
}
