//! What administrators do with other people's accounts: who may do it is checked here, in the transaction that does
//! it, against what holds then (requirement 43).

use std::sync::Arc;

use portcullis_model::{
    ApiKeyScopes, Permission, PermissionSet, ProfileName, Role, SessionId, SessionState, Timestamp, User, UserId,
};
use portcullis_storage::{AuditEvent, Credentials, EndReason, ProfileChange, Tx};
use serde_json::{Value, json};

use crate::account::{ProfileInput, SessionView};
use crate::audit::Caller;
use crate::error::IdentityError;
use crate::identity::{Identity, Parts};
use crate::register::keep;

/// Who acts on somebody's account.
#[derive(Clone, Debug)]
pub enum Actor {
    /// Somebody with a session or a key.
    Session(Arc<SessionState>),
    /// Whoever has the machine's shell: may do everything.
    Shell,
}

/// What somebody changes about another; `None` leaves a thing as it is.
#[derive(Clone, Debug, Default)]
pub struct PersonInput {
    /// Names and avatar.
    pub profile: ProfileInput,
    /// Whether the account may sign in.
    pub is_active: Option<bool>,
}

/// A change of somebody's own permissions, those beyond the role's.
#[derive(Clone, Debug)]
pub enum PermissionChange {
    /// Exactly these.
    Set(PermissionSet),
    /// This one more.
    Add(Permission),
    /// This one less.
    Remove(Permission),
}

/// An account with what it may do.
#[derive(Clone, Debug)]
pub struct PersonView {
    /// The account.
    pub user: User,
    /// What its role allows.
    pub role_permissions: Arc<PermissionSet>,
    /// What it may do beyond the role.
    pub custom_permissions: PermissionSet,
}

impl PersonView {
    /// Everything it may do.
    pub fn all_permissions(&self) -> PermissionSet {
        self.role_permissions.union(&self.custom_permissions).cloned().collect()
    }
}

/// What an actor may do, as it holds for the rest of a transaction.
pub(crate) struct Powers {
    pub(crate) id: Option<UserId>,
    session: Option<SessionId>,
    by_key: bool,
    role: Option<Role>,
    permissions: PermissionSet,
}

fn refused(why: impl Into<String>) -> IdentityError {
    IdentityError::NotPermitted(why.into())
}

impl Powers {
    /// Nobody acts on somebody of a higher role, and no key on its owner.
    fn reach(&self, target: &User) -> Result<(), IdentityError> {
        if self.by_key && self.is(target.id) {
            return Err(refused("An API key does not change its owner's account."));
        }
        if self.role >= Some(target.role) || self.id == Some(target.id) {
            return Ok(());
        }
        Err(refused(format!("The account has the role {}, which is higher than yours.", target.role)))
    }

    /// Nobody grants a role above their own, or one that holds what they do not.
    pub(crate) fn may_grant_role(&self, role: Role, holds: &PermissionSet) -> Result<(), IdentityError> {
        if self.role < Some(role) {
            return Err(refused(format!("You cannot give the role {role}, which is higher than yours.")));
        }
        self.may_grant(holds)
    }

    /// Nobody grants what they do not hold.
    fn may_grant<'a>(&self, permissions: impl IntoIterator<Item = &'a Permission>) -> Result<(), IdentityError> {
        let missing: Vec<&str> =
            permissions.into_iter().filter(|name| !self.permissions.contains(*name)).map(Permission::as_str).collect();
        if missing.is_empty() {
            return Ok(());
        }
        Err(refused(format!("You cannot give what you do not hold: {}.", missing.join(", "))))
    }

    fn is(&self, target: UserId) -> bool {
        self.id == Some(target)
    }

    /// The line of the audit log for what was done to somebody.
    pub(crate) fn event(
        &self,
        caller: &Caller,
        action: &'static str,
        target: UserId,
        at: Timestamp,
        details: Option<Value>,
    ) -> AuditEvent {
        let done = caller.success(action, at, target, self.session);
        AuditEvent { actor_id: self.id, details, ..done }
    }
}

impl Parts {
    /// Makes the transaction the only one that changes who may do what, and reads what the actor may do now.
    pub(crate) async fn powers(&self, tx: &mut Tx, actor: &Actor, needed: &str) -> Result<Powers, IdentityError> {
        tx.alone_with_roles().await?;
        let roles = self.sessions.roles();
        let Actor::Session(session) = actor else {
            let all = PermissionSet::clone(roles.all());
            return Ok(Powers { id: None, session: None, by_key: false, role: Some(Role::Admin), permissions: all });
        };
        let mut powers = Powers {
            id: Some(session.user_id),
            session: session.is_signed_in().then_some(session.id),
            by_key: !session.is_signed_in(),
            role: session.role_in_force(),
            permissions: PermissionSet::clone(&session.permissions),
        };
        if !session.demo {
            let now = tx.credentials_by_id(session.user_id).await?.filter(|now| now.user.is_active);
            let Some(now) = now else { return Err(refused("Your account cannot do this any more.")) };
            if now.epoch != session.user_epoch {
                powers.role = powers.role.map(|_| now.user.role);
                let mut held: PermissionSet = roles.of(now.user.role).union(&now.extra_permissions).cloned().collect();
                if matches!(session.api_key, Some(ApiKeyScopes::Only(_))) {
                    held.retain(|permission| session.permissions.contains(permission));
                }
                powers.permissions = held;
            }
        }
        if powers.permissions.iter().any(|held| held.as_str() == needed) {
            return Ok(powers);
        }
        Err(refused(format!("This needs the permission {needed}.")))
    }

    /// Refuses what would leave nobody to administer.
    async fn keep_an_administrator(&self, tx: &mut Tx, target: &User) -> Result<(), IdentityError> {
        let is_one = target.role == Role::Admin && target.is_active;
        if is_one && tx.count_active_admins().await? <= 1 {
            return Err(IdentityError::LastAdministrator);
        }
        Ok(())
    }

    async fn person(&self, tx: &mut Tx, id: UserId) -> Result<Credentials, IdentityError> {
        tx.credentials_by_id(id).await?.ok_or(IdentityError::NotFound)
    }

    fn check_known(&self, permissions: &PermissionSet) -> Result<(), IdentityError> {
        let roles = self.sessions.roles();
        let problems: Vec<String> = permissions
            .iter()
            .filter(|name| !roles.all().contains(*name))
            .map(|name| format!("There is no permission {name}: GET /api/v1/users/permissions/all lists them"))
            .collect();
        if problems.is_empty() { Ok(()) } else { Err(IdentityError::Validation(problems)) }
    }
}

impl Identity {
    /// Somebody's account with what it may do.
    pub async fn person_view(&self, id: UserId) -> Result<PersonView, IdentityError> {
        let known = self.store.credentials_by_id(id).await?.ok_or(IdentityError::NotFound)?;
        let role_permissions = Arc::clone(self.sessions.roles().of(known.user.role));
        Ok(PersonView { user: known.user, role_permissions, custom_permissions: known.extra_permissions })
    }

    /// What each role holds now.
    pub fn roles(&self) -> Arc<portcullis_model::RolePermissions> {
        self.sessions.roles()
    }

    /// Changes somebody's names and avatar, and whether the account may sign in.
    pub async fn edit_person(
        &self,
        actor: &Actor,
        id: UserId,
        input: PersonInput,
        caller: &Caller,
    ) -> Result<User, IdentityError> {
        let change = self.check_profile(input.profile)?;
        let now = self.clock.now();
        let mut tx = self.store.begin().await?;
        let powers = self.powers(&mut tx, actor, "USER_EDIT").await?;
        let known = self.person(&mut tx, id).await?.user;
        powers.reach(&known)?;
        let mut user = known.clone();
        if change.first_name.is_some() || change.last_name.is_some() || change.avatar.is_some() {
            user = tx.update_profile(id, &change, now).await?.ok_or(IdentityError::NotFound)?;
            tx.append_audit(&powers.event(caller, "user.edit", id, now, None)).await?;
        }
        if let Some(active) = input.is_active.filter(|active| *active != known.is_active) {
            if !active {
                self.keep_an_administrator(&mut tx, &known).await?;
            }
            tx.set_active(id, active, now).await?;
            let action = if active { "user.enable" } else { "user.disable" };
            tx.append_audit(&powers.event(caller, action, id, now, None)).await?;
            user.is_active = active;
            user.updated_at = now;
        }
        tx.commit().await?;
        Ok(user)
    }

    /// Gives somebody another role.
    pub async fn set_role(
        &self,
        actor: &Actor,
        id: UserId,
        role: Role,
        caller: &Caller,
    ) -> Result<User, IdentityError> {
        let now = self.clock.now();
        let mut tx = self.store.begin().await?;
        let powers = self.powers(&mut tx, actor, "USER_MANAGE_ROLES").await?;
        if powers.is(id) {
            return Err(refused("Nobody changes their own role."));
        }
        let known = self.person(&mut tx, id).await?.user;
        powers.reach(&known)?;
        powers.may_grant_role(role, self.sessions.roles().of(role))?;
        if role == known.role {
            return Ok(known);
        }
        self.keep_an_administrator(&mut tx, &known).await?;
        tx.set_role(id, role, now).await?;
        let details = json!({ "from": known.role.as_str(), "to": role.as_str() });
        tx.append_audit(&powers.event(caller, "user.set_role", id, now, Some(details))).await?;
        tx.commit().await?;
        Ok(User { role, updated_at: now, ..known })
    }

    /// Changes what somebody may do beyond their role.
    pub async fn change_permissions(
        &self,
        actor: &Actor,
        id: UserId,
        change: PermissionChange,
        caller: &Caller,
    ) -> Result<PersonView, IdentityError> {
        if let PermissionChange::Set(named) = &change {
            self.check_known(named)?;
        }
        if let PermissionChange::Add(named) = &change {
            self.check_known(&PermissionSet::from([named.clone()]))?;
        }
        let now = self.clock.now();
        let mut tx = self.store.begin().await?;
        let powers = self.powers(&mut tx, actor, "USER_MANAGE_PERMISSIONS").await?;
        if powers.is(id) {
            return Err(refused("Nobody changes their own permissions."));
        }
        let known = self.person(&mut tx, id).await?;
        powers.reach(&known.user)?;
        let before = known.extra_permissions;
        let mut after = before.clone();
        match change {
            PermissionChange::Set(named) => after = named,
            PermissionChange::Add(named) => _ = after.insert(named),
            PermissionChange::Remove(named) => _ = after.remove(&named),
        }
        let (granted, revoked) = (names(after.difference(&before)), names(before.difference(&after)));
        powers.may_grant(after.difference(&before))?;
        if !(granted.is_empty() && revoked.is_empty()) {
            tx.set_permissions(id, &after, now).await?;
            let details = json!({ "granted": granted, "revoked": revoked });
            tx.append_audit(&powers.event(caller, "user.change_permissions", id, now, Some(details))).await?;
            tx.commit().await?;
        }
        let role_permissions = Arc::clone(self.sessions.roles().of(known.user.role));
        Ok(PersonView { user: known.user, role_permissions, custom_permissions: after })
    }

    /// Deletes an account with its sessions and keys. The audit log goes on speaking of it.
    pub async fn delete_person(&self, actor: &Actor, id: UserId, caller: &Caller) -> Result<(), IdentityError> {
        let now = self.clock.now();
        let mut tx = self.store.begin().await?;
        let powers = self.powers(&mut tx, actor, "USER_DELETE").await?;
        let known = self.person(&mut tx, id).await?.user;
        powers.reach(&known)?;
        self.keep_an_administrator(&mut tx, &known).await?;
        tx.delete_user(id).await?;
        // The name would be gone with the account, and the log must still say whose it was.
        let details = json!({ "email": known.email.as_str(), "username": known.username.as_str() });
        tx.append_audit(&powers.event(caller, "user.delete", id, now, Some(details))).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Somebody's live sessions (requirement 23).
    pub async fn sessions_of_person(&self, id: UserId) -> Result<Vec<SessionView>, IdentityError> {
        self.store.user_by_id(id).await?.ok_or(IdentityError::NotFound)?;
        let records = self.store.list_sessions(id, self.clock.now()).await?;
        Ok(records.into_iter().map(SessionView::from).collect())
    }

    /// Ends one of somebody's sessions, or all of them (requirement 23).
    pub async fn end_sessions_of_person(
        &self,
        actor: &Actor,
        id: UserId,
        session: Option<SessionId>,
        caller: &Caller,
    ) -> Result<(), IdentityError> {
        let now = self.clock.now();
        let mut tx = self.store.begin().await?;
        let powers = self.powers(&mut tx, actor, "USER_EDIT").await?;
        let known = self.person(&mut tx, id).await?.user;
        powers.reach(&known)?;
        let reason = EndReason::EndedByAdministrator;
        match session {
            Some(session) if !tx.end_session_of(id, session, reason, now).await? => {
                return Err(IdentityError::NotFound);
            }
            Some(_) => {}
            None => _ = tx.end_sessions_of(id, None, reason, now).await?,
        }
        let details = session.map(|session| json!({ "session": session }));
        tx.append_audit(&powers.event(caller, "user.end_sessions", id, now, details)).await?;
        tx.commit().await?;
        Ok(())
    }

    pub(crate) fn check_profile(&self, input: ProfileInput) -> Result<ProfileChange, IdentityError> {
        let mut problems = Vec::new();
        let name = |label: &str, text: Option<String>, problems: &mut Vec<String>| {
            text.and_then(|text| keep(ProfileName::parse(label, &text), problems))
        };
        let change = ProfileChange {
            first_name: name("First name", input.first_name, &mut problems),
            last_name: name("Last name", input.last_name, &mut problems),
            avatar: match input.avatar {
                Some(Some(text)) => keep(portcullis_model::name::parse_avatar(&text), &mut problems).map(Some),
                Some(None) => Some(None),
                None => None,
            },
        };
        if problems.is_empty() { Ok(change) } else { Err(IdentityError::Validation(problems)) }
    }
}

fn names<'a>(permissions: impl Iterator<Item = &'a Permission>) -> Vec<&'a str> {
    permissions.map(Permission::as_str).collect()
}
