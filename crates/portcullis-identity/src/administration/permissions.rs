//! Custom permissions: those that a user holds beyond their role's.

use std::sync::Arc;

use portcullis_model::{Permission, PermissionSet, UserId};
use serde_json::json;

use crate::administration::{Actor, Administration, UserDetails};
use crate::audit::Caller;
use crate::error::IdentityError;

/// A change of a user's custom permissions.
#[derive(Clone, Debug)]
pub enum PermissionChange {
    /// Replaces all custom permissions.
    Set(PermissionSet),
    /// Grants one more permission.
    Add(Permission),
    /// Revokes one permission.
    Remove(Permission),
}

impl Administration {
    /// Changes a user's custom permissions.
    pub async fn change_permissions(
        &self,
        actor: &Actor,
        id: UserId,
        change: PermissionChange,
        caller: &Caller,
    ) -> Result<UserDetails, IdentityError> {
        match &change {
            PermissionChange::Set(named) => self.check_known(named)?,
            PermissionChange::Add(named) => self.check_known([named])?,
            PermissionChange::Remove(_) => {}
        }
        let now = self.clock.now();
        let mut tx = self.store.begin().await?;
        let authority = self.authority(&mut tx, actor, Permission::USER_MANAGE_PERMISSIONS).await?;
        authority.refuse_self(id, "You cannot change your own permissions.")?;
        let known = self.known(&mut tx, id).await?;
        authority.may_change(&known.user)?;
        let before = known.extra_permissions;
        let mut after = before.clone();
        match change {
            PermissionChange::Set(named) => after = named,
            PermissionChange::Add(named) => _ = after.insert(named),
            PermissionChange::Remove(named) => _ = after.remove(&named),
        }
        let (granted, revoked) = (names(after.difference(&before)), names(before.difference(&after)));
        authority.may_grant(after.difference(&before))?;
        if !(granted.is_empty() && revoked.is_empty()) {
            tx.set_permissions(id, &after, now).await?;
            let details = json!({ "granted": granted, "revoked": revoked });
            tx.append_audit(&authority.event(caller, "user.change_permissions", id, now, Some(details))).await?;
            tx.commit().await?;
        }
        let role_permissions = Arc::clone(self.roles().of(known.user.role));
        Ok(UserDetails { user: known.user, role_permissions, custom_permissions: after })
    }

    fn check_known<'a>(&self, permissions: impl IntoIterator<Item = &'a Permission>) -> Result<(), IdentityError> {
        let roles = self.roles();
        let problems: Vec<String> = permissions
            .into_iter()
            .filter(|name| !roles.all().contains(*name))
            .map(|name| format!("There is no permission {name}: GET /api/v1/users/permissions/all lists them"))
            .collect();
        if problems.is_empty() { Ok(()) } else { Err(IdentityError::Validation(problems)) }
    }
}

fn names<'a>(permissions: impl Iterator<Item = &'a Permission>) -> Vec<&'a str> {
    permissions.map(Permission::as_str).collect()
}
