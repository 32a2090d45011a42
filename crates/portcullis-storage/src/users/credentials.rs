//! Reading users, and the credentials that a sign-in checks.

use portcullis_model::{Email, PermissionSet, SecretString, User, UserId, Username};

use crate::engine::advisory_lock::AdvisoryLock;
use crate::engine::columns::{FromRow, columns, sql};
use crate::engine::error::StoreError;
use crate::engine::statement::{Executor, Sql};
use crate::engine::value::as_bigint;
use crate::store::{Access, Database, Store, Tx};

/// A user, and what a sign-in must know to check and to admit the user.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// The user's row.
    pub user: User,
    /// The password's hash as a PHC string; `None` when the user has no password.
    pub password_hash: Option<SecretString>,
    /// Raised by every change that session caches must notice. It is the claim `ver` of a new access token.
    pub epoch: i64,
    /// Access tokens of an earlier epoch are invalid.
    pub token_epoch: i64,
    /// Permissions beyond those of the role.
    pub extra_permissions: PermissionSet,
}

/// Selects a user's permissions beyond the role's, joined by commas; NULL when there are none.
pub(crate) const EXTRA_PERMISSIONS: &str =
    "(SELECT string_agg(p.permission, ',') FROM user_permissions p WHERE p.user_id = users.id)";

columns! {
    Credentials reads users {
        password_hash, epoch, token_epoch, extra_permissions = EXTRA_PERMISSIONS,
    } and { user: User }
}

macro_rules! credentials_where {
    ($condition:literal) => {
        sql!("SELECT ", Credentials::COLUMNS, " FROM users WHERE ", $condition)
    };
}

static BY_ID: Sql = Sql::select(
    "users",
    sql!("SELECT ", User::COLUMNS, " FROM users WHERE users.id = $1 AND users.deleted_at IS NULL"),
);
static USERNAME: Sql = Sql::select("users", "SELECT id FROM users WHERE username = $1");
static CREDENTIALS_BY_EMAIL: Sql = Sql::select("users", credentials_where!("users.email = $1"));
static CREDENTIALS_BY_ID: Sql = Sql::select("users", credentials_where!("users.id = $1 AND users.deleted_at IS NULL"));
static CREDENTIALS_AFTER: Sql = Sql::select(
    "users",
    credentials_where!("($1 IS NULL OR users.id > $1) AND users.deleted_at IS NULL ORDER BY users.id LIMIT $2"),
);
// The demo account does not count as an administrator.
static OTHER_ADMINS: Sql = Sql::select(
    "users",
    "SELECT count(*) AS n FROM users WHERE role = 'ADMIN' AND is_active AND id <> $1 AND id <> $2 \
     AND password_hash IS NOT NULL AND (email_verified_at IS NOT NULL OR NOT $3)",
);
static ACTIVE_ADMINS: Sql =
    Sql::select("users", "SELECT count(*) AS n FROM users WHERE role = 'ADMIN' AND is_active AND id <> $1");

impl<A: Access> Database<A> {
    /// Returns the user with this id.
    pub async fn user_by_id(&self, id: UserId) -> Result<Option<User>, StoreError> {
        self.one(&BY_ID, vec![id.into()]).await?.map(|row| User::from_row(&row)).transpose()
    }

    /// Returns the user with this e-mail address and the credentials. It runs one statement whether the user exists or
    /// not, so that its duration does not tell (SR-10).
    pub async fn credentials_by_email(&self, email: &Email) -> Result<Option<Credentials>, StoreError> {
        let row = self.one(&CREDENTIALS_BY_EMAIL, vec![email.into()]).await?;
        row.map(|row| Credentials::from_row(&row)).transpose()
    }

    /// Returns the user with this id and the credentials.
    pub async fn credentials_by_id(&self, id: UserId) -> Result<Option<Credentials>, StoreError> {
        let row = self.one(&CREDENTIALS_BY_ID, vec![id.into()]).await?;
        row.map(|row| Credentials::from_row(&row)).transpose()
    }

    async fn active_admins(&self) -> Result<u64, StoreError> {
        self.one(&ACTIVE_ADMINS, vec![UserId::DEMO.into()]).await?.map_or(Ok(0), |row| row.count("n"))
    }
}

impl Store {
    /// Returns whether a user has this username.
    pub async fn is_username_taken(&self, username: &Username) -> Result<bool, StoreError> {
        Ok(self.one(&USERNAME, vec![username.as_str().into()]).await?.is_some())
    }

    /// Returns the users that follow `last` in the order of ids. The cost of a page does not grow with its position.
    pub async fn credentials_after(&self, last: Option<UserId>, limit: u64) -> Result<Vec<Credentials>, StoreError> {
        self.all(&CREDENTIALS_AFTER, vec![last.into(), as_bigint(limit)])
            .await?
            .iter()
            .map(Credentials::from_row)
            .collect()
    }

    /// Counts the active administrators. Another transaction may change the number at once; a transaction that acts
    /// upon it counts them itself.
    pub async fn count_active_admins(&self) -> Result<u64, StoreError> {
        self.active_admins().await
    }
}

impl Tx {
    /// Counts the administrators besides `without` who can sign in: active ones with a password, and with a verified
    /// address if `verified_only`. Waits like [`count_active_admins`](Self::count_active_admins).
    pub async fn count_other_admins(&mut self, without: UserId, verified_only: bool) -> Result<u64, StoreError> {
        self.lock(AdvisoryLock::Administrators).await?;
        let values = vec![UserId::DEMO.into(), without.into(), verified_only.into()];
        self.one(&OTHER_ADMINS, values).await?.map_or(Ok(0), |row| row.count("n"))
    }

    /// Counts the active administrators. Every other transaction that counts them waits until this one ends, so that
    /// "there is none yet" and "this is the last one" are safe to act upon.
    pub async fn count_active_admins(&mut self) -> Result<u64, StoreError> {
        self.lock(AdvisoryLock::Administrators).await?;
        self.active_admins().await
    }
}
