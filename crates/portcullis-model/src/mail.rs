//! Mails on their way: what identity hands over, and whoever carries it.

use futures_util::future::BoxFuture;
use uuid::Uuid;

use crate::{Email, ProfileName, SecretString, Timestamp};

/// Which text a mail has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MailKind {
    /// Asks to confirm an address.
    VerifyEmail,
    /// Tells somebody who registered again that they have an account.
    AlreadyRegistered,
    /// With which somebody sets a new password.
    ResetPassword,
    /// With which somebody who was invited sets the first password.
    Invitation,
    /// Tells that the password is another now.
    PasswordChanged,
    /// Tells that a key to the account was made.
    ApiKeyCreated,
}

impl MailKind {
    /// Every kind.
    pub const ALL: [Self; 6] = [
        Self::VerifyEmail,
        Self::AlreadyRegistered,
        Self::ResetPassword,
        Self::Invitation,
        Self::PasswordChanged,
        Self::ApiKeyCreated,
    ];

    /// The name in the outbox.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::VerifyEmail => "verify_email",
            Self::AlreadyRegistered => "already_registered",
            Self::ResetPassword => "reset_password",
            Self::Invitation => "invitation",
            Self::PasswordChanged => "password_changed",
            Self::ApiKeyCreated => "api_key_created",
        }
    }

    /// The kind of this name, if there is one.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

/// A mail ready to go.
#[derive(Debug)]
pub struct OutgoingMail {
    /// Its id, the same at each attempt.
    pub id: Uuid,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// To whom: always the stored address.
    pub to: Email,
    /// What the person is called.
    pub name: ProfileName,
    /// Which text.
    pub kind: MailKind,
    /// Where it leads: a single-use link with its token in the fragment, or the service itself.
    pub link: SecretString,
    /// How long the link works, in words; `None` when it is no single-use one.
    pub works_for: Option<&'static str>,
}

/// Why a mail has not left.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MailError {
    /// It may leave later.
    #[error("{0}")]
    Temporary(String),
    /// This mail to this address never will.
    #[error("{0}")]
    Permanent(String),
}

/// Carries mails away.
pub trait MailSender: Send + Sync + 'static {
    /// Sends one.
    fn send(&self, mail: OutgoingMail) -> BoxFuture<'_, Result<(), MailError>>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_found_by_their_names() {
        for kind in MailKind::ALL {
            assert_eq!(MailKind::from_name(kind.as_str()), Some(kind));
        }
        assert_eq!(MailKind::from_name("spam"), None);
    }
}
