//! The errors of use cases and of the start. They do not depend on HTTP.

use portcullis_storage::StoreError;

use crate::hashing::NotHashed;

type Source = Box<dyn std::error::Error + Send + Sync>;

/// Why a use case failed.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// Input breaks rules; one sentence for each problem.
    #[error("validation failed: {}", .0.join("; "))]
    Validation(Vec<String>),
    /// The password and its confirmation differ.
    #[error("the passwords do not match")]
    PasswordsDoNotMatch,
    /// The user is unknown, inactive, locked or without a password, or the password is wrong: one error for all.
    #[error("invalid credentials")]
    InvalidCredentials,
    /// The refresh token is unknown, expired, reused or of an ended session.
    #[error("invalid refresh token")]
    InvalidRefreshToken,
    /// The verification token is unknown, expired or used.
    #[error("invalid verification token")]
    InvalidVerificationToken,
    /// The caller does not know the current password.
    #[error("the current password is incorrect")]
    CurrentPasswordIncorrect,
    /// The token of the link is unknown, expired or used.
    #[error("invalid or expired reset token")]
    InvalidResetToken,
    /// Another user has the address or the username.
    #[error("the email or the username is taken")]
    UserExists,
    /// Another user has the username.
    #[error("the username is taken")]
    UsernameTaken,
    /// Registration is not open.
    #[error("registration is closed")]
    RegistrationClosed,
    /// The caller's session or API key has ended since the request was let through (SR-59).
    #[error("the session or API key has ended")]
    SessionEnded,
    /// API keys need a confirmed e-mail address of their owner (SR-51).
    #[error("API keys need a confirmed email address of their owner")]
    KeyNeedsVerifiedEmail,
    /// The user must verify the address first.
    #[error("the email address is not verified")]
    EmailNotVerified,
    /// The credentials are those of the demo account, in production.
    #[error("demo mode is not available in production")]
    DemoInProduction,
    /// The demo account cannot be changed.
    #[error("the demo account cannot be changed")]
    DemoReadOnly,
    /// There is an administrator already, or the setup token is invalid.
    #[error("there is an administrator already, or the setup link is invalid")]
    SetupUnavailable,
    /// The object does not exist or does not belong to the caller.
    #[error("not found")]
    NotFound,
    /// The user was deleted while the request ran.
    #[error("the user was deleted in the meantime")]
    UserGone,
    /// Too many attempts failed; the next one must wait.
    #[error("too many attempts failed")]
    Throttled {
        /// The remaining wait.
        retry: std::time::Duration,
    },
    /// The actor may not do this to this user (SR-43).
    #[error("{0}")]
    NotPermitted(String),
    /// The change would leave no administrator who can sign in.
    #[error("the last administrator who can sign in cannot be disabled, demoted or deleted")]
    LastAdministrator,
    /// The user has the most API keys that one user may have.
    #[error("the user has too many API keys")]
    TooManyKeys,
    /// The user has made the most API keys that one user may make in a day.
    #[error("the user has made too many API keys in a day")]
    TooManyKeysMade {
        /// The remaining wait.
        retry: std::time::Duration,
    },
    /// The idempotency key was used for another request.
    #[error("the idempotency key belongs to another request")]
    KeyReused,
    /// The hashing queue is full.
    #[error("too many passwords are waiting to be hashed")]
    Busy,
    /// The client or the user has used up its share of the hashing queue (SR-57).
    #[error("too many passwords of one client or user are waiting to be hashed")]
    ShareUsedUp,
    /// Storage cannot be reached.
    #[error("storage is unavailable")]
    Unavailable {
        /// The error of the database.
        source: Source,
    },
    /// A defect of this program or corrupt data.
    #[error("internal error")]
    Internal {
        /// The cause.
        source: Source,
    },
}

impl From<StoreError> for IdentityError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable { .. } => Self::Unavailable { source: error.into() },
            StoreError::Conflict("foreign_key") => Self::UserGone,
            StoreError::Conflict("users_email") => Self::UserExists,
            StoreError::Conflict("users_username") => Self::UsernameTaken,
            other => Self::Internal { source: other.into() },
        }
    }
}

impl From<NotHashed> for IdentityError {
    fn from(why: NotHashed) -> Self {
        match why {
            NotHashed::ShareUsedUp => Self::ShareUsedUp,
            // The client has gone, so no one reads this response.
            NotHashed::Busy | NotHashed::ClientGone => Self::Busy,
        }
    }
}

/// Why identity could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The database failed.
    #[error("the signing keys could not be read from the database")]
    Store(#[from] StoreError),
    /// No ENCRYPTION_KEY opens the stored keys.
    #[error("the signing keys in the database are sealed with another ENCRYPTION_KEY")]
    Sealed,
    /// A stored key is corrupt.
    #[error("the signing key {kid} in the database cannot be read")]
    Key {
        /// The id of the key.
        kid: String,
    },
    /// `JWT_SECRET` was set or removed while the process runs.
    #[error("JWT_SECRET was set or removed, which needs a restart")]
    OtherKind,
    /// A user has the address of the demo account.
    #[error("the demo account cannot be created: a user has the e-mail address {email}")]
    DemoEmailTaken {
        /// The configured address.
        email: String,
    },
    /// The demo account could not be read or written.
    #[error("the demo account could not be created")]
    DemoAccount {
        /// The cause.
        source: IdentityError,
    },
    /// The operating system starts no thread.
    #[error("the threads that hash passwords could not be started")]
    Threads(#[source] std::io::Error),
}

impl StartError {
    /// What the operator can do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Sealed => Some("start with the ENCRYPTION_KEY that this database was first used with"),
            Self::DemoEmailTaken { .. } => {
                Some("set DEMO_USER_EMAIL to an address that no user has, or unset ENABLE_DEMO_MODE")
            }
            _ => None,
        }
    }
}
