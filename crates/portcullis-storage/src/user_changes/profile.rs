//! Changes of names, avatar and address, and the record of a login.

use portcullis_model::{ProfileName, Timestamp, User, UserId};

use super::Sessions;
use crate::engine::columns::{FromRow, sql};
use crate::engine::error::StoreError;
use crate::engine::statement::{Executor, Sql};
use crate::store::Tx;

/// What users change of their own profile. `None` leaves a field as it is.
#[derive(Clone, Debug, Default)]
pub struct ProfileChange {
    /// A new first name.
    pub first_name: Option<ProfileName>,
    /// A new last name.
    pub last_name: Option<ProfileName>,
    /// A new avatar; `Some(None)` removes it.
    pub avatar: Option<Option<String>>,
}

static LOGIN: Sql = Sql::update(
    "users",
    "UPDATE users SET last_login_at = $2, unconfirmed_registration = FALSE \
         WHERE id = $1 AND epoch = $3 AND is_active",
);
static PROFILE: Sql = Sql::update(
    "users",
    sql!(
        "UPDATE users SET first_name = COALESCE($2, first_name), last_name = COALESCE($3, last_name), \
         avatar = CASE WHEN $4 THEN $5 ELSE avatar END, updated_at = $6, epoch = epoch + 1 WHERE id = $1 \
         RETURNING users.epoch AS users_epoch, ",
        User::COLUMNS
    ),
);
static VERIFIED: Sql = Sql::update(
    "users",
    "UPDATE users SET email_verified_at = $2, unconfirmed_registration = FALSE, updated_at = $2, epoch = epoch + 1 \
     WHERE id = $1 RETURNING epoch",
);
static NAMES_OF_UNCONFIRMED: Sql = Sql::update(
    "users",
    "UPDATE users SET first_name = $2, last_name = '-', avatar = NULL \
     WHERE id = $1 AND email_verified_at IS NULL AND password_hash IS NOT NULL",
);
static FIRST_USE: Sql = Sql::update(
    "users",
    "UPDATE users SET last_login_at = $2, unconfirmed_registration = FALSE WHERE id = $1 AND last_login_at IS NULL",
);

impl Tx {
    /// Records the first use of the session that began with the user's registration, as the user's login.
    pub async fn record_first_use(&mut self, id: UserId, signed_in_at: Timestamp) -> Result<(), StoreError> {
        self.execute(&FIRST_USE, vec![id.into(), signed_in_at.into()]).await.map(|_| ())
    }

    /// Records a login. `epoch` is that of the [`Credentials`](crate::Credentials) that were checked: `false` means that
    /// the user was changed or deactivated since, and that the login must be rolled back.
    pub async fn record_login(&mut self, id: UserId, epoch: i64, at: Timestamp) -> Result<bool, StoreError> {
        Ok(self.execute(&LOGIN, vec![id.into(), at.into(), epoch.into()]).await? == 1)
    }

    /// Changes names and avatar, and returns the changed user; `None` if the user does not exist.
    pub async fn update_profile(
        &mut self,
        id: UserId,
        change: &ProfileChange,
        at: Timestamp,
    ) -> Result<Option<User>, StoreError> {
        let values = vec![
            id.into(),
            change.first_name.as_ref().into(),
            change.last_name.as_ref().into(),
            change.avatar.is_some().into(),
            change.avatar.clone().flatten().into(),
            at.into(),
        ];
        let Some(row) = self.one(&PROFILE, values).await? else { return Ok(None) };
        self.revoke_user(id, row.read("users_epoch")?, false);
        User::from_row(&row).map(Some)
    }

    /// Replaces the names and the avatar of a user who has a password and never confirmed the address: whoever registered
    /// it may be somebody else. To be called before a change that raises the user's epoch and confirms the address.
    pub async fn replace_unconfirmed_names(&mut self, id: UserId, first: &ProfileName) -> Result<(), StoreError> {
        self.execute(&NAMES_OF_UNCONFIRMED, vec![id.into(), first.into()]).await.map(|_| ())
    }

    /// Records that the user's e-mail address is verified. Returns `false` if the user does not exist.
    pub async fn set_email_verified(&mut self, id: UserId, at: Timestamp) -> Result<bool, StoreError> {
        self.change(&VERIFIED, vec![id.into(), at.into()], id, Sessions::GoOn).await
    }
}
