//! The outbox: mails to be sent, with template and user. A mail's link is created when the mail is sent, and is never
//! stored.

use std::time::Duration;

use portcullis_model::ids::new_uuid;
use portcullis_model::mail::MailKind;
use portcullis_model::secret::sha256;
use portcullis_model::{Email, Timestamp, UserId};
use portcullis_telemetry::traces::{self, KnownRoot, SpanKind};
use uuid::Uuid;

use crate::engine::advisory_lock::AdvisoryLock;
use crate::engine::columns::{FromRow, columns, sql};
use crate::engine::error::StoreError;
use crate::engine::row::Row;
use crate::engine::statement::{Executor, Sql};
use crate::engine::stored_text;
use crate::engine::value::{Value, as_bigint};
use crate::store::{Store, Tx};

/// A mail that anybody may request by typing an address.
#[derive(Clone, Copy, Debug)]
pub struct MailRequest<'a> {
    /// The kind of the mail, which has a limit.
    pub kind: MailKind,
    /// The address that was typed. The mail goes to the stored one.
    pub email: &'a Email,
    /// Whether only users with an unverified address get the mail.
    pub only_unverified: bool,
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

columns! {
    DueMail reads mail_outbox { id, template, user_id, created_at, attempts }
}

/// Queues a mail unless the recipient has got the most of its kind.
macro_rules! queue_where {
    ($condition:literal) => {
        concat!(
            "INSERT INTO mail_outbox (id, template, user_id, created_at, attempts, next_attempt_at) \
             SELECT $1, $2, users.id, $3, 0, $3 FROM users WHERE ",
            $condition,
            " AND (SELECT count(*) FROM (SELECT 1 FROM mail_outbox earlier WHERE earlier.user_id = users.id \
             AND earlier.template = $2 AND earlier.created_at > $5 LIMIT $6) AS earlier) < $6 RETURNING user_id"
        )
    };
}

// One statement whether the user exists or not, so that its duration does not tell (SR-10).
static REQUEST: Sql = Sql::insert(
    "mail_outbox",
    queue_where!(
        "users.email = $4 AND users.is_active AND (users.email_verified_at IS NULL OR NOT $7) AND users.id <> $8"
    ),
);
static QUEUE: Sql =
    Sql::insert("mail_outbox", queue_where!("users.id = $4 AND (users.email_verified_at IS NOT NULL OR NOT $7)"));
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

impl Tx {
    /// Queues a mail in the transaction of the change that causes it. Returns `false` when the user has got the most mails
    /// of this kind (SR-58), or when the kind needs a confirmed address and the user has none.
    pub async fn enqueue_mail(&mut self, kind: MailKind, to: UserId, at: Timestamp) -> Result<bool, StoreError> {
        let limit = kind.limit();
        // Concurrent mails to one recipient are counted one after the other.
        self.lock(AdvisoryLock::MailQuota(to.0.as_u64_pair().1.to_be_bytes())).await?;
        let id = self.new_mail_id();
        let values = mail_values(id, kind, to.into(), limit.only_confirmed, at);
        Ok(self.queue(&QUEUE, id, kind, values).await?.is_some())
    }

    fn new_mail_id(&self) -> Uuid {
        new_uuid(&self.shared().clock, &self.shared().random)
    }

    /// Runs a statement that queues a mail, in a span that links to the trace in which the mail will be sent.
    async fn queue(&self, sql: &Sql, id: Uuid, kind: MailKind, values: Vec<Value>) -> Result<Option<Row>, StoreError> {
        let span = traces::span("queue mail", SpanKind::Internal);
        let (queued, span) = traces::within(span, self.one(sql, values)).await;
        if let (Ok(Some(_)), Some(mut span)) = (&queued, span) {
            span.rename(format!("queue mail {}", kind.as_str()));
            span.set("portcullis.mail.id", id.to_string());
            span.link(&KnownRoot::new(id.as_u128(), 1));
        }
        queued
    }

    /// Gives up every mail that waits to be sent to a user, with the reason.
    pub async fn cancel_mails(&mut self, to: UserId, why: &str, at: Timestamp) -> Result<u64, StoreError> {
        self.execute(&CANCEL, vec![to.into(), stored_text::error_message(why).into(), at.into()]).await
    }

    /// Queues a mail for the active user with this address and returns the user's id. `None` when there is no such user,
    /// or the user has got the most mails allowed. The statement is the same in every case.
    pub async fn request_mail(&mut self, request: &MailRequest<'_>) -> Result<Option<UserId>, StoreError> {
        let MailRequest { kind, email, only_unverified, at } = *request;
        let [a, b, c, d, e, f, g, h, ..] = sha256(email.as_str().as_bytes());
        self.lock(AdvisoryLock::MailQuota([a, b, c, d, e, f, g, h])).await?;
        let id = self.new_mail_id();
        let mut values = mail_values(id, kind, email.into(), only_unverified, at);
        values.push(UserId::DEMO.0.into());
        self.queue(&REQUEST, id, kind, values).await?.map(|row| row.read("user_id")).transpose()
    }
}

/// The parameters of the statements that queue a mail.
fn mail_values(id: Uuid, kind: MailKind, recipient: Value, condition: bool, at: Timestamp) -> Vec<Value> {
    let limit = kind.limit();
    let since = (at - limit.within).into();
    vec![id.into(), kind.as_str().into(), at.into(), recipient, since, as_bigint(limit.most), condition.into()]
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

    /// Records why sending a mail failed, and when to try again.
    pub async fn mark_mail_failed(&self, id: Uuid, error: &str, next: Timestamp) -> Result<(), StoreError> {
        self.execute(&FAILED, vec![id.into(), stored_text::error_message(error).into(), next.into()]).await.map(|_| ())
    }
}
