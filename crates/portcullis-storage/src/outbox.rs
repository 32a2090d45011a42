//! The outbox: mails to be sent, with template and user. A mail's link is created when the mail is sent, and is never
//! stored.

use std::time::Duration;

use portcullis_model::ids::new_uuid;
use portcullis_model::{Email, Timestamp, UserId};
use uuid::Uuid;

use crate::engine::columns::{FromRow, columns, sql};
use crate::engine::error::StoreError;
use crate::engine::statement::{Executor, Sql};
use crate::engine::stored_text;
use crate::engine::value::as_bigint;
use crate::store::{Store, Tx};

/// A mail that anybody may request by typing an address.
#[derive(Clone, Copy, Debug)]
pub struct MailRequest<'a> {
    /// The mail's template.
    pub template: &'a str,
    /// The address that was typed. The mail goes to the stored one.
    pub email: &'a Email,
    /// Whether only users with an unverified address get the mail.
    pub only_unverified: bool,
    /// The largest number of mails of this template to one user within `within`.
    pub most: u64,
    /// The time in which `most` counts.
    pub within: Duration,
    /// The time of the request.
    pub at: Timestamp,
}

/// A mail that is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DueMail {
    /// The mail's id.
    pub id: Uuid,
    /// The mail's template.
    pub template: String,
    /// The user who gets the mail.
    pub user_id: UserId,
    /// When the mail was queued.
    pub created_at: Timestamp,
    /// Attempts so far, including this one.
    pub attempts: i64,
}

/// A row of the outbox to be inserted.
struct NewMail {
    id: Uuid,
    template: String,
    user_id: UserId,
    created_at: Timestamp,
}

columns! {
    DueMail reads mail_outbox { id, template, user_id, created_at, attempts }
}
columns! {
    NewMail writes mail_outbox { id, template, user_id, created_at }
    and { attempts = 0_i64, next_attempt_at = created_at }
}

// One statement whether the user exists or not, so that its duration does not tell (SR-10).
static REQUEST: Sql = Sql::insert(
    "mail_outbox",
    "INSERT INTO mail_outbox (id, template, user_id, created_at, attempts, next_attempt_at) \
     SELECT $1, $2, users.id, $3, 0, $3 FROM users \
     WHERE users.email = $4 AND users.is_active AND (users.email_verified_at IS NULL OR NOT $5) \
     AND (SELECT count(*) FROM mail_outbox earlier WHERE earlier.user_id = users.id AND earlier.template = $2 \
     AND earlier.created_at > $6) < $7 AND users.id <> $8 RETURNING user_id",
);
// The outer condition is checked again once the row is locked, so that only one of two workers claims the mail.
static CLAIM: Sql = Sql::update(
    "mail_outbox",
    sql!(
        "UPDATE mail_outbox SET next_attempt_at = $2, attempts = attempts + 1 WHERE id IN \
         (SELECT id FROM mail_outbox WHERE sent_at IS NULL AND given_up_at IS NULL AND next_attempt_at <= $1 \
         ORDER BY next_attempt_at LIMIT $3) AND sent_at IS NULL AND next_attempt_at <= $1 RETURNING ",
        DueMail::COLUMNS
    ),
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
static CANCEL: Sql = Sql::update(
    "mail_outbox",
    "UPDATE mail_outbox SET last_error = $2, given_up_at = $3 \
     WHERE user_id = $1 AND sent_at IS NULL AND given_up_at IS NULL",
);
static WAITING: Sql =
    Sql::select("mail_outbox", "SELECT count(*) AS n FROM mail_outbox WHERE sent_at IS NULL AND given_up_at IS NULL");

impl Tx {
    /// Queues a mail in the transaction of the change that causes it, and returns the mail's id.
    pub async fn enqueue_mail(&mut self, template: &str, to: UserId, at: Timestamp) -> Result<Uuid, StoreError> {
        let id = new_uuid(&self.shared().clock, &self.shared().random);
        self.insert(&NewMail { id, template: template.to_owned(), user_id: to, created_at: at }).await?;
        Ok(id)
    }

    /// Gives up every mail that waits to be sent to a user, with the reason.
    pub async fn cancel_mails(&mut self, to: UserId, why: &str, at: Timestamp) -> Result<u64, StoreError> {
        self.execute(&CANCEL, vec![to.into(), stored_text::error_message(why).into(), at.into()]).await
    }

    /// Queues a mail for the active user with this address and returns the user's id. `None` when there is no such user,
    /// or the user has got the most mails allowed. The statement is the same in every case.
    pub async fn request_mail(&mut self, request: &MailRequest<'_>) -> Result<Option<UserId>, StoreError> {
        let id = new_uuid(&self.shared().clock, &self.shared().random);
        let values = vec![
            id.into(),
            request.template.into(),
            request.at.into(),
            request.email.into(),
            request.only_unverified.into(),
            (request.at - request.within).into(),
            as_bigint(request.most),
            UserId::DEMO.0.into(),
        ];
        self.one(&REQUEST, values).await?.map(|row| row.read("user_id")).transpose()
    }
}

impl Store {
    /// Claims up to `limit` due mails. Other workers do not get them for the time `lease`; after that, a mail whose worker
    /// died is due again.
    pub async fn claim_due_mail(
        &self,
        now: Timestamp,
        lease: Duration,
        limit: u64,
    ) -> Result<Vec<DueMail>, StoreError> {
        let values = vec![now.into(), (now + lease).into(), as_bigint(limit)];
        self.all(&CLAIM, values).await?.iter().map(DueMail::from_row).collect()
    }

    /// Records that a mail was sent.
    pub async fn mark_mail_sent(&self, id: Uuid, at: Timestamp) -> Result<(), StoreError> {
        self.execute(&SENT, vec![id.into(), at.into()]).await.map(|_| ())
    }

    /// Records why a mail will not be tried again. Its row is kept for a month.
    pub async fn give_up_mail(&self, id: Uuid, error: &str, at: Timestamp) -> Result<(), StoreError> {
        self.execute(&GIVEN_UP, vec![id.into(), stored_text::error_message(error).into(), at.into()]).await.map(|_| ())
    }

    /// Counts the mails that wait to be sent.
    pub async fn mails_waiting(&self) -> Result<u64, StoreError> {
        self.one(&WAITING, vec![]).await?.map_or(Ok(0), |row| row.count("n"))
    }

    /// Records why sending a mail failed, and when to try again.
    pub async fn mark_mail_failed(&self, id: Uuid, error: &str, next: Timestamp) -> Result<(), StoreError> {
        self.execute(&FAILED, vec![id.into(), stored_text::error_message(error).into(), next.into()]).await.map(|_| ())
    }
}
