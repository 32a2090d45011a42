//! What can go wrong in a use case, as a client sees it.

use http::header::RETRY_AFTER;
use http::{HeaderValue, StatusCode};
use portcullis_identity::IdentityError;
use portcullis_storage::StoreError;

use super::Fault;

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
            IdentityError::Throttled { retry } => Self::new(
                S::TOO_MANY_REQUESTS,
                "Too many requests",
                "Too many attempts have failed. Retry-After says when to try again; a forgotten password can be reset by mail.",
                "auth.throttled",
            )
            .header(RETRY_AFTER, HeaderValue::from(retry.as_secs() + 1)),
            IdentityError::NotPermitted(why) => {
                Self::new(S::FORBIDDEN, "Insufficient permissions", why, "auth.insufficient_permissions")
            }
            IdentityError::LastAdministrator => Self::new(
                S::CONFLICT,
                "Last administrator",
                "This is the last active administrator. Make another one first.",
                "user.last_administrator",
            ),
            IdentityError::TooManyKeys => Self::new(
                S::CONFLICT,
                "Too many API keys",
                "Revoke a key that is not used any more, then make another one.",
                "api_key.too_many",
            ),
            IdentityError::KeyReused => Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "Idempotency key reused",
                "This Idempotency-Key belongs to another request. Send a new key with a new request.",
                "request.idempotency_key_reused",
            ),
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
