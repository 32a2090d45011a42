//! Every kind of error that the gateway answers with: its status, its texts and its code.
//!
//! Front ends compare `error` and `code`; both are fixed (`docs/contract.md`, "Envelope and errors").

use http::StatusCode;

/// One kind of error response.
#[derive(Debug, PartialEq, Eq)]
pub struct ErrorKind {
    /// The status code of the response.
    pub status: StatusCode,
    /// The short text that front ends compare.
    pub error: &'static str,
    /// The stable name for programs: lower-case words joined by dots and underscores.
    pub code: &'static str,
    /// The sentence for users; some errors replace it with a more exact one.
    pub message: &'static str,
    /// The address of the entry of `code` on the page `/api/docs`: the `type` of a problem document (RFC 9457 §3.1.1).
    pub link: &'static str,
}

/// Declares the kinds as constants and lists them in [`ErrorKind::ALL`].
macro_rules! kinds {
    ($($name:ident = $status:ident, $error:literal, $code:literal, $message:literal;)+) => {
        impl ErrorKind {
            $(
                pub(crate) const $name: &'static Self = &Self {
                    status: StatusCode::$status,
                    error: $error,
                    code: $code,
                    message: $message,
                    link: concat!("/api/docs#", $code),
                };
            )+

            /// Every kind, in the order of their declaration.
            pub const ALL: &'static [&'static Self] = &[$(Self::$name),+];
        }
    };
}

kinds! {
    // The request as such.
    MALFORMED = BAD_REQUEST, "Bad request", "request.malformed",
        "The request line or a header field is malformed.";
    INCOMPLETE_BODY = BAD_REQUEST, "Bad request", "request.incomplete_body",
        "The request body ended before it was complete.";
    VALIDATION_FAILED = BAD_REQUEST, "Validation failed", "request.validation_failed",
        "The request body is not valid. See details.body.";
    INVALID_QUERY = BAD_REQUEST, "Validation failed", "request.validation_failed",
        "The query is not valid. See details.query.";
    INVALID_PATH = BAD_REQUEST, "Validation failed", "request.validation_failed",
        "A parameter of the path is not valid. See details.path.";
    MALFORMED_JSON = BAD_REQUEST, "Validation failed", "request.malformed_json",
        "The request body is not valid. See details.body.";
    IDEMPOTENCY_KEY_INVALID = BAD_REQUEST, "Validation failed", "request.idempotency_key_invalid",
        "Send one Idempotency-Key header of 1 to 255 visible ASCII characters.";
    REQUEST_TIMEOUT = REQUEST_TIMEOUT, "Request timeout", "request.timeout",
        "The request did not arrive in time.";
    PAYLOAD_TOO_LARGE = PAYLOAD_TOO_LARGE, "Payload too large", "request.too_large",
        "The request body is larger than this endpoint accepts.";
    URI_TOO_LONG = URI_TOO_LONG, "URI too long", "request.uri_too_long",
        "The request target is longer than 16 KB.";
    UNSUPPORTED_MEDIA_TYPE = UNSUPPORTED_MEDIA_TYPE, "Unsupported media type", "request.unsupported_media_type",
        "Send the body as application/json.";
    EXPECTATION_FAILED = EXPECTATION_FAILED, "Expectation failed", "request.expectation_failed",
        "The only supported expectation is 100-continue.";
    IDEMPOTENCY_KEY_REUSED = UNPROCESSABLE_ENTITY, "Idempotency key reused", "request.idempotency_key_reused",
        "This Idempotency-Key belongs to another request. Send a new key with a new request.";
    HEAD_TOO_LARGE = REQUEST_HEADER_FIELDS_TOO_LARGE, "Request header fields too large", "request.head_too_large",
        "The request head is longer than 64 KB or has more than 100 fields.";

    // Routes and versions.
    ROUTE_NOT_FOUND = NOT_FOUND, "Route not found", "route.not_found",
        "No route matches this path.";
    METHOD_NOT_ALLOWED = METHOD_NOT_ALLOWED, "Method not allowed", "route.method_not_allowed",
        "This path does not accept this method.";
    INVALID_VERSION = BAD_REQUEST, "Invalid API version", "version.invalid",
        "A version is v and a number from 1 to 999, such as v1.";
    UNSUPPORTED_VERSION = BAD_REQUEST, "Unsupported API version", "version.unsupported",
        "This version of the API is not served here. See details.supportedVersions.";
    VERSION_SUNSET = GONE, "API version no longer served", "version.sunset",
        "This version of the API is past its sunset.";

    // Limits and CSRF.
    RATE_LIMITED = TOO_MANY_REQUESTS, "Too many requests", "rate.limited",
        "Too many requests in a short time. Retry-After says when to try again.";
    INVALID_CSRF_TOKEN = FORBIDDEN, "Invalid CSRF token", "csrf.invalid_token",
        "CSRF token validation failed. Please refresh and try again.";
    CROSS_SITE = FORBIDDEN, "Cross-site request refused", "csrf.cross_site",
        "The request did not come from a page of this site or of an allowed origin.";

    // Credentials and permissions.
    TWO_CREDENTIALS = BAD_REQUEST, "Ambiguous credentials", "auth.two_credentials",
        "Send one kind of credential: a bearer token, an API key or the session cookie.";
    TOKEN_REQUIRED = UNAUTHORIZED, "Access token is required", "auth.token_required",
        "Sign in and send the access token.";
    INVALID_TOKEN = UNAUTHORIZED, "Invalid token", "auth.invalid_token",
        "The access token is not valid. Sign in again or refresh it.";
    SIGN_IN_TOO_OLD = UNAUTHORIZED, "Recent sign-in required", "auth.sign_in_too_old",
        "Your last sign-in is too long ago for this request. Sign in again.";
    SIGN_IN_REQUIRED = FORBIDDEN, "Insufficient permissions", "auth.sign_in_required",
        "This request needs a signed-in user; an API key is not enough.";
    NETWORK_NOT_ALLOWED = FORBIDDEN, "Insufficient permissions", "auth.network_not_allowed",
        "This route does not accept requests from your network.";
    NOT_PERMITTED = FORBIDDEN, "Insufficient permissions", "auth.insufficient_permissions",
        "Your role or permissions do not allow this.";
    EMAIL_NOT_CONFIRMED = FORBIDDEN, "Insufficient permissions", "auth.email_not_verified",
        "Confirm your e-mail address first.";

    // Signing in and accounts.
    INVALID_CREDENTIALS = UNAUTHORIZED, "Invalid credentials", "auth.invalid_credentials",
        "The email or the password is wrong.";
    INVALID_REFRESH_TOKEN = UNAUTHORIZED, "Invalid refresh token", "auth.invalid_refresh_token",
        "The refresh token is no longer valid. Sign in again.";
    INVALID_VERIFICATION_TOKEN = BAD_REQUEST, "Invalid verification token", "auth.invalid_verification_token",
        "The link was already used, has expired or is incomplete.";
    INVALID_RESET_TOKEN = BAD_REQUEST, "Invalid or expired reset token", "auth.invalid_reset_token",
        "The link was already used, has expired or is incomplete. Request a new one.";
    PASSWORDS_DO_NOT_MATCH = BAD_REQUEST, "Passwords do not match", "auth.passwords_do_not_match",
        "The password and its confirmation differ.";
    CURRENT_PASSWORD_INCORRECT = BAD_REQUEST, "Current password is incorrect", "auth.current_password_incorrect",
        "Enter the password that you sign in with now, or reset it by e-mail.";
    USER_EXISTS = CONFLICT, "User already exists with this email or username", "auth.user_exists",
        "Choose another email or username, or sign in.";
    REGISTRATION_CLOSED = FORBIDDEN, "Registration is closed", "auth.registration_closed",
        "Only an administrator can create accounts here.";
    EMAIL_NOT_VERIFIED = FORBIDDEN, "Email not verified", "auth.email_not_verified",
        "Confirm your email address before you sign in.";
    DEMO_IN_PRODUCTION = FORBIDDEN, "Demo mode is not available in production", "auth.demo_in_production",
        "Sign in with an account of your own.";
    DEMO_READ_ONLY = FORBIDDEN, "Demo account cannot be changed", "auth.demo_read_only",
        "All visitors share the demo account. Sign in with an account of your own.";
    SETUP_UNAVAILABLE = CONFLICT, "Setup is not available", "auth.setup_unavailable",
        "An administrator exists already, or the link has expired. Without an administrator, the next start prints a new link.";
    THROTTLED = TOO_MANY_REQUESTS, "Too many requests", "auth.throttled",
        "Too many failed attempts. Retry-After says when to try again; you can reset a forgotten password by e-mail.";
    TOO_MANY_AT_ONCE = TOO_MANY_REQUESTS, "Too many requests", "auth.too_many_at_once",
        "Too many passwords of this address or account are being checked at once. Try again shortly.";
    LAST_ADMINISTRATOR = CONFLICT, "Last administrator", "user.last_administrator",
        "This is the last administrator who can sign in. Make another user an administrator first.";
    TOO_MANY_API_KEYS = CONFLICT, "Too many API keys", "api_key.too_many",
        "Revoke an unused API key, then create a new one.";
    API_KEYS_THROTTLED = TOO_MANY_REQUESTS, "Too many requests", "api_key.throttled",
        "Too many API keys were created within a day. Retry-After says when to create the next one.";
    RESOURCE_NOT_FOUND = NOT_FOUND, "Not found", "resource.not_found",
        "The requested resource was not found.";

    // The gateway and what it depends on.
    BUSY = SERVICE_UNAVAILABLE, "Service unavailable", "auth.busy",
        "Too many users are signing in at this moment. Try again shortly.";
    UNAVAILABLE = SERVICE_UNAVAILABLE, "Service unavailable", "service.unavailable",
        "The service cannot answer right now. Try again shortly.";
    INTERNAL = INTERNAL_SERVER_ERROR, "Internal server error", "internal",
        "The gateway failed to handle the request. Quote the request id when you report it.";
    BAD_GATEWAY = BAD_GATEWAY, "Bad gateway", "upstream.bad_gateway",
        "The service behind the gateway did not answer.";
    UPSTREAM_BUSY = SERVICE_UNAVAILABLE, "Service unavailable", "upstream.busy",
        "The service behind the gateway has too many requests at this moment. Try again shortly.";
    GATEWAY_TIMEOUT = GATEWAY_TIMEOUT, "Gateway timeout", "upstream.timeout",
        "The service behind the gateway did not answer in time.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_lower_case_words_joined_by_dots() {
        for kind in ErrorKind::ALL {
            let words = kind.code.split(['.', '_']);
            assert!(
                words.clone().all(|word| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase())),
                "{kind:?}"
            );
            assert!(kind.message.ends_with('.'), "{kind:?}");
        }
    }
}
