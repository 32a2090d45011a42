//! Changes of a user's password hash.

use portcullis_model::{SecretString, Timestamp, UserId};

use super::Sessions;
use crate::engine::error::StoreError;
use crate::engine::statement::{Executor, Sql};
use crate::sessions::EndReason;
use crate::store::Tx;

static PASSWORD: Sql = Sql::update(
    "users",
    "UPDATE users SET password_hash = $3, updated_at = $4, epoch = epoch + 1 \
     WHERE id = $1 AND password_hash IS NOT DISTINCT FROM $2 AND is_active RETURNING epoch",
);
static RESET: Sql = Sql::update(
    "users",
    "UPDATE users SET password_hash = $2, updated_at = $3, email_verified_at = COALESCE(email_verified_at, $3), \
     unconfirmed_registration = FALSE, epoch = epoch + 1, token_epoch = epoch + 1 WHERE id = $1 AND is_active RETURNING epoch",
);
static REHASH: Sql = Sql::update("users", "UPDATE users SET password_hash = $3 WHERE id = $1 AND password_hash = $2");

impl Tx {
    /// Replaces the password hash `old` by a new one and raises the epoch, so that a sign-in that has checked the old
    /// password fails. Returns `false` when `old` is no longer the hash, or the user is inactive. It ends no session,
    /// because the caller keeps the current one.
    pub async fn set_password_hash(
        &mut self,
        id: UserId,
        old: Option<&SecretString>,
        new: &SecretString,
        at: Timestamp,
    ) -> Result<bool, StoreError> {
        self.change(&PASSWORD, vec![id.into(), old.into(), new.into(), at.into()], id, Sessions::GoOn).await
    }

    /// Sets a password through a mailed link, which also verifies the e-mail address. Every session and API key ends and
    /// every access token becomes invalid. Returns `false` when the user does not exist or is inactive.
    pub async fn reset_password_hash(
        &mut self,
        id: UserId,
        new: &SecretString,
        at: Timestamp,
    ) -> Result<bool, StoreError> {
        if !self.change(&RESET, vec![id.into(), new.into(), at.into()], id, Sessions::End).await? {
            return Ok(false);
        }
        self.end_credentials(id, EndReason::PasswordReset, at).await?;
        Ok(true)
    }

    /// Replaces a hash by a stronger one of the same password. Returns `false` when the password was changed meanwhile.
    pub async fn replace_password_hash(
        &mut self,
        id: UserId,
        old: &SecretString,
        new: &SecretString,
    ) -> Result<bool, StoreError> {
        Ok(self.execute(&REHASH, vec![id.into(), old.into(), new.into()]).await? == 1)
    }
}
