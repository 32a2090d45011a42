//! Administration: what administrators and the command line do with other users.
//!
//! Whether the actor may do it is checked in the transaction that does it, against the rights that hold then (SR-43).

mod authority;
mod invitation;
mod permissions;
mod sessions;
mod shell;

use std::sync::Arc;

use portcullis_model::{Clock, Permission, PermissionSet, Random, Role, RolePermissions, User, UserId};
use portcullis_sessions::SessionCache;
use portcullis_storage::{Credentials, Store, Tx};
use serde_json::json;

use crate::audit::Caller;
use crate::error::IdentityError;
use crate::hashing::PasswordHasher;
use crate::idempotency::IdempotentOutcomes;
use crate::password_policy::PasswordPolicy;
use crate::user_fields::ProfileInput;

pub use authority::Actor;
pub use invitation::Invitation;
pub use permissions::PermissionChange;
pub use shell::NewAccount;

/// Creates, changes and deletes other users.
pub struct Administration {
    pub(crate) store: Store,
    pub(crate) cache: Arc<SessionCache>,
    pub(crate) clock: Clock,
    pub(crate) random: Random,
    pub(crate) policy: Arc<PasswordPolicy>,
    pub(crate) hasher: Arc<PasswordHasher>,
    pub(crate) outcomes: IdempotentOutcomes,
}

/// A change of another user. `None` leaves a field as it is.
#[derive(Clone, Debug, Default)]
pub struct UserProfileInput {
    /// Names and avatar.
    pub profile: ProfileInput,
    /// Whether the user may sign in.
    pub is_active: Option<bool>,
}

/// A user with their permissions.
#[derive(Clone, Debug)]
pub struct UserDetails {
    /// The user.
    pub user: User,
    /// The permissions of the user's role.
    pub role_permissions: Arc<PermissionSet>,
    /// The permissions granted beyond the role's.
    pub custom_permissions: PermissionSet,
}

impl UserDetails {
    /// The permissions of the role and the custom ones together.
    pub fn all_permissions(&self) -> PermissionSet {
        self.role_permissions.union(&self.custom_permissions).cloned().collect()
    }
}

impl Administration {
    /// A user with their permissions.
    pub async fn user(&self, id: UserId) -> Result<UserDetails, IdentityError> {
        let known = self.store.credentials_by_id(id).await?.ok_or(IdentityError::NotFound)?;
        let role_permissions = Arc::clone(self.roles().of(known.user.role));
        Ok(UserDetails { user: known.user, role_permissions, custom_permissions: known.extra_permissions })
    }

    /// The permissions of each role, as configured now.
    pub fn roles(&self) -> Arc<RolePermissions> {
        self.cache.roles()
    }

    /// Changes a user's names and avatar, and whether they may sign in.
    pub async fn edit(
        &self,
        actor: &Actor,
        id: UserId,
        input: UserProfileInput,
        caller: &Caller,
    ) -> Result<User, IdentityError> {
        let change = input.profile.check()?;
        let now = self.clock.now();
        let mut tx = self.store.begin().await?;
        let authority = self.authority(&mut tx, actor, Permission::USER_EDIT).await?;
        let known = self.known(&mut tx, id).await?.user;
        authority.may_change(&known)?;
        let mut user = known.clone();
        if change.first_name.is_some() || change.last_name.is_some() || change.avatar.is_some() {
            user = tx.update_profile(id, &change, now).await?.ok_or(IdentityError::NotFound)?;
            tx.append_audit(&authority.event(caller, "user.edit", id, now, None)).await?;
        }
        if let Some(active) = input.is_active.filter(|active| *active != known.is_active) {
            if !active {
                require_another_administrator(&mut tx, &known).await?;
            }
            tx.set_active(id, active, now).await?;
            let action = if active { "user.enable" } else { "user.disable" };
            tx.append_audit(&authority.event(caller, action, id, now, None)).await?;
            user.is_active = active;
            user.updated_at = now;
        }
        tx.commit().await?;
        Ok(user)
    }

    /// Gives a user another role.
    pub async fn set_role(
        &self,
        actor: &Actor,
        id: UserId,
        role: Role,
        caller: &Caller,
    ) -> Result<User, IdentityError> {
        let now = self.clock.now();
        let mut tx = self.store.begin().await?;
        let authority = self.authority(&mut tx, actor, Permission::USER_MANAGE_ROLES).await?;
        authority.refuse_self(id, "You cannot change your own role.")?;
        let known = self.known(&mut tx, id).await?.user;
        authority.may_change(&known)?;
        authority.may_grant_role(role, self.roles().of(role))?;
        if role == known.role {
            return Ok(known);
        }
        require_another_administrator(&mut tx, &known).await?;
        tx.set_role(id, role, now).await?;
        let details = json!({ "from": known.role.as_str(), "to": role.as_str() });
        tx.append_audit(&authority.event(caller, "user.set_role", id, now, Some(details))).await?;
        tx.commit().await?;
        Ok(User { role, updated_at: now, ..known })
    }

    /// Deletes a user with their sessions and API keys. Audit events about the user stay.
    pub async fn delete(&self, actor: &Actor, id: UserId, caller: &Caller) -> Result<(), IdentityError> {
        let now = self.clock.now();
        let mut tx = self.store.begin().await?;
        let authority = self.authority(&mut tx, actor, Permission::USER_DELETE).await?;
        let known = self.known(&mut tx, id).await?.user;
        authority.may_change(&known)?;
        require_another_administrator(&mut tx, &known).await?;
        tx.delete_user(id).await?;
        // The audit log names users by id only, so the event keeps the names that are deleted here.
        let details = json!({ "email": known.email.as_str(), "username": known.username.as_str() });
        tx.append_audit(&authority.event(caller, "user.delete", id, now, Some(details))).await?;
        tx.commit().await?;
        Ok(())
    }

    async fn known(&self, tx: &mut Tx, id: UserId) -> Result<Credentials, IdentityError> {
        tx.credentials_by_id(id).await?.ok_or(IdentityError::NotFound)
    }
}

/// Refuses a change of `target` that would leave no active administrator.
async fn require_another_administrator(tx: &mut Tx, target: &User) -> Result<(), IdentityError> {
    let is_one = target.role == Role::Admin && target.is_active;
    if is_one && tx.count_active_admins().await? <= 1 {
        return Err(IdentityError::LastAdministrator);
    }
    Ok(())
}
