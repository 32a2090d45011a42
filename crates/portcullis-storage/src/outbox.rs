//! Mail to be sent: template and person, never a link. The link is minted when the mail is.

use std::time::Duration;

use portcullis_model::ids::new_uuid;
use portcullis_model::{Email, Timestamp, UserId};
use uuid::Uuid;

use crate::engine::error::StoreError;
use crate::engine::statement::{Runs, Sql};
use crate::engine::stored_text;
use crate::engine::value::as_bigint;
use crate::store::{Store, Tx};

/// A mail that somebody who may be anybody asks for, by address.
#[derive(Clone, Copy, Debug)]
pub struct MailRequest<'a> {
    /// Which text.
    pub template: &'a str,
    /// The address that was typed; the mail goes to the stored one.
    pub email: &'a Email,
    /// Only to an address that is not confirmed yet.
    pub only_unverified: bool,
    /// At most this many mails of this text…
    pub most: u64,
    /// …within this time.
    pub within: Duration,
    /// Now.
    pub at: Timestamp,
}

/// A mail whose turn has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DueMail {
    /// Its id.
    pub id: Uuid,
    /// Which text.
    pub template: String,
    /// To whom.
    pub user_id: UserId,
    /// Since when it waits.
    pub created_at: Timestamp,
    /// Attempts so far, this one included.
    pub attempts: i64,
}

static ENQUEUE: Sql = Sql::insert(
    "mail_outbox",
    "INSERT INTO mail_outbox (id, template, user_id, created_at, attempts, next_attempt_at) \
     VALUES ($1, $2, $3, $4, 0, $4)",
);
// One statement, whether there is such an account or not (SR-10).
static REQUEST: Sql = Sql::insert(
    "mail_outbox",
    "INSERT INTO mail_outbox (id, template, user_id, created_at, attempts, next_attempt_at) \
     SELECT $1, $2, users.id, $3, 0, $3 FROM users \
     WHERE users.email = $4 AND users.is_active AND (users.email_verified_at IS NULL OR NOT $5) \
     AND (SELECT count(*) FROM mail_outbox earlier WHERE earlier.user_id = users.id AND earlier.template = $2 \
     AND earlier.created_at > $6) < $7 RETURNING user_id",
);
// The outer condition is checked again on the row as it is when its lock is got: of two workers one takes it.
static CLAIM: Sql = Sql::update(
    "mail_outbox",
    "UPDATE mail_outbox SET next_attempt_at = $2, attempts = attempts + 1 WHERE id IN \
     (SELECT id FROM mail_outbox WHERE sent_at IS NULL AND given_up_at IS NULL AND next_attempt_at <= $1 \
     ORDER BY next_attempt_at LIMIT $3) AND sent_at IS NULL AND next_attempt_at <= $1 RETURNING id, template, user_id, created_at, attempts",
);
static SENT: Sql = Sql::update("mail_outbox", "UPDATE mail_outbox SET sent_at = $2, last_error = NULL WHERE id = $1");
static FAILED: Sql = Sql::update(
    "mail_outbox",
    "UPDATE mail_outbox SET last_error = $2, next_attempt_at = $3 WHERE id = $1 AND sent_at IS NULL",
);

static GIVEN_UP: Sql = Sql::update(
    "mail_outbox",
    "UPDATE mail_outbox SET last_error = $2, given_up_at = $3 WHERE id = $1 AND sent_at IS NULL",
);
static WAITING: Sql =
    Sql::select("mail_outbox", "SELECT count(*) AS n FROM mail_outbox WHERE sent_at IS NULL AND given_up_at IS NULL");

impl Tx {
    /// Queues a mail beside the change that calls for it.
    pub async fn enqueue_mail(&mut self, template: &str, to: UserId, at: Timestamp) -> Result<Uuid, StoreError> {
        let id = new_uuid(&self.shared().clock, &self.shared().random);
        self.execute(&ENQUEUE, vec![id.into(), template.into(), to.0.into(), at.into()]).await?;
        Ok(id)
    }

    /// Queues a mail for the active account with this address, and says whose it is; `None` when there is none, or
    /// when it has had enough of these mails. The same statement in every case.
    pub async fn request_mail(&mut self, request: &MailRequest<'_>) -> Result<Option<UserId>, StoreError> {
        let id = new_uuid(&self.shared().clock, &self.shared().random);
        let values = vec![
            id.into(),
            request.template.into(),
            request.at.into(),
            request.email.as_str().into(),
            request.only_unverified.into(),
            (request.at - request.within).into(),
            as_bigint(request.most),
        ];
        self.one(&REQUEST, values).await?.map(|row| row.user_id("user_id")).transpose()
    }
}

impl Store {
    /// Takes up to `limit` mails that are due. Other workers do not see them for `lease`, after which a mail whose
    /// worker died is due again.
    pub async fn claim_due_mail(
        &self,
        now: Timestamp,
        lease: Duration,
        limit: u64,
    ) -> Result<Vec<DueMail>, StoreError> {
        let values = vec![now.into(), (now + lease).into(), as_bigint(limit)];
        let rows = self.all(&CLAIM, values).await?;
        rows.iter()
            .map(|row| {
                Ok(DueMail {
                    id: row.get("id")?,
                    template: row.get("template")?,
                    user_id: row.user_id("user_id")?,
                    created_at: row.time("created_at")?,
                    attempts: row.get("attempts")?,
                })
            })
            .collect()
    }

    /// Notes that a mail has left.
    pub async fn mark_mail_sent(&self, id: Uuid, at: Timestamp) -> Result<(), StoreError> {
        self.execute(&SENT, vec![id.into(), at.into()]).await.map(|_| ())
    }

    /// Notes why a mail will not be tried again. It is kept for a month, and counts as failed.
    pub async fn give_up_mail(&self, id: Uuid, error: &str, at: Timestamp) -> Result<(), StoreError> {
        self.execute(&GIVEN_UP, vec![id.into(), stored_text::error_message(error).into(), at.into()]).await.map(|_| ())
    }

    /// How many mails wait to be sent.
    pub async fn mails_waiting(&self) -> Result<u64, StoreError> {
        self.one(&WAITING, vec![]).await?.map_or(Ok(0), |row| row.count("n"))
    }

    /// Notes why a mail has not left and when to try again.
    pub async fn mark_mail_failed(&self, id: Uuid, error: &str, next: Timestamp) -> Result<(), StoreError> {
        self.execute(&FAILED, vec![id.into(), stored_text::error_message(error).into(), next.into()]).await.map(|_| ())
    }
}
