//! Mails between identity, which writes them to the outbox, and the sender.

use std::time::Duration;

use futures_util::future::BoxFuture;
use uuid::Uuid;

use crate::{Email, SecretString, Timestamp};

/// The kind of a mail. It decides the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MailKind {
    /// Asks the user to confirm an e-mail address.
    VerifyEmail,
    /// Tells a user who registered again that the account exists already.
    AlreadyRegistered,
    /// Carries the link with which a user sets a new password.
    ResetPassword,
    /// Carries the link with which an invited user sets the first password.
    Invitation,
    /// Tells the user that they changed the password, which leaves their API keys.
    PasswordChanged,
    /// Tells the user that the password was reset, which ended every session and API key.
    PasswordReset,
    /// Tells the user that an API key was created.
    ApiKeyCreated,
}

impl MailKind {
    /// All kinds of mails.
    pub const ALL: [Self; 7] = [
        Self::VerifyEmail,
        Self::AlreadyRegistered,
        Self::ResetPassword,
        Self::Invitation,
        Self::PasswordChanged,
        Self::PasswordReset,
        Self::ApiKeyCreated,
    ];

    /// How many mails of this kind one recipient gets (SR-58). A mail beyond that is not queued, and nobody is told.
    ///
    /// The mails of a kind with a link are counted for as long as a link is good. So whoever has used up the allowance,
    /// the recipient has a link that works.
    pub fn limit(self) -> MailLimit {
        let (most, within, only_confirmed) = match self {
            Self::VerifyEmail => (5, DAY, false),
            Self::AlreadyRegistered => (1, DAY, false),
            Self::ResetPassword => (3, HALF_AN_HOUR, false),
            Self::Invitation => (3, DAY, false),
            Self::PasswordChanged | Self::PasswordReset | Self::ApiKeyCreated => (5, HOUR, true),
        };
        MailLimit { most, within, only_confirmed }
    }

    /// The kind's name in the outbox table.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::VerifyEmail => "verify_email",
            Self::AlreadyRegistered => "already_registered",
            Self::ResetPassword => "reset_password",
            Self::Invitation => "invitation",
            Self::PasswordChanged => "password_changed",
            Self::PasswordReset => "password_reset",
            Self::ApiKeyCreated => "api_key_created",
        }
    }

    /// The kind with this name in the outbox table. `None` for a name that only a newer version knows.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

const HALF_AN_HOUR: Duration = Duration::from_secs(1_800);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

/// The allowance of one recipient for one kind of mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MailLimit {
    /// The most mails within [`within`](Self::within).
    pub most: u64,
    /// The time in which mails are counted.
    pub within: Duration,
    /// Whether the mail goes to confirmed addresses only. A notice about an account does not concern the owner of an
    /// address that a stranger typed.
    pub only_confirmed: bool,
}

/// A mail that is ready to be sent.
#[derive(Debug)]
pub struct OutgoingMail {
    /// The mail's id, which is the same at each attempt.
    pub id: Uuid,
    /// The time at which the mail was put into the outbox.
    pub created_at: Timestamp,
    /// The recipient: always the address in the database.
    pub to: Email,
    /// The kind, which decides the text.
    pub kind: MailKind,
    /// The link in the mail: with a one-time token in its fragment, or to the service itself.
    pub link: SecretString,
    /// The lifetime of the one-time token, in words; `None` if the link has no token.
    pub works_for: Option<&'static str>,
}

/// The reason why a mail was not sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MailError {
    /// A later attempt may succeed.
    #[error("{0}")]
    Temporary(String),
    /// Every further attempt would fail too.
    #[error("{0}")]
    Permanent(String),
}

/// Sends mails, for example over SMTP.
pub trait MailSender: Send + Sync + 'static {
    /// Sends one mail, or says whether a later attempt may succeed.
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
