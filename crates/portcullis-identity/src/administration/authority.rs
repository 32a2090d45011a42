//! The rights of an actor over other users.

use std::sync::Arc;

use portcullis_model::permission::BuiltInPermission;
use portcullis_model::{Permission, PermissionSet, Role, SessionId, SessionState, Timestamp, User, UserId};
use portcullis_storage::{AuditEvent, Tx};
use serde_json::Value;

use crate::administration::Administration;
use crate::audit::Caller;
use crate::error::IdentityError;
use crate::principal;

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
    /// The role of the user, whose rank holds for a session and for every API key, with scopes or without.
    role: Role,
    permissions: PermissionSet,
}

impl Actor {
    /// Refuses what [`Authority::outranks`] refuses, by the copy of the session that the gate let through: enough to read.
    pub(super) fn outranks(&self, target: &User) -> Result<(), IdentityError> {
        let Self::Session(session) = self else { return Ok(()) };
        let permissions = PermissionSet::new();
        let (id, by_key) = (Some(session.user_id), !session.is_signed_in());
        Authority { id, session: None, by_key, role: session.role, permissions }.outranks(target)
    }
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
        let itself = self.id == Some(target.id);
        if self.by_key && itself {
            return Err(refused("An API key does not reach its owner's account."));
        }
        if self.role >= target.role || itself {
            return Ok(());
        }
        Err(refused(format!("The account has the role {}, which is higher than yours.", target.role)))
    }

    /// Refuses to grant a role above the actor's own, or one with permissions that the actor does not hold.
    pub(super) fn may_grant_role(&self, role: Role, holds: &PermissionSet) -> Result<(), IdentityError> {
        if self.role < role {
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

    /// The audit event of an operation on the gateway itself.
    pub(super) fn operation(&self, caller: &Caller, action: &'static str, at: Timestamp, details: Value) -> AuditEvent {
        AuditEvent { actor_id: self.id, session_id: self.session, ..caller.bulk_event(action, at, details) }
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
    /// Locks out every other change of rights for the rest of the transaction and reads the actor's rights. A session or
    /// an API key that has ended, and one without the permission, is refused (SR-59).
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
            return Ok(Authority { id: None, session: None, by_key: false, role: Role::Admin, permissions });
        };
        let now = principal::read_again(tx, session).await?;
        let permissions = principal::permissions(session, &now, &roles);
        if !permissions.iter().any(|held| needed == *held) {
            return Err(refused(format!("This needs the permission {}.", needed.as_str())));
        }
        Ok(Authority {
            id: Some(session.user_id),
            session: session.is_signed_in().then_some(session.id),
            by_key: !session.is_signed_in(),
            role: now.user.role,
            permissions,
        })
    }
}
