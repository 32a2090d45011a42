//! Changes of a user's role, permissions and activity, and the user's deletion.

use portcullis_model::{PermissionSet, Role, SecretString, Timestamp, UserId};

use super::Sessions;
use crate::engine::advisory_lock::AdvisoryLock;
use crate::engine::error::StoreError;
use crate::engine::statement::{Executor, Sql};
use crate::sessions::EndReason;
use crate::store::Tx;

static ROLE: Sql = Sql::update(
    "users",
    "UPDATE users SET role = $2, updated_at = $3, epoch = epoch + 1 WHERE id = $1 RETURNING epoch",
);
static ACTIVATE: Sql = Sql::update(
    "users",
    "UPDATE users SET is_active = TRUE, updated_at = $2, epoch = epoch + 1 WHERE id = $1 RETURNING epoch",
);
static DEACTIVATE: Sql = Sql::update(
    "users",
    "UPDATE users SET is_active = FALSE, updated_at = $2, epoch = epoch + 1, token_epoch = epoch + 1 \
     WHERE id = $1 RETURNING epoch",
);
static RECOVER: Sql = Sql::update(
    "users",
    "UPDATE users SET role = 'ADMIN', is_active = TRUE, password_hash = $2, updated_at = $3, \
     email_verified_at = COALESCE(email_verified_at, $3), epoch = epoch + 1, token_epoch = epoch + 1 \
     WHERE id = $1 RETURNING epoch",
);
static PERMISSIONS_CHANGED: Sql =
    Sql::update("users", "UPDATE users SET updated_at = $2, epoch = epoch + 1 WHERE id = $1 RETURNING epoch");
static REVOKE_PERMISSIONS: Sql = Sql::delete("user_permissions", "DELETE FROM user_permissions WHERE user_id = $1");
static GRANT: Sql = Sql::insert(
    "user_permissions",
    "INSERT INTO user_permissions (user_id, permission) VALUES ($1, $2) ON CONFLICT DO NOTHING",
);

impl Tx {
    /// Changes the user's role, in force at once in every session (SR-35). Returns `false` if the user does not exist.
    pub async fn set_role(&mut self, id: UserId, role: Role, at: Timestamp) -> Result<bool, StoreError> {
        self.change(&ROLE, vec![id.into(), role.into(), at.into()], id, Sessions::GoOn).await
    }

    /// Activates or deactivates a user. Deactivation ends every session and API key and makes every access token invalid.
    /// Returns `false` if the user does not exist.
    pub async fn set_active(&mut self, id: UserId, active: bool, at: Timestamp) -> Result<bool, StoreError> {
        let values = vec![id.into(), at.into()];
        if active {
            return self.change(&ACTIVATE, values, id, Sessions::GoOn).await;
        }
        let exists = self.change(&DEACTIVATE, values, id, Sessions::End).await?;
        self.end_credentials(id, EndReason::AccountDisabled, at).await?;
        Ok(exists)
    }

    /// Gives the user exactly these permissions beyond the role's, in force at once in every session (SR-35). Returns
    /// `false` if the user does not exist.
    pub async fn set_permissions(
        &mut self,
        id: UserId,
        permissions: &PermissionSet,
        at: Timestamp,
    ) -> Result<bool, StoreError> {
        // The user's row comes first, so that two changes of one user wait for each other.
        if !self.change(&PERMISSIONS_CHANGED, vec![id.into(), at.into()], id, Sessions::GoOn).await? {
            return Ok(false);
        }
        self.execute(&REVOKE_PERMISSIONS, vec![id.into()]).await?;
        for permission in permissions {
            self.execute(&GRANT, vec![id.into(), permission.as_str().into()]).await?;
        }
        Ok(true)
    }

    /// Waits until no other transaction changes roles, permissions or activity. Checks of what a user may do, and of
    /// whether an administrator would be left, then hold until this transaction ends.
    pub async fn lock_role_changes(&mut self) -> Result<(), StoreError> {
        self.lock(AdvisoryLock::Administrators).await
    }

    /// Makes a user an active administrator with this password and a verified e-mail address, and ends all the user's
    /// sessions and API keys. Returns `false` if the user does not exist.
    pub async fn recover_admin(&mut self, id: UserId, hash: &SecretString, at: Timestamp) -> Result<bool, StoreError> {
        let exists = self.change(&RECOVER, vec![id.into(), hash.into(), at.into()], id, Sessions::End).await?;
        self.end_credentials(id, EndReason::AccountRecovered, at).await?;
        Ok(exists)
    }
}
