//! What changes an account, and which of it ends sessions or makes copies of them stale.

use crate::engine::value::Value;
use portcullis_model::{PermissionSet, ProfileName, Role, SecretString, Timestamp, User, UserId};

use crate::engine::advisory_lock::AdvisoryLock;
use crate::engine::error::StoreError;
use crate::engine::statement::{Runs, Sql};
use crate::sessions::EndReason;
use crate::store::Tx;
use crate::users::{read_user, user_columns};

/// What a person changes about themselves; `None` leaves a field as it is.
#[derive(Clone, Debug, Default)]
pub struct ProfileChange {
    /// A new first name.
    pub first_name: Option<ProfileName>,
    /// A new last name.
    pub last_name: Option<ProfileName>,
    /// A new avatar; `Some(None)` takes it away.
    pub avatar: Option<Option<String>>,
}

static LOGIN: Sql =
    Sql::update("users", "UPDATE users SET last_login_at = $2 WHERE id = $1 AND epoch = $3 AND is_active");
static PROFILE: Sql = Sql::update(
    "users",
    concat!(
        "UPDATE users SET first_name = COALESCE($2, first_name), last_name = COALESCE($3, last_name), \
         avatar = CASE WHEN $4 THEN $5 ELSE avatar END, updated_at = $6, epoch = epoch + 1 WHERE id = $1 \
         RETURNING users.epoch AS user_epoch, ",
        user_columns!()
    ),
);
static PASSWORD: Sql = Sql::update(
    "users",
    "UPDATE users SET password_hash = $3, updated_at = $4, epoch = epoch + 1 \
     WHERE id = $1 AND password_hash IS NOT DISTINCT FROM $2 AND is_active RETURNING epoch",
);
static RESET: Sql = Sql::update(
    "users",
    "UPDATE users SET password_hash = $2, updated_at = $3, email_verified_at = COALESCE(email_verified_at, $3), \
     epoch = epoch + 1, token_epoch = epoch + 1 WHERE id = $1 AND is_active RETURNING epoch",
);
static REHASH: Sql = Sql::update("users", "UPDATE users SET password_hash = $3 WHERE id = $1 AND password_hash = $2");
static VERIFIED: Sql = Sql::update(
    "users",
    "UPDATE users SET email_verified_at = $2, updated_at = $2, epoch = epoch + 1 WHERE id = $1 RETURNING epoch",
);
static ROLE: Sql = Sql::update(
    "users",
    "UPDATE users SET role = $2, updated_at = $3, epoch = epoch + 1 WHERE id = $1 RETURNING epoch",
);
static ENABLE: Sql = Sql::update(
    "users",
    "UPDATE users SET is_active = TRUE, updated_at = $2, epoch = epoch + 1 WHERE id = $1 RETURNING epoch",
);
static DISABLE: Sql = Sql::update(
    "users",
    "UPDATE users SET is_active = FALSE, updated_at = $2, epoch = epoch + 1, token_epoch = epoch + 1 \
     WHERE id = $1 RETURNING epoch",
);
static RECOVER: Sql = Sql::update(
    "users",
    "UPDATE users SET role = 'ADMIN', is_active = TRUE, password_hash = $2, updated_at = $3, \
     epoch = epoch + 1, token_epoch = epoch + 1 WHERE id = $1 RETURNING epoch",
);
static ERASE: Sql = Sql::delete("users", "DELETE FROM users WHERE id = $1 RETURNING epoch + 1 AS epoch");
static GRANT: Sql = Sql::insert(
    "user_permissions",
    "INSERT INTO user_permissions (user_id, permission) VALUES ($1, $2) ON CONFLICT DO NOTHING",
);
static REVOKE_ALL: Sql = Sql::delete("user_permissions", "DELETE FROM user_permissions WHERE user_id = $1");
static PERMISSIONS_CHANGED: Sql =
    Sql::update("users", "UPDATE users SET updated_at = $2, epoch = epoch + 1 WHERE id = $1 RETURNING epoch");
static END_ALL: Sql = Sql::update(
    "sessions",
    "UPDATE sessions SET ended_at = $2, end_reason = $3, epoch = epoch + 1 WHERE user_id = $1 AND ended_at IS NULL",
);

impl Tx {
    /// Notes a sign-in. `epoch` is that of the [`Credentials`](crate::Credentials) that were checked: `false` means
    /// that the account was changed or disabled since, and the sign-in must be rolled back.
    pub async fn record_login(&mut self, id: UserId, epoch: i64, at: Timestamp) -> Result<bool, StoreError> {
        Ok(self.execute(&LOGIN, vec![id.0.into(), at.into(), epoch.into()]).await? == 1)
    }

    /// Changes names and avatar, and gives the account as it is then; `None` if it is unknown.
    pub async fn update_profile(
        &mut self,
        id: UserId,
        change: &ProfileChange,
        at: Timestamp,
    ) -> Result<Option<User>, StoreError> {
        let name = |name: &Option<ProfileName>| name.as_ref().map(|name| name.as_str().to_owned());
        let values = vec![
            id.0.into(),
            name(&change.first_name).into(),
            name(&change.last_name).into(),
            change.avatar.is_some().into(),
            change.avatar.clone().flatten().into(),
            at.into(),
        ];
        let Some(row) = self.one(&PROFILE, values).await? else { return Ok(None) };
        self.revoke_user(id, row.get("user_epoch")?, false);
        read_user(&row).map(Some)
    }

    /// Sets a new password in place of `old`, and raises the epoch, so that a sign-in that has checked the old one
    /// comes to nothing. `false` when `old` is no longer the hash, or the account is disabled. Ends no session: the
    /// caller knows which one stays.
    pub async fn set_password_hash(
        &mut self,
        id: UserId,
        old: Option<&SecretString>,
        new: &SecretString,
        at: Timestamp,
    ) -> Result<bool, StoreError> {
        let old = old.map(|hash| hash.expose().to_owned());
        self.change(&PASSWORD, vec![id.0.into(), old.into(), new.expose().into(), at.into()], id, false).await
    }

    /// Sets a password by a mailed link, which also confirms the address; every session ends and every access token
    /// is dead. `false` when the account is unknown or disabled.
    pub async fn reset_password_hash(
        &mut self,
        id: UserId,
        new: &SecretString,
        at: Timestamp,
    ) -> Result<bool, StoreError> {
        if !self.change(&RESET, vec![id.0.into(), new.expose().into(), at.into()], id, true).await? {
            return Ok(false);
        }
        self.end_all(id, EndReason::PasswordReset, at).await?;
        Ok(true)
    }

    /// Replaces a hash by a stronger one of the same password; `false` when the password was changed meanwhile.
    pub async fn replace_password_hash(
        &mut self,
        id: UserId,
        old: &SecretString,
        new: &SecretString,
    ) -> Result<bool, StoreError> {
        Ok(self.execute(&REHASH, vec![id.0.into(), old.expose().into(), new.expose().into()]).await? == 1)
    }

    /// Notes that the address was confirmed.
    pub async fn set_email_verified(&mut self, id: UserId, at: Timestamp) -> Result<bool, StoreError> {
        self.change(&VERIFIED, vec![id.0.into(), at.into()], id, false).await
    }

    /// Gives another role, in force at once in every session (SR-35).
    pub async fn set_role(&mut self, id: UserId, role: Role, at: Timestamp) -> Result<bool, StoreError> {
        self.change(&ROLE, vec![id.0.into(), role.as_str().into(), at.into()], id, false).await
    }

    /// Enables an account, or disables it: then every session ends and every access token is dead.
    pub async fn set_active(&mut self, id: UserId, active: bool, at: Timestamp) -> Result<bool, StoreError> {
        let values = vec![id.0.into(), at.into()];
        if active {
            return self.change(&ENABLE, values, id, false).await;
        }
        let known = self.change(&DISABLE, values, id, true).await?;
        self.end_all(id, EndReason::AccountDisabled, at).await?;
        Ok(known)
    }

    /// Deletes an account with everything that is its own: sessions, keys, permissions, links. What the audit log
    /// says of it stays. Every session ends at once, on every replica.
    pub async fn delete_user(&mut self, id: UserId) -> Result<bool, StoreError> {
        self.change(&ERASE, vec![id.0.into()], id, true).await
    }

    /// Gives an account exactly these permissions beyond its role's, in force at once in every session (SR-35).
    pub async fn set_permissions(
        &mut self,
        id: UserId,
        permissions: &PermissionSet,
        at: Timestamp,
    ) -> Result<bool, StoreError> {
        // The account's row first, so that two changes of one account wait for each other.
        if !self.change(&PERMISSIONS_CHANGED, vec![id.0.into(), at.into()], id, false).await? {
            return Ok(false);
        }
        self.execute(&REVOKE_ALL, vec![id.0.into()]).await?;
        for permission in permissions {
            self.execute(&GRANT, vec![id.0.into(), permission.as_str().into()]).await?;
        }
        Ok(true)
    }

    /// Waits until no other change of roles, permissions or activity is under way: whoever checks what somebody may
    /// do, and whether an administrator would be left, does so on what holds until this transaction ends.
    pub async fn alone_with_roles(&mut self) -> Result<(), StoreError> {
        self.lock(AdvisoryLock::Administrators).await
    }

    /// Makes an account an active administrator with this password, and ends all its sessions.
    pub async fn recover_admin(&mut self, id: UserId, hash: &SecretString, at: Timestamp) -> Result<bool, StoreError> {
        let known = self.change(&RECOVER, vec![id.0.into(), hash.expose().into(), at.into()], id, true).await?;
        self.end_all(id, EndReason::AccountRecovered, at).await?;
        Ok(known)
    }

    /// Runs a statement that raises the user's epoch and returns it, and notes the revocation that goes with it.
    /// The account's row is written before its sessions' rows, so that a sign-in that runs at the same time either
    /// is seen here or fails in [`record_login`](Self::record_login).
    async fn change(&mut self, sql: &Sql, values: Vec<Value>, id: UserId, ends: bool) -> Result<bool, StoreError> {
        let Some(row) = self.one(sql, values).await? else { return Ok(false) };
        let epoch = row.get("epoch")?;
        self.revoke_user(id, epoch, ends);
        Ok(true)
    }

    /// Ends all sessions of a user whose revocation entry already says so.
    async fn end_all(&mut self, id: UserId, reason: EndReason, at: Timestamp) -> Result<(), StoreError> {
        self.execute(&END_ALL, vec![id.0.into(), at.into(), reason.as_str().into()]).await.map(|_| ())
    }
}
