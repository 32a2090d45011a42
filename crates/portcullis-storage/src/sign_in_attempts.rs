//! Failed sign-in attempts (SR-09), and what a sign-in must know before it compares a password: the user, if there is
//! one, and how often attempts have failed. It is read with one statement whether the user exists or not.

use std::net::IpAddr;

use portcullis_model::{Email, Timestamp, UserId};

use crate::engine::columns::{FromRow, sql};
use crate::engine::error::StoreError;
use crate::engine::row::Row;
use crate::engine::statement::{Executor, Sql};
use crate::engine::value::Value;
use crate::store::{Store, Tx};
use crate::users::Credentials;

/// What failures are counted for, each as a SHA-256.
#[derive(Clone, Copy, Debug)]
pub struct AttemptSubjects {
    /// The account, whether it exists or not.
    pub account: [u8; 32],
    /// The client.
    pub client: [u8; 32],
    /// The account and the client together.
    pub pair: [u8; 32],
}

/// Failures in a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Failures {
    /// Number of failures.
    pub count: u64,
    /// When the last failure was.
    pub last_at: Option<Timestamp>,
}

/// What a sign-in must know.
#[derive(Clone, Debug)]
pub struct SignInView {
    /// The user with this address or id, and the credentials.
    pub credentials: Option<Credentials>,
    /// Failures of the account, from any client.
    pub account: Failures,
    /// Failures of the client, at any account.
    pub client: Failures,
    /// Failures of this client at this account.
    pub pair: Failures,
    /// Whether the user was seen at this client, by a session or by a mailed link.
    pub is_known_client: bool,
}

const FAILURES: &str = "(SELECT failures FROM sign_in_attempts WHERE subject = $2) AS account_failures, \
     (SELECT last_at FROM sign_in_attempts WHERE subject = $2) AS account_last_at, \
     (SELECT failures FROM sign_in_attempts WHERE subject = $3) AS client_failures, \
     (SELECT last_at FROM sign_in_attempts WHERE subject = $3) AS client_last_at, \
     (SELECT failures FROM sign_in_attempts WHERE subject = $4) AS pair_failures, \
     (SELECT last_at FROM sign_in_attempts WHERE subject = $4) AS pair_last_at, \
     EXISTS (SELECT 1 FROM sign_in_attempts WHERE subject = $4 AND trusted_until > $6) AS is_trusted, \
     EXISTS (SELECT 1 FROM sessions WHERE sessions.user_id = users.id AND sessions.ip = $5) AS was_here";

macro_rules! view_where_users {
    ($condition:literal) => {
        sql!(
            "SELECT ",
            Credentials::COLUMNS,
            ", ",
            FAILURES,
            " FROM (SELECT 1 AS one) AS always LEFT JOIN users ON ",
            $condition
        )
    };
}

static BY_EMAIL: Sql = Sql::select("users", view_where_users!("users.email = $1"));
static BY_ID: Sql = Sql::select("users", view_where_users!("users.id = $1"));
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
        Ok(Failures { count: count.unwrap_or(0).unsigned_abs(), last_at: row.read(last)? })
    };
    let known = row.read::<Option<UserId>>("users_id")?.is_some();
    Ok(SignInView {
        credentials: known.then(|| Credentials::from_row(row)).transpose()?,
        account: failures("account_failures", "account_last_at")?,
        client: failures("client_failures", "client_last_at")?,
        pair: failures("pair_failures", "pair_last_at")?,
        is_known_client: row.get::<bool>("is_trusted")? || row.get::<bool>("was_here")?,
    })
}

impl Store {
    /// Returns what a sign-in with this address must know.
    pub async fn sign_in_view(
        &self,
        email: &Email,
        subjects: &AttemptSubjects,
        ip: Option<IpAddr>,
    ) -> Result<SignInView, StoreError> {
        self.view(&BY_EMAIL, email.into(), subjects, ip).await
    }

    /// Returns what must be known before a signed-in user enters the password again.
    pub async fn proof_view(
        &self,
        user: UserId,
        subjects: &AttemptSubjects,
        ip: Option<IpAddr>,
    ) -> Result<SignInView, StoreError> {
        self.view(&BY_ID, user.into(), subjects, ip).await
    }

    async fn view(
        &self,
        sql: &Sql,
        key: Value,
        subjects: &AttemptSubjects,
        ip: Option<IpAddr>,
    ) -> Result<SignInView, StoreError> {
        let values = vec![
            key,
            subjects.account.into(),
            subjects.client.into(),
            subjects.pair.into(),
            ip.into(),
            self.shared().clock.now().into(),
        ];
        let row = self.one(sql, values).await?;
        read_view(&row.ok_or_else(|| StoreError::corrupt("a LEFT JOIN of one row returned none"))?)
    }

    /// Counts a failure for all three subjects. The count of a client, and of a client at an account, starts again if its
    /// last failure was before `quiet_since`; the count of an account only ends with a success.
    pub async fn count_failure(
        &self,
        subjects: &AttemptSubjects,
        at: Timestamp,
        quiet_since: Timestamp,
    ) -> Result<(), StoreError> {
        // Always in the same order, so that two statements never wait for each other's rows.
        let mut ordered = [subjects.account, subjects.client, subjects.pair];
        ordered.sort_unstable();
        let [first, second, third] = ordered.map(Value::from);
        let values = vec![first, second, third, at.into(), quiet_since.into(), subjects.account.into()];
        self.execute(&FAILED, values).await.map(|_| ())
    }
}

impl Tx {
    /// Deletes the failures of an account and of this client at it, and returns how many the account had. They may be
    /// more than the view showed.
    pub async fn forget_failures(&mut self, subjects: &AttemptSubjects) -> Result<u64, StoreError> {
        let values = vec![subjects.account.into(), subjects.pair.into()];
        let mut failures = 0;
        for row in self.all(&SUCCEEDED, values).await? {
            if row.hash("subject")? == subjects.account {
                failures = row.count("failures")?;
            }
        }
        Ok(failures)
    }

    /// Records that the account's user was at this client, because a mailed link was opened there.
    pub async fn trust_client(
        &mut self,
        subjects: &AttemptSubjects,
        at: Timestamp,
        until: Timestamp,
    ) -> Result<(), StoreError> {
        self.execute(&TRUST, vec![subjects.pair.into(), at.into(), until.into()]).await.map(|_| ())
    }
}
