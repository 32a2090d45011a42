//! Sending what the outbox holds. A link's token is minted as its mail is sent,
//! so that the database never holds one that works (requirement 11).

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use portcullis_model::{Email, SecretString, Timestamp, User};
use portcullis_storage::{DueMail, TokenPurpose};
use tokio_util::sync::CancellationToken;

use crate::error::IdentityError;
use crate::identity::{Identity, Parts};

/// A mail ready to go.
#[derive(Debug)]
pub struct OutgoingMail {
    /// To whom: always the stored address.
    pub to: Email,
    /// Which text.
    pub template: String,
    /// The single-use link; its token is in the fragment.
    pub link: SecretString,
}

/// Carries mails away.
pub trait MailSender: Send + Sync + 'static {
    /// Sends one; an error is tried again later.
    fn send(&self, mail: OutgoingMail) -> BoxFuture<'_, Result<(), String>>;
}

/// The mail that asks to confirm an address.
pub(crate) const VERIFY_EMAIL: &str = "verify_email";
/// The mail that tells somebody that they have an account already.
pub(crate) const ALREADY_REGISTERED: &str = "already_registered";
/// The mail with which somebody sets a new password.
pub(crate) const RESET_PASSWORD: &str = "reset_password";
/// The mail with which somebody who was invited sets the first password.
pub(crate) const INVITATION: &str = "invitation";
/// The mail that tells somebody that their password is another now (requirement 18).
pub(crate) const PASSWORD_CHANGED: &str = "password_changed";

/// The mail that tells somebody that a key to their account was made (requirement 18).
pub(crate) const API_KEY_CREATED: &str = "api_key_created";

/// How often the outbox is looked into.
const POLL: Duration = Duration::from_secs(1);
/// How long a claimed mail is hidden from other replicas.
const LEASE: Duration = Duration::from_secs(60);
/// Mails claimed at once.
const BATCH: u64 = 16;
/// How long a link to confirm an address works.
const VERIFICATION_LIFETIME: Duration = Duration::from_secs(24 * 3600);
/// How long a link to set a new password works.
const RESET_LIFETIME: Duration = Duration::from_secs(30 * 60);
/// How long a link to set the first password works.
const INVITATION_LIFETIME: Duration = Duration::from_secs(7 * 24 * 3600);
/// The longest pause between two attempts.
const MAX_BACKOFF: Duration = Duration::from_secs(3600);

impl Identity {
    /// Sends due mails until `stopping` is cancelled.
    pub async fn run_outbox(self, sender: Arc<dyn MailSender>, stopping: CancellationToken) {
        let mut failing = false;
        loop {
            tokio::select! {
                () = tokio::time::sleep(POLL) => {}
                () = stopping.cancelled() => return,
            }
            let outcome = self.send_due_mail(&*sender).await;
            if let Err(error) = &outcome
                && !failing
            {
                tracing::warn!(error = error as &dyn std::error::Error, "the mail outbox cannot be read");
            }
            failing = outcome.is_err();
        }
    }

    /// Sends what is due now, and returns how many mails went out.
    pub async fn send_due_mail(&self, sender: &dyn MailSender) -> Result<usize, IdentityError> {
        let now = self.clock.now();
        let mut sent = 0;
        for mail in self.store.claim_due_mail(now, LEASE, BATCH).await? {
            match self.send_one(&mail, sender).await {
                Ok(()) => {
                    self.store.mark_mail_sent(mail.id, now).await?;
                    sent += 1;
                }
                Err(reason) => {
                    tracing::warn!(mail = %mail.id, attempt = mail.attempts, %reason, "a mail was not sent");
                    self.store.mark_mail_failed(mail.id, &reason, next_attempt(now, mail.attempts)).await?;
                }
            }
        }
        Ok(sent)
    }

    async fn send_one(&self, mail: &DueMail, sender: &dyn MailSender) -> Result<(), String> {
        let failed = |error: IdentityError| error.to_string();
        let user = self.store.user_by_id(mail.user_id).await.map_err(|error| failed(error.into()))?;
        let Some(user) = user else { return Err("the account is gone".to_owned()) };
        let link = match mail.template.as_str() {
            VERIFY_EMAIL => self.link(&user, TokenPurpose::VerifyEmail).await.map_err(failed)?,
            RESET_PASSWORD => self.link(&user, TokenPurpose::ResetPassword).await.map_err(failed)?,
            INVITATION => self.link(&user, TokenPurpose::Invitation).await.map_err(failed)?,
            ALREADY_REGISTERED | PASSWORD_CHANGED | API_KEY_CREATED => {
                SecretString::new(self.options.public_url.clone())
            }
            other => return Err(format!("there is no mail called {other:?}")),
        };
        sender.send(OutgoingMail { to: user.email, template: mail.template.clone(), link }).await
    }
}

impl Parts {
    /// A link with a new token in its fragment, which browsers send to no server.
    async fn link(&self, user: &User, purpose: TokenPurpose) -> Result<SecretString, IdentityError> {
        let (page, lifetime) = match purpose {
            TokenPurpose::VerifyEmail => ("verify-email", VERIFICATION_LIFETIME),
            TokenPurpose::ResetPassword => ("reset-password", RESET_LIFETIME),
            TokenPurpose::Invitation => ("reset-password", INVITATION_LIFETIME),
            TokenPurpose::FirstAdmin => unreachable!("the first administrator's link is printed, never mailed"),
        };
        let mut tx = self.store.begin().await?;
        let token = self.mint(&mut tx, purpose, Some(user.id), lifetime).await?;
        tx.commit().await?;
        Ok(SecretString::new(format!("{}/{page}#{}", self.options.public_url, token.expose())))
    }
}

/// Doubles with each attempt, from ten seconds to an hour.
fn next_attempt(now: Timestamp, attempts: i64) -> Timestamp {
    let doubled = Duration::from_secs(10 << attempts.clamp(0, 10));
    now + doubled.min(MAX_BACKOFF)
}
