//! Administration: what administrators and the command line do with other users.
//!
//! Whether the actor may do it is checked in the transaction that does it, against the rights that hold then (SR-43).

mod authority;
mod errors;
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
use crate::one_time_token::discard_links;
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
    /// `registration.require_verified_email`.
    pub(crate) require_verified_email: bool,
}

/// A change of another user. `None` leaves a field as it is.
#[derive(Clone, Debug, Default)]
pub struct UserProfileInput {
    /// Names and avatar.
    pub profile: ProfileInput,
    /// Whether the user may sign in.
    pub is_active: Option<bool>,
    /// Whether to record that the e-mail address is verified, where no mail can be sent.
    pub verify_email: bool,
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

    /// Changes a user's names and avatar, verifies their address, and changes whether they may sign in. Disabling a user
    /// ends their sessions, API keys and mailed links (SR-51).
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
        if input.is_active == Some(false) {
            self.discard_links_of(&mut tx, id).await?;
        }
        let authority = self.authority(&mut tx, actor, Permission::USER_EDIT).await?;
        let target = self.known(&mut tx, id).await?;
        let known = &target.user;
        authority.may_change(known)?;
        let mut user = known.clone();
        if change.first_name.is_some() || change.last_name.is_some() || change.avatar.is_some() {
            user = tx.update_profile(id, &change, now).await?.ok_or(IdentityError::NotFound)?;
            tx.append_audit(&authority.event(caller, "user.edit", id, now, None)).await?;
        }
        if input.verify_email && !known.is_email_verified() {
            tx.set_email_verified(id, now).await?;
            tx.append_audit(&authority.event(caller, "user.verify_email", id, now, None)).await?;
            user.email_verified_at = Some(now);
            user.updated_at = now;
        }
        if let Some(active) = input.is_active.filter(|active| *active != known.is_active) {
            if !active {
                self.require_another_administrator(&mut tx, &target).await?;
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
        let target = self.known(&mut tx, id).await?;
        let known = &target.user;
        authority.may_change(known)?;
        authority.may_grant_role(role, self.roles().of(role))?;
        if role == known.role {
            return Ok(target.user);
        }
        self.require_another_administrator(&mut tx, &target).await?;
        tx.set_role(id, role, now).await?;
        let details = json!({ "from": known.role.as_str(), "to": role.as_str() });
        tx.append_audit(&authority.event(caller, "user.set_role", id, now, Some(details))).await?;
        tx.commit().await?;
        Ok(User { role, updated_at: now, ..target.user })
    }

    /// Deletes a user with their sessions and API keys. Audit events about the user stay.
    pub async fn delete(&self, actor: &Actor, id: UserId, caller: &Caller) -> Result<(), IdentityError> {
        let now = self.clock.now();
        let mut tx = self.store.begin().await?;
        self.discard_links_of(&mut tx, id).await?;
        let authority = self.authority(&mut tx, actor, Permission::USER_DELETE).await?;
        let target = self.known(&mut tx, id).await?;
        let known = &target.user;
        authority.may_change(known)?;
        self.require_another_administrator(&mut tx, &target).await?;
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

    /// Discards the links of a user who loses the account. In this order: the lock on roles, the tokens, the users.
    async fn discard_links_of(&self, tx: &mut Tx, id: UserId) -> Result<(), IdentityError> {
        tx.lock_role_changes().await?;
        discard_links(tx, id).await
    }

    /// Refuses a change of `target` that would leave no administrator who can sign in: an invited one without a password
    /// cannot, nor one whose address is not verified where that is required.
    async fn require_another_administrator(&self, tx: &mut Tx, target: &Credentials) -> Result<(), IdentityError> {
        let user = &target.user;
        let verified_only = self.require_verified_email;
        let signs_in = target.password_hash.is_some() && (user.is_email_verified() || !verified_only);
        let is_one = user.role == Role::Admin && user.is_active && signs_in;
        if is_one && tx.count_other_admins(user.id, verified_only).await? == 0 {
            return Err(IdentityError::LastAdministrator);
        }
        Ok(())
    }
}
