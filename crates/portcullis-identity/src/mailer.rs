//! Sending the mails of the outbox. The token of a link is minted when its mail is sent, so that the database never
//! holds a link that works (SR-11).

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use portcullis_model::mail::{MailError, MailKind, MailSender, OutgoingMail};
use portcullis_model::{Clock, SecretString, Timestamp};
use portcullis_storage::{DueMail, Store, TokenPurpose};
use portcullis_telemetry::Metrics;
use portcullis_telemetry::logs::redacted;
use portcullis_telemetry::traces::{self, KnownRoot, SpanKind};
use tokio_util::sync::CancellationToken;

use crate::error::IdentityError;
use crate::mail_links::MailLinks;

/// Interval between two readings of the outbox.
const POLL: Duration = Duration::from_secs(1);
/// How long a claimed mail stays hidden from other replicas.
const LEASE: Duration = Duration::from_secs(60);
/// Mails claimed and sent at once. Each must be sent well before its lease expires.
const BATCH: u64 = 4;
/// The longest pause between two attempts.
const MAX_BACKOFF: Duration = Duration::from_secs(3600);
/// A mail is given up after this long.
const GIVE_UP_AFTER: Duration = Duration::from_secs(3 * 86_400);
/// The outcome of a mail that was sent.
const SENT: &str = "sent";

/// Sends queued mails.
pub struct Mailer {
    pub(crate) store: Store,
    pub(crate) clock: Clock,
    pub(crate) metrics: Metrics,
    pub(crate) links: MailLinks,
}

impl Mailer {
    /// Changes the public URL in links of mails that are sent from now on; it has no slash at its end.
    pub fn set_public_url(&self, url: String) {
        self.links.public_url.store(Arc::new(url));
    }

    /// Sends due mails until `stopping` is cancelled.
    pub async fn run(&self, sender: Arc<dyn MailSender>, stopping: CancellationToken) {
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
                // An unfinished mail is due again when its lease expires.
                () = stopping.cancelled() => return,
            };
            if let Err(error) = &outcome
                && !failing
            {
                tracing::warn!(error = error as &dyn std::error::Error, "the mail outbox cannot be read; mails wait");
            }
            failing = outcome.is_err();
            more = outcome.is_ok_and(|claimed| claimed == BATCH);
        }
    }

    /// Sends all due mails and returns the number of attempts.
    pub async fn send_due(&self, sender: &dyn MailSender) -> Result<u64, IdentityError> {
        let mut tried = 0;
        loop {
            let claimed = self.send_batch(sender).await?;
            tried += claimed;
            if claimed < BATCH {
                return Ok(tried);
            }
        }
    }

    /// Sends at most [`BATCH`] due mails and returns how many were claimed.
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

    /// Sends a mail and notes the outcome. This is a trace of its own, because the request that queued the mail has ended. That
    /// request's trace links to it.
    async fn send_one(&self, mail: DueMail, sender: &dyn MailSender, now: Timestamp) -> Result<(), IdentityError> {
        let attempt = mail.attempts.unsigned_abs();
        let mut span = KnownRoot::new(mail.id.as_u128(), attempt).begin("mail", SpanKind::Internal);
        if let Some(span) = &mut span {
            // A template of another version is not shown: names of spans are few.
            let kind = MailKind::from_name(&mail.template).map_or("unknown", MailKind::as_str);
            span.rename(format!("mail {kind}"));
            span.set("portcullis.mail.id", mail.id.to_string());
            span.set("portcullis.mail.attempt", attempt);
        }
        let (sent, span) = traces::within(span, Box::pin(self.try_one(&mail, sender, now))).await;
        let result = sent?;
        if let Some(mut span) = span.filter(|_| result != SENT) {
            span.fail(result);
        }
        self.metrics.mail(result);
        Ok(())
    }

    /// Sends a mail, notes the outcome in the outbox and returns it.
    async fn try_one(
        &self,
        mail: &DueMail,
        sender: &dyn MailSender,
        now: Timestamp,
    ) -> Result<&'static str, IdentityError> {
        let outcome = match self.compose(mail).await {
            Ok(outgoing) => {
                let link = outgoing.link.clone();
                hand_over(outgoing, sender).await.map_err(|error| without_link(error, &link))
            }
            Err(error) => Err(error),
        };
        Ok(match outcome {
            Ok(()) => {
                self.store.mark_mail_sent(mail.id, self.clock.now()).await?;
                SENT
            }
            Err(MailError::Temporary(reason)) if now < mail.created_at + GIVE_UP_AFTER => {
                tracing::warn!(mail = %mail.id, attempt = mail.attempts, %reason, "a mail could not be sent; it will be tried again");
                self.store.mark_mail_failed(mail.id, &reason, next_attempt(now, mail.attempts)).await?;
                "delayed"
            }
            Err(MailError::Temporary(reason) | MailError::Permanent(reason)) => {
                tracing::error!(mail = %mail.id, attempt = mail.attempts, %reason, "a mail was given up and will not be sent");
                self.store.give_up_mail(mail.id, &reason, now).await?;
                "given_up"
            }
        })
    }

    async fn compose(&self, mail: &DueMail) -> Result<OutgoingMail, MailError> {
        if self.clock.now() > mail.created_at + GIVE_UP_AFTER {
            return Err(MailError::Permanent("it was queued more than three days ago".to_owned()));
        }
        let later = |error: IdentityError| MailError::Temporary(error.to_string());
        let user = self.store.user_by_id(mail.user_id).await.map_err(|error| later(error.into()))?;
        let user = user.ok_or_else(|| MailError::Permanent("the user was deleted".to_owned()))?;
        if user.id.is_demo() {
            return Err(MailError::Permanent("the demo account receives no mail".to_owned()));
        }
        let kind = MailKind::from_name(&mail.template)
            .ok_or_else(|| MailError::Temporary(format!("this version has no template {:?}", mail.template)))?;
        let link = async |purpose| self.links.mint(&user, purpose).await.map_err(later);
        let (link, works_for) = match kind {
            MailKind::VerifyEmail => (link(TokenPurpose::VerifyEmail).await?, Some("24 hours")),
            MailKind::ResetPassword => (link(TokenPurpose::ResetPassword).await?, Some("30 minutes")),
            MailKind::Invitation => (link(TokenPurpose::Invitation).await?, Some("7 days")),
            MailKind::AlreadyRegistered
            | MailKind::PasswordChanged
            | MailKind::PasswordReset
            | MailKind::ApiKeyCreated => (self.links.service_link(), None),
        };
        Ok(OutgoingMail { id: mail.id, created_at: mail.created_at, to: user.email, kind, link, works_for })
    }
}

/// Gives a mail to the mail server, which is a span within that of the mail.
async fn hand_over(mail: OutgoingMail, sender: &dyn MailSender) -> Result<(), MailError> {
    let (sent, span) = traces::within(traces::span("send mail", SpanKind::Client), sender.send(mail)).await;
    if let (Err(error), Some(mut span)) = (&sent, span) {
        span.fail(match error {
            MailError::Temporary(_) => "temporary",
            MailError::Permanent(_) => "permanent",
        });
    }
    sent
}

/// A part of a token that is so long is not in a text by chance.
const TELLING: usize = 8;

/// Takes the link of a mail out of what the mail server said about it (SR-47). A text that quotes any part of its token,
/// be it with line breaks or escapes in between, is not believed at all.
fn without_link(error: MailError, link: &SecretString) -> MailError {
    let token = link.expose().split_once('#').map_or("", |(_, token)| token);
    let clean = |reason: String| {
        let joined: Vec<u8> =
            reason.bytes().filter(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_')).collect();
        let quotes = token.as_bytes().windows(TELLING).any(|part| joined.windows(TELLING).any(|other| other == part));
        match quotes {
            true => "the mail server refused it with a text that quotes the mail's link".to_owned(),
            false => redacted(&reason),
        }
    };
    match error {
        MailError::Temporary(reason) => MailError::Temporary(clean(reason)),
        MailError::Permanent(reason) => MailError::Permanent(clean(reason)),
    }
}

/// The time of the next attempt. The wait doubles with each attempt, from ten seconds to [`MAX_BACKOFF`].
fn next_attempt(now: Timestamp, attempts: i64) -> Timestamp {
    let doubled = Duration::from_secs(10 << attempts.clamp(0, 10));
    now + doubled.min(MAX_BACKOFF)
}
