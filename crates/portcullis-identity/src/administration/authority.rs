//! The rights of an actor over other users.

use std::sync::Arc;

use portcullis_model::permission::BuiltInPermission;
use portcullis_model::{
    ApiKeyScopes, Permission, PermissionSet, Role, SessionId, SessionState, Timestamp, User, UserId,
};
use portcullis_storage::{AuditEvent, Tx};
use serde_json::Value;

use crate::administration::Administration;
use crate::audit::Caller;
use crate::error::IdentityError;

/// Who acts on another user.
#[derive(Clone, Debug)]
pub enum Actor {
    /// The user of a session or of an API key.
    Session(Arc<SessionState>),
    /// The command line on the machine itself, which has every right.
    Shell,
}

/// The rights of an actor, which hold until the transaction that read them ends.
pub(super) struct Authority {
    id: Option<UserId>,
    session: Option<SessionId>,
    by_key: bool,
    role: Option<Role>,
    permissions: PermissionSet,
}

fn refused(why: impl Into<String>) -> IdentityError {
    IdentityError::NotPermitted(why.into())
}

impl Authority {
    /// Refuses every change of the demo account, and what [`outranks`](Self::outranks) refuses.
    pub(super) fn may_change(&self, target: &User) -> Result<(), IdentityError> {
        if target.id.is_demo() {
            return Err(IdentityError::DemoReadOnly);
        }
        self.outranks(target)
    }

    /// Refuses to act on a user with a higher role, and on an API key's owner by that key.
    pub(super) fn outranks(&self, target: &User) -> Result<(), IdentityError> {
        if self.by_key && self.id == Some(target.id) {
            return Err(refused("An API key does not change its owner's account."));
        }
        if self.role >= Some(target.role) || self.id == Some(target.id) {
            return Ok(());
        }
        Err(refused(format!("The account has the role {}, which is higher than yours.", target.role)))
    }

    /// Refuses to grant a role above the actor's own, or one with permissions that the actor does not hold.
    pub(super) fn may_grant_role(&self, role: Role, holds: &PermissionSet) -> Result<(), IdentityError> {
        if self.role < Some(role) {
            return Err(refused(format!("You cannot give the role {role}, which is higher than yours.")));
        }
        self.may_grant(holds)
    }

    /// Refuses to grant permissions that the actor does not hold.
    pub(super) fn may_grant<'a>(
        &self,
        permissions: impl IntoIterator<Item = &'a Permission>,
    ) -> Result<(), IdentityError> {
        let missing: Vec<&str> =
            permissions.into_iter().filter(|name| !self.permissions.contains(*name)).map(Permission::as_str).collect();
        if missing.is_empty() {
            return Ok(());
        }
        Err(refused(format!("You cannot give permissions that you do not hold: {}.", missing.join(", "))))
    }

    /// Refuses when the actor is the target.
    pub(super) fn refuse_self(&self, target: UserId, why: &str) -> Result<(), IdentityError> {
        if self.id == Some(target) { Err(refused(why)) } else { Ok(()) }
    }

    /// The audit event of a change of another user.
    pub(super) fn event(
        &self,
        caller: &Caller,
        action: &'static str,
        target: UserId,
        at: Timestamp,
        details: Option<Value>,
    ) -> AuditEvent {
        let success = caller.success(action, at, target, self.session);
        AuditEvent { actor_id: self.id, details, ..success }
    }
}

impl Administration {
    /// Locks out every other change of rights for the rest of the transaction and reads the actor's rights.
    pub(super) async fn authority(
        &self,
        tx: &mut Tx,
        actor: &Actor,
        needed: BuiltInPermission,
    ) -> Result<Authority, IdentityError> {
        tx.lock_role_changes().await?;
        let roles = self.roles();
        let Actor::Session(session) = actor else {
            let permissions = PermissionSet::clone(roles.all());
            return Ok(Authority { id: None, session: None, by_key: false, role: Some(Role::Admin), permissions });
        };
        let mut authority = Authority {
            id: Some(session.user_id),
            session: session.is_signed_in().then_some(session.id),
            by_key: !session.is_signed_in(),
            role: session.role_in_force(),
            permissions: PermissionSet::clone(&session.permissions),
        };
        let now = tx.credentials_by_id(session.user_id).await?.filter(|now| now.user.is_active);
        let Some(now) = now else { return Err(refused("Your account was disabled or deleted.")) };
        if now.epoch != session.user_epoch {
            authority.role = authority.role.map(|_| now.user.role);
            let mut held: PermissionSet = roles.of(now.user.role).union(&now.extra_permissions).cloned().collect();
            if matches!(session.api_key, Some(ApiKeyScopes::Only(_))) {
                held.retain(|permission| session.permissions.contains(permission));
            }
            authority.permissions = held;
        }
        if authority.permissions.iter().any(|held| needed == *held) {
            return Ok(authority);
        }
        Err(refused(format!("This needs the permission {}.", needed.as_str())))
    }
}
