//! Accounts: making and finding them. What changes one stands in `user_changes.rs`.

use crate::engine::value::{Value, as_bigint};
use portcullis_model::{Email, Permission, PermissionSet, ProfileName, Role, SecretString, User, UserId, Username};

use crate::engine::advisory_lock::AdvisoryLock;
use crate::engine::error::StoreError;
use crate::engine::row::Row;
use crate::engine::statement::{Runs, Sql};
use crate::store::{Access, Database, Store, Tx};

/// An account to be made, stored as given.
#[derive(Clone, Debug)]
pub struct NewUser {
    /// The account.
    pub user: User,
    /// A PHC string; `None` for an account that cannot sign in by password yet.
    pub password_hash: Option<SecretString>,
}

impl NewUser {
    /// The values of its row, up to `updated_at`.
    pub(crate) fn values(&self) -> Vec<Value> {
        let Self { user, password_hash } = self;
        vec![
            user.id.0.into(),
            user.email.as_str().into(),
            user.username.as_str().into(),
            user.first_name.as_str().into(),
            user.last_name.as_str().into(),
            user.avatar.clone().into(),
            user.role.as_str().into(),
            user.is_active.into(),
            password_hash.as_ref().map(|hash| hash.expose().to_owned()).into(),
            user.email_verified_at.into(),
            user.last_login_at.into(),
            user.created_at.into(),
            user.updated_at.into(),
        ]
    }
}

/// An account with what a sign-in must know of it.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// The account.
    pub user: User,
    /// A PHC string; `None` when it has no password.
    pub password_hash: Option<SecretString>,
    /// Raised by every change that caches must see; the claim `ver` of a new token.
    pub epoch: i64,
    /// Access tokens made in an earlier epoch are dead.
    pub token_epoch: i64,
    /// Permissions on top of the role's.
    pub extra_permissions: PermissionSet,
}

/// Which accounts to list; all when nothing is set.
#[derive(Clone, Debug, Default)]
pub struct UserFilter {
    /// Only this role.
    pub role: Option<Role>,
    /// Only active, or only inactive ones.
    pub is_active: Option<bool>,
    /// Only those whose e-mail or username contains this, without regard to the case of ASCII letters.
    pub search: Option<String>,
}

/// One page of a list.
#[derive(Clone, Debug)]
pub struct UserPage {
    /// The accounts, newest first.
    pub users: Vec<User>,
    /// How many there are on all pages.
    pub total: u64,
}

/// The columns of [`read_user`], under names that a join with `sessions` leaves unique.
macro_rules! user_columns {
    () => {
        "users.id AS user_id, users.email AS email, users.username AS username, users.first_name AS first_name, \
         users.last_name AS last_name, users.avatar AS avatar, users.role AS role, users.is_active AS is_active, \
         users.email_verified_at AS email_verified_at, users.last_login_at AS last_login_at, \
         users.created_at AS user_created_at, users.updated_at AS user_updated_at"
    };
}
pub(crate) use user_columns;

/// A user's own permissions, joined by commas; NULL when there are none.
macro_rules! extra_permissions {
    () => {
        "(SELECT string_agg(p.permission, ',') FROM user_permissions p WHERE p.user_id = users.id) AS extra_permissions"
    };
}
pub(crate) use extra_permissions;

/// The columns of [`read_credentials`].
macro_rules! credential_columns {
    () => {
        concat!(
            user_columns!(),
            ", users.password_hash AS password_hash, users.epoch AS user_epoch, users.token_epoch AS token_epoch, ",
            extra_permissions!()
        )
    };
}
pub(crate) use credential_columns;

macro_rules! credentials {
    () => {
        concat!("SELECT ", credential_columns!(), " FROM users WHERE ")
    };
}

macro_rules! filtered {
    () => {
        " FROM users WHERE ($1 IS NULL OR role = $1) AND ($2 IS NULL OR is_active = $2) \
         AND ($3 IS NULL OR email LIKE $3 ESCAPE '!' OR username LIKE $3 ESCAPE '!')"
    };
}

static INSERT: Sql = Sql::insert(
    "users",
    "INSERT INTO users (id, email, username, first_name, last_name, avatar, role, is_active, password_hash, \
     email_verified_at, last_login_at, created_at, updated_at, epoch, token_epoch) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, 1, 1)",
);
static BY_ID: Sql = Sql::select("users", concat!("SELECT ", user_columns!(), " FROM users WHERE users.id = $1"));
static CREDENTIALS_BY_EMAIL: Sql = Sql::select("users", concat!(credentials!(), "users.email = $1"));
static CREDENTIALS_BY_ID: Sql = Sql::select("users", concat!(credentials!(), "users.id = $1"));
static ACTIVE_ADMINS: Sql = Sql::select("users", "SELECT count(*) AS n FROM users WHERE role = 'ADMIN' AND is_active");
static COUNT: Sql = Sql::select("users", concat!("SELECT count(*) AS n", filtered!()));
static PAGE: Sql = Sql::select(
    "users",
    concat!(
        "SELECT ",
        user_columns!(),
        filtered!(),
        " ORDER BY users.created_at DESC, users.id DESC LIMIT $4 OFFSET $5"
    ),
);

static AFTER: Sql =
    Sql::select("users", concat!(credentials!(), "($1 IS NULL OR users.id > $1) ORDER BY users.id LIMIT $2"));

/// The longest address or username, in bytes.
const LONGEST: usize = 254;

/// Reads [`user_columns`].
pub(crate) fn read_user(row: &Row) -> Result<User, StoreError> {
    Ok(User {
        id: row.user_id("user_id")?,
        email: Email::from_stored(row.get("email")?),
        username: Username::from_stored(row.get("username")?),
        first_name: ProfileName::from_stored(row.get("first_name")?),
        last_name: ProfileName::from_stored(row.get("last_name")?),
        avatar: row.get("avatar")?,
        role: row.parsed("role")?,
        is_active: row.get("is_active")?,
        email_verified_at: row.optional_time("email_verified_at")?,
        last_login_at: row.optional_time("last_login_at")?,
        created_at: row.time("user_created_at")?,
        updated_at: row.time("user_updated_at")?,
    })
}

/// Reads [`extra_permissions`].
pub(crate) fn read_extra_permissions(row: &Row) -> Result<PermissionSet, StoreError> {
    let joined: Option<String> = row.get("extra_permissions")?;
    let names = joined.iter().flat_map(|names| names.split(','));
    names
        .map(|name| Permission::parse(name).map_err(|_| StoreError::corrupt(format!("permission is {name:?}"))))
        .collect()
}

/// Reads [`credential_columns`].
pub(crate) fn read_credentials(row: &Row) -> Result<Credentials, StoreError> {
    Ok(Credentials {
        user: read_user(row)?,
        password_hash: row.get::<Option<String>>("password_hash")?.map(SecretString::new),
        epoch: row.get("user_epoch")?,
        token_epoch: row.get("token_epoch")?,
        extra_permissions: read_extra_permissions(row)?,
    })
}

impl<A: Access> Database<A> {
    /// Returns the user with this id.
    pub async fn user_by_id(&self, id: UserId) -> Result<Option<User>, StoreError> {
        self.one(&BY_ID, vec![id.0.into()]).await?.map(|row| read_user(&row)).transpose()
    }

    /// Returns the user with this e-mail address and the credentials. It runs one statement whether the user exists or
    /// not, so that the time tells nothing (SR-10).
    pub async fn credentials_by_email(&self, email: &Email) -> Result<Option<Credentials>, StoreError> {
        let row = self.one(&CREDENTIALS_BY_EMAIL, vec![email.as_str().into()]).await?;
        row.map(|row| read_credentials(&row)).transpose()
    }

    /// Returns the user with this id and the credentials.
    pub async fn credentials_by_id(&self, id: UserId) -> Result<Option<Credentials>, StoreError> {
        self.one(&CREDENTIALS_BY_ID, vec![id.0.into()]).await?.map(|row| read_credentials(&row)).transpose()
    }

    async fn active_admins(&self) -> Result<u64, StoreError> {
        self.one(&ACTIVE_ADMINS, vec![]).await?.map_or(Ok(0), |row| row.count("n"))
    }
}

impl Store {
    /// Counts the active administrators. Another transaction may change the number at once; a transaction that acts
    /// upon it counts them itself.
    pub async fn count_active_admins(&self) -> Result<u64, StoreError> {
        self.active_admins().await
    }

    /// Returns the users that follow `last` in the order of ids. The cost of a page does not grow with its position.
    pub async fn credentials_after(&self, last: Option<UserId>, limit: u64) -> Result<Vec<Credentials>, StoreError> {
        let values = vec![last.map(|id| id.0).into(), as_bigint(limit)];
        self.all(&AFTER, values).await?.iter().map(read_credentials).collect()
    }

    /// Returns a page of users, newest first.
    pub async fn list_users(&self, filter: &UserFilter, limit: u64, offset: u64) -> Result<UserPage, StoreError> {
        if filter.search.as_deref().is_some_and(|search| search.len() > LONGEST || search.contains('\0')) {
            // No user matches such a text, and the engines refuse to search for it.
            return Ok(UserPage { users: Vec::new(), total: 0 });
        }
        let pattern = filter.search.as_deref().map(contains);
        let mut values: Vec<Value> =
            vec![filter.role.map(Role::as_str).into(), filter.is_active.into(), pattern.into()];
        let total = self.one(&COUNT, values.clone()).await?.map_or(Ok(0), |row| row.count("n"))?;
        values.extend([as_bigint(limit), as_bigint(offset)]);
        let users = self.all(&PAGE, values).await?.iter().map(read_user).collect::<Result<_, _>>()?;
        Ok(UserPage { users, total })
    }
}

impl Tx {
    /// Inserts a user. Fails with `Conflict("users_email")` or `Conflict("users_username")` when the address or the
    /// username is taken.
    pub async fn insert_user(&mut self, new: &NewUser) -> Result<(), StoreError> {
        self.execute(&INSERT, new.values()).await.map(|_| ())
    }

    /// Counts the active administrators and makes every other transaction that counts them wait until this one ends,
    /// so that "there is none yet" and "this is the last one" are safe to act upon.
    pub async fn count_active_admins(&mut self) -> Result<u64, StoreError> {
        self.lock(AdvisoryLock::Administrators).await?;
        self.active_admins().await
    }
}

/// A LIKE pattern for texts that contain `part`; `!` escapes, because both engines read a backslash differently.
fn contains(part: &str) -> String {
    let mut pattern = String::from("%");
    for c in part.chars() {
        if matches!(c, '%' | '_' | '!') {
            pattern.push('!');
        }
        pattern.push(c.to_ascii_lowercase());
    }
    pattern.push('%');
    pattern
}
