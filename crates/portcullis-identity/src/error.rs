//! What can go wrong in a use case. Knows no HTTP.

use portcullis_storage::StoreError;

type Source = Box<dyn std::error::Error + Send + Sync>;

/// Why a use case did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// Values from outside break a rule; one sentence each.
    #[error("validation failed: {}", .0.join("; "))]
    Validation(Vec<String>),
    /// The password and its confirmation differ.
    #[error("the passwords do not match")]
    PasswordsDoNotMatch,
    /// Unknown, wrong, inactive or without a password: one answer for all.
    #[error("invalid credentials")]
    InvalidCredentials,
    /// Not a refresh token that works any more.
    #[error("invalid refresh token")]
    InvalidRefreshToken,
    /// Not a verification token that works any more.
    #[error("invalid verification token")]
    InvalidVerificationToken,
    /// Whoever would change a password does not know the one in force.
    #[error("the current password is incorrect")]
    CurrentPasswordIncorrect,
    /// Not a link's token that sets a password any more.
    #[error("invalid or expired reset token")]
    InvalidResetToken,
    /// The address or the username is taken.
    #[error("the email or the username is taken")]
    UserExists,
    /// Nobody may register.
    #[error("registration is closed")]
    RegistrationClosed,
    /// The address must be confirmed first.
    #[error("the email address is not verified")]
    EmailNotVerified,
    /// The demo account in production.
    #[error("demo mode is not available in production")]
    DemoInProduction,
    /// The demo account cannot be changed.
    #[error("the demo account cannot be changed")]
    DemoReadOnly,
    /// There is an administrator, or the link is not good.
    #[error("the first administrator cannot be made this way")]
    SetupUnavailable,
    /// There is no such thing, or it is not the caller's.
    #[error("not found")]
    NotFound,
    /// Too many attempts have failed; the next one must wait.
    #[error("too many attempts have failed")]
    Throttled {
        /// For so long.
        retry: std::time::Duration,
    },
    /// Whoever asks may not do this to this account (requirement 43).
    #[error("{0}")]
    NotPermitted(String),
    /// Nobody would be left to administer.
    #[error("the last administrator must stay one")]
    LastAdministrator,
    /// The person has as many keys as anybody may.
    #[error("there are too many API keys")]
    TooManyKeys,
    /// The client's name for this request is another request's.
    #[error("the idempotency key belongs to another request")]
    KeyReused,
    /// The hashing room's queue is full.
    #[error("too many passwords are being checked")]
    Busy,
    /// Storage cannot be reached.
    #[error("storage is unavailable")]
    Unavailable {
        /// What storage said.
        source: Source,
    },
    /// A defect.
    #[error("internal error")]
    Internal {
        /// What happened.
        source: Source,
    },
}

impl From<StoreError> for IdentityError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable { .. } => Self::Unavailable { source: error.into() },
            StoreError::Conflict("users_email" | "users_username") => Self::UserExists,
            other => Self::Internal { source: other.into() },
        }
    }
}

/// Why identity could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Storage.
    #[error("the signing keys could not be read from the database")]
    Store(#[from] StoreError),
    /// The sealed keys do not open.
    #[error("the signing keys in the database are sealed with another ENCRYPTION_KEY")]
    Sealed,
    /// A stored key is not a key.
    #[error("the signing key {kid} in the database cannot be read")]
    Key {
        /// Which.
        kid: String,
    },
    /// `JWT_SECRET` came or went.
    #[error("JWT_SECRET was set or taken away, which needs a restart")]
    OtherKind,
    /// The operating system gives no thread.
    #[error("the threads that hash passwords could not be started")]
    Threads(#[source] std::io::Error),
}

impl StartError {
    /// What to do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Sealed => Some("start with the ENCRYPTION_KEY that this database was first used with"),
            _ => None,
        }
    }
}
