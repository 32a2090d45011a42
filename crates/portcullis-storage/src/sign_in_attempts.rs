//! What a sign-in must know before it compares a password: the account, if there is one, and how often attempts have
//! failed (requirement 9). One statement, whether there is such an account or not.

use std::net::IpAddr;

use portcullis_model::{Email, Timestamp, UserId};

use crate::engine::error::StoreError;
use crate::engine::row::Row;
use crate::engine::statement::{Runs, Sql};
use crate::store::{Store, Tx};
use crate::users::{Credentials, credential_columns, extra_permissions, read_credentials, user_columns};

/// Whom failures are counted against, each as a SHA-256.
#[derive(Clone, Copy, Debug)]
pub struct AttemptSubjects {
    /// The account, known or not.
    pub account: [u8; 32],
    /// Where the attempt comes from.
    pub client: [u8; 32],
    /// Both together.
    pub pair: [u8; 32],
}

/// Failures in a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Failures {
    /// How many.
    pub count: u64,
    /// When the last one was.
    pub last_at: Option<Timestamp>,
}

/// What a sign-in must know.
#[derive(Clone, Debug)]
pub struct SignInView {
    /// The account with this address.
    pub credentials: Option<Credentials>,
    /// Failures against the account, from anywhere.
    pub account: Failures,
    /// Failures from this client, against any account.
    pub client: Failures,
    /// Failures from this client against this account.
    pub pair: Failures,
    /// Whether the account's owner was seen at this client: by a sign-in there, or by a link that was mailed.
    pub is_known_client: bool,
}

macro_rules! failures {
    () => {
        "(SELECT failures FROM sign_in_attempts WHERE subject = $2) AS account_failures, \
         (SELECT last_at FROM sign_in_attempts WHERE subject = $2) AS account_last_at, \
         (SELECT failures FROM sign_in_attempts WHERE subject = $3) AS client_failures, \
         (SELECT last_at FROM sign_in_attempts WHERE subject = $3) AS client_last_at, \
         (SELECT failures FROM sign_in_attempts WHERE subject = $4) AS pair_failures, \
         (SELECT last_at FROM sign_in_attempts WHERE subject = $4) AS pair_last_at, \
         EXISTS (SELECT 1 FROM sign_in_attempts WHERE subject = $4 AND trusted_until > $6) AS is_trusted, \
         EXISTS (SELECT 1 FROM sessions WHERE sessions.user_id = users.id AND sessions.ip = $5) AS was_here"
    };
}

macro_rules! columns {
    () => {
        concat!(
            "SELECT ",
            credential_columns!(),
            ", ",
            failures!(),
            " FROM (SELECT 1 AS one) AS anybody LEFT JOIN users ON "
        )
    };
}

static BY_EMAIL: Sql = Sql::select("users", concat!(columns!(), "users.email = $1"));
static BY_ID: Sql = Sql::select("users", concat!(columns!(), "users.id = $1"));
static FAILED: Sql = Sql::insert(
    "sign_in_attempts",
    "INSERT INTO sign_in_attempts (subject, failures, last_at) VALUES ($1, 1, $4), ($2, 1, $4), ($3, 1, $4) \
     ON CONFLICT (subject) DO UPDATE SET last_at = excluded.last_at, failures = CASE \
     WHEN sign_in_attempts.last_at < $5 AND sign_in_attempts.subject <> $6 THEN 1 \
     ELSE sign_in_attempts.failures + 1 END",
);
static SUCCEEDED: Sql = Sql::update(
    "sign_in_attempts",
    "DELETE FROM sign_in_attempts WHERE subject IN ($1, $2) AND (subject = $1 OR trusted_until IS NULL) \
     RETURNING subject, failures",
);
static TRUST: Sql = Sql::insert(
    "sign_in_attempts",
    "INSERT INTO sign_in_attempts (subject, failures, last_at, trusted_until) VALUES ($1, 0, $2, $3) \
     ON CONFLICT (subject) DO UPDATE SET failures = 0, trusted_until = excluded.trusted_until",
);

fn read_view(row: &Row) -> Result<SignInView, StoreError> {
    let failures = |count: &str, last: &str| -> Result<Failures, StoreError> {
        let count: Option<i64> = row.get(count)?;
        Ok(Failures { count: count.unwrap_or(0).unsigned_abs(), last_at: row.optional_time(last)? })
    };
    let known = row.get::<Option<uuid::Uuid>>("user_id")?.is_some();
    Ok(SignInView {
        credentials: known.then(|| read_credentials(row)).transpose()?,
        account: failures("account_failures", "account_last_at")?,
        client: failures("client_failures", "client_last_at")?,
        pair: failures("pair_failures", "pair_last_at")?,
        is_known_client: row.get::<bool>("is_trusted")? || row.get::<bool>("was_here")?,
    })
}

impl Store {
    /// What a sign-in with this address must know.
    pub async fn sign_in_view(
        &self,
        email: &Email,
        subjects: &AttemptSubjects,
        ip: Option<IpAddr>,
    ) -> Result<SignInView, StoreError> {
        self.view(&BY_EMAIL, email.as_str().into(), subjects, ip).await
    }

    /// What must be known before somebody who is signed in proves once more who they are.
    pub async fn proof_view(
        &self,
        user: UserId,
        subjects: &AttemptSubjects,
        ip: Option<IpAddr>,
    ) -> Result<SignInView, StoreError> {
        self.view(&BY_ID, user.0.into(), subjects, ip).await
    }

    async fn view(
        &self,
        sql: &Sql,
        key: crate::engine::value::Value,
        subjects: &AttemptSubjects,
        ip: Option<IpAddr>,
    ) -> Result<SignInView, StoreError> {
        let values = vec![
            key,
            subjects.account.to_vec().into(),
            subjects.client.to_vec().into(),
            subjects.pair.to_vec().into(),
            ip.map(|ip| ip.to_string()).into(),
            self.shared().clock.now().into(),
        ];
        let row = self.one(sql, values).await?;
        read_view(&row.ok_or_else(|| StoreError::corrupt("a LEFT JOIN of one row gave none"))?)
    }

    /// Counts a failure against all three. Those of a client begin anew after `quiet_since`; those against an
    /// account go on until it succeeds.
    pub async fn count_failure(
        &self,
        subjects: &AttemptSubjects,
        at: Timestamp,
        quiet_since: Timestamp,
    ) -> Result<(), StoreError> {
        // In one order everywhere, so that no two statements wait for each other's rows.
        let mut ordered = [subjects.account, subjects.client, subjects.pair];
        ordered.sort_unstable();
        let [first, second, third] = ordered.map(|subject| subject.to_vec().into());
        let values = vec![first, second, third, at.into(), quiet_since.into(), subjects.account.to_vec().into()];
        self.execute(&FAILED, values).await.map(|_| ())
    }
}

impl Tx {
    /// Forgets the failures against an account and those of this client against it, and says how many the account
    /// had: between the view and this moment there may have been more.
    pub async fn forget_failures(&mut self, subjects: &AttemptSubjects) -> Result<u64, StoreError> {
        let values = vec![subjects.account.to_vec().into(), subjects.pair.to_vec().into()];
        let mut failures = 0;
        for row in self.all(&SUCCEEDED, values).await? {
            if row.hash("subject")? == subjects.account {
                failures = row.count("failures")?;
            }
        }
        Ok(failures)
    }

    /// Notes that an account's owner was at this client, because they followed a mailed link there.
    pub async fn trust_client(
        &mut self,
        subjects: &AttemptSubjects,
        at: Timestamp,
        until: Timestamp,
    ) -> Result<(), StoreError> {
        self.execute(&TRUST, vec![subjects.pair.to_vec().into(), at.into(), until.into()]).await.map(|_| ())
    }
}
