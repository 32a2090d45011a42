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
use crate::register::{ALREADY_REGISTERED, VERIFY_EMAIL};

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

/// How often the outbox is looked into.
const POLL: Duration = Duration::from_secs(1);
/// How long a claimed mail is hidden from other replicas.
const LEASE: Duration = Duration::from_secs(60);
/// Mails claimed at once.
const BATCH: u64 = 16;
/// How long a link to confirm an address works.
const VERIFICATION_LIFETIME: Duration = Duration::from_secs(24 * 3600);
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
            VERIFY_EMAIL => self.verification_link(&user).await.map_err(failed)?,
            ALREADY_REGISTERED => SecretString::new(self.options.public_url.clone()),
            other => return Err(format!("there is no mail called {other:?}")),
        };
        sender.send(OutgoingMail { to: user.email, template: mail.template.clone(), link }).await
    }
}

impl Parts {
    async fn verification_link(&self, user: &User) -> Result<SecretString, IdentityError> {
        let mut tx = self.store.begin().await?;
        let token = self.mint(&mut tx, TokenPurpose::VerifyEmail, Some(user.id), VERIFICATION_LIFETIME).await?;
        tx.commit().await?;
        Ok(SecretString::new(format!("{}/verify-email#{}", self.options.public_url, token.expose())))
    }
}

/// Doubles with each attempt, from ten seconds to an hour.
fn next_attempt(now: Timestamp, attempts: i64) -> Timestamp {
    let doubled = Duration::from_secs(10 << attempts.clamp(0, 10));
    now + doubled.min(MAX_BACKOFF)
}
