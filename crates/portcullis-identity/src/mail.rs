//! Sending what the outbox holds. A link's token is minted as its mail is sent,
//! so that the database never holds one that works (requirement 11).

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use portcullis_model::mail::{MailError, MailKind, MailSender, OutgoingMail};
use portcullis_model::{SecretString, Timestamp, User};
use portcullis_storage::{DueMail, TokenPurpose};
use tokio_util::sync::CancellationToken;

use crate::error::IdentityError;
use crate::identity::{Identity, Parts};

/// How often the outbox is looked into.
const POLL: Duration = Duration::from_secs(1);
/// How long a claimed mail is hidden from other replicas.
const LEASE: Duration = Duration::from_secs(60);
/// Mails claimed and sent at once: each must be done well before its claim runs out.
const BATCH: u64 = 4;
/// How long a link to confirm an address works.
const VERIFICATION_LIFETIME: Duration = Duration::from_secs(24 * 3600);
/// How long a link to set a new password works.
const RESET_LIFETIME: Duration = Duration::from_secs(30 * 60);
/// How long a link to set the first password works.
const INVITATION_LIFETIME: Duration = Duration::from_secs(7 * 24 * 3600);
/// The longest pause between two attempts.
const MAX_BACKOFF: Duration = Duration::from_secs(3600);
/// How long a mail is tried.
const PATIENCE: Duration = Duration::from_secs(3 * 86_400);

impl Identity {
    /// Sends due mails until `stopping` is cancelled.
    pub async fn run_outbox(self, sender: Arc<dyn MailSender>, stopping: CancellationToken) {
        let (mut failing, mut more) = (false, false);
        loop {
            if !more {
                tokio::select! {
                    () = tokio::time::sleep(POLL) => {}
                    () = stopping.cancelled() => return,
                }
            }
            let outcome = tokio::select! {
                outcome = self.send_batch(&*sender) => outcome,
                // What was under way is due again when its claim has run out.
                () = stopping.cancelled() => return,
            };
            if let Err(error) = &outcome
                && !failing
            {
                tracing::warn!(error = error as &dyn std::error::Error, "the mail outbox cannot be read");
            }
            failing = outcome.is_err();
            more = outcome.is_ok_and(|claimed| claimed == BATCH);
        }
    }

    /// Sends everything that is due now, and says how many mails were tried.
    pub async fn send_due_mail(&self, sender: &dyn MailSender) -> Result<u64, IdentityError> {
        let mut tried = 0;
        loop {
            let claimed = self.send_batch(sender).await?;
            tried += claimed;
            if claimed < BATCH {
                return Ok(tried);
            }
        }
    }

    /// Sends a few mails that are due, and says how many were claimed.
    async fn send_batch(&self, sender: &dyn MailSender) -> Result<u64, IdentityError> {
        let now = self.clock.now();
        let due = self.store.claim_due_mail(now, LEASE, BATCH).await?;
        let claimed = due.len();
        let mut sending: FuturesUnordered<_> = due.into_iter().map(|mail| self.send_one(mail, sender, now)).collect();
        while let Some(noted) = sending.next().await {
            noted?;
        }
        Ok(u64::try_from(claimed).unwrap_or(BATCH))
    }

    async fn send_one(&self, mail: DueMail, sender: &dyn MailSender, now: Timestamp) -> Result<(), IdentityError> {
        let outcome = match self.compose(&mail).await {
            Ok(outgoing) => sender.send(outgoing).await,
            Err(error) => Err(error),
        };
        let result = match outcome {
            Ok(()) => {
                self.store.mark_mail_sent(mail.id, self.clock.now()).await?;
                "sent"
            }
            Err(MailError::Temporary(reason)) if now < mail.created_at + PATIENCE => {
                tracing::warn!(mail = %mail.id, attempt = mail.attempts, %reason, "a mail was not sent; it is tried again");
                self.store.mark_mail_failed(mail.id, &reason, next_attempt(now, mail.attempts)).await?;
                "delayed"
            }
            Err(MailError::Temporary(reason) | MailError::Permanent(reason)) => {
                tracing::error!(mail = %mail.id, attempt = mail.attempts, %reason, "a mail was given up");
                self.store.give_up_mail(mail.id, &reason, now).await?;
                "given_up"
            }
        };
        self.metrics.mail(result);
        Ok(())
    }

    async fn compose(&self, mail: &DueMail) -> Result<OutgoingMail, MailError> {
        if self.clock.now() > mail.created_at + PATIENCE {
            return Err(MailError::Permanent("it has waited for too long to be of use".to_owned()));
        }
        let later = |error: IdentityError| MailError::Temporary(error.to_string());
        let user = self.store.user_by_id(mail.user_id).await.map_err(|error| later(error.into()))?;
        let user = user.ok_or_else(|| MailError::Permanent("the account is gone".to_owned()))?;
        let kind = MailKind::from_name(&mail.template)
            .ok_or_else(|| MailError::Temporary(format!("this version knows no mail called {:?}", mail.template)))?;
        let (link, works_for) = match kind {
            MailKind::VerifyEmail => {
                (self.link(&user, TokenPurpose::VerifyEmail).await.map_err(later)?, Some("24 hours"))
            }
            MailKind::ResetPassword => {
                (self.link(&user, TokenPurpose::ResetPassword).await.map_err(later)?, Some("30 minutes"))
            }
            MailKind::Invitation => (self.link(&user, TokenPurpose::Invitation).await.map_err(later)?, Some("7 days")),
            MailKind::AlreadyRegistered | MailKind::PasswordChanged | MailKind::ApiKeyCreated => {
                (SecretString::new(self.options.public_url.clone()), None)
            }
        };
        let (to, name) = (user.email, user.first_name);
        Ok(OutgoingMail { id: mail.id, created_at: mail.created_at, to, name, kind, link, works_for })
    }
}

impl Parts {
    /// A link with a new token in its fragment, which browsers send to no server.
    pub(crate) async fn link(&self, user: &User, purpose: TokenPurpose) -> Result<SecretString, IdentityError> {
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
