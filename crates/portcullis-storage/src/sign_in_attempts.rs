//! Failed sign-in attempts (SR-09), and what a sign-in must know before it compares a password: the user, if there is
//! one, and how often attempts have failed. It is read with one statement whether the user exists or not.

mod reservation;

use std::net::IpAddr;
use std::time::Duration;

use portcullis_model::{Email, Timestamp, UserId};

use crate::engine::columns::{FromRow, sql};
use crate::engine::error::StoreError;
use crate::engine::row::Row;
use crate::engine::statement::{Executor, Sql};
use crate::engine::value::Value;
use crate::store::Store;
use crate::users::Credentials;

pub use reservation::{AttemptLimits, Reserved};

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

/// Attempts since the last success.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Failures {
    /// Number of attempts that failed or are under way.
    pub count: u64,
    /// When the last failure was. `None` while none is known.
    pub failed_at: Option<Timestamp>,
}

/// What a sign-in must know.
#[derive(Clone, Debug)]
pub struct SignInView {
    /// The user with this address or id, and the credentials.
    pub credentials: Option<Credentials>,
    /// Failures of the account, from any client.
    pub account: Failures,
    /// Failures of this client at this account.
    pub pair: Failures,
    /// When the client's failures at any account will have drained away, in milliseconds since 1970.
    pub client_drains_at: i64,
    /// Until when the client is known to be the user's, by a sign-in.
    pub known_until: Option<Timestamp>,
    /// Whether the client is known to be the user's, by a sign-in or by a mailed link.
    pub is_known_client: bool,
    /// The database's time.
    pub now: Timestamp,
}

/// How long ago a session may have begun that makes its client a known one. Sessions from before the table
/// `known_clients` have no row there, nor have those that a replica of the previous version begins.
const SESSION_MAKES_KNOWN: Duration = Duration::from_secs(90 * 86_400);

const FAILURES: &str = "(SELECT failures FROM sign_in_attempts WHERE subject = $2) AS account_failures, \
     (SELECT failed_at FROM sign_in_attempts WHERE subject = $2) AS account_failed_at, \
     (SELECT drains_at FROM sign_in_attempts WHERE subject = $3) AS client_drains_at, \
     (SELECT failures FROM sign_in_attempts WHERE subject = $4) AS pair_failures, \
     (SELECT failed_at FROM sign_in_attempts WHERE subject = $4) AS pair_failed_at, \
     (SELECT trusted_until FROM sign_in_attempts WHERE subject = $4) AS trusted_until, \
     (SELECT known_until FROM known_clients WHERE known_clients.user_id = users.id AND known_clients.client = $3) \
     AS known_until, \
     EXISTS (SELECT 1 FROM sessions WHERE sessions.user_id = users.id AND sessions.ip = $5 AND sessions.created_at > $6) \
     AS was_here";

macro_rules! view_where_users {
    ($condition:literal) => {
        sql!(
            "SELECT ",
            Credentials::COLUMNS,
            ", ",
            FAILURES,
            ", {db_now} AS db_now FROM (SELECT 1 AS one) AS always LEFT JOIN users ON ",
            $condition
        )
    };
}

static BY_EMAIL: Sql = Sql::select("users", view_where_users!("users.email = $1"));
static BY_ID: Sql = Sql::select("users", view_where_users!("users.id = $1"));

fn read_view(row: &Row) -> Result<SignInView, StoreError> {
    let failures = |count: &str, failed: &str| -> Result<Failures, StoreError> {
        let count: Option<i64> = row.get(count)?;
        Ok(Failures { count: count.unwrap_or(0).unsigned_abs(), failed_at: row.read(failed)? })
    };
    let is_user = row.read::<Option<UserId>>("users_id")?.is_some();
    let now: Timestamp = row.read("db_now")?;
    let known_until: Option<Timestamp> = row.read("known_until")?;
    let trusted_until: Option<Timestamp> = row.read("trusted_until")?;
    let holds = |until: Option<Timestamp>| until.is_some_and(|until| until > now);
    Ok(SignInView {
        credentials: is_user.then(|| Credentials::from_row(row)).transpose()?,
        account: failures("account_failures", "account_failed_at")?,
        pair: failures("pair_failures", "pair_failed_at")?,
        client_drains_at: row.get::<Option<i64>>("client_drains_at")?.unwrap_or(0),
        known_until: known_until.filter(|until| *until > now),
        is_known_client: holds(known_until) || holds(trusted_until) || row.get::<bool>("was_here")?,
        now,
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
        let text = sql.text.replace("{db_now}", &self.dialect().now("$7"));
        let values = vec![
            key,
            subjects.account.into(),
            subjects.client.into(),
            subjects.pair.into(),
            ip.into(),
            (self.shared().clock.now() - SESSION_MAKES_KNOWN).into(),
            self.now_value(),
        ];
        let row = self.one(&sql.with_text(text), values).await?;
        read_view(&row.ok_or_else(|| StoreError::corrupt("a LEFT JOIN of one row returned none"))?)
    }
}
