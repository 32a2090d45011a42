//! What the command line and operators do: create users, recover an administrator, look users up, record operations.

use std::sync::Arc;

use portcullis_model::mail::MailKind;
use portcullis_model::{Amr, Email, Permission, Role, SecretString, SessionId, SessionState, User, UserId};
use portcullis_storage::{AuditEvent, Credentials, NewUser};
use serde_json::Value;

use crate::administration::{Actor, Administration};
use crate::audit::Caller;
use crate::error::IdentityError;
use crate::one_time_token::discard_links;
use crate::password_policy::About;
use crate::rescue::{TAKEN_BACK, replace_names_of_stranger};
use crate::session_issuer::FIRST_EPOCH;
use crate::throttle;
use crate::user_fields::RegisterInput;

/// A user to be created at the command line.
#[derive(Clone, Debug)]
pub struct NewAccount {
    /// E-mail address as typed.
    pub email: String,
    /// Whether the e-mail address counts as verified.
    pub email_verified: bool,
    /// Username as typed.
    pub username: String,
    /// First name as typed.
    pub first_name: String,
    /// Last name as typed.
    pub last_name: String,
    /// The role of the new user.
    pub role: Role,
    /// Password as typed.
    pub password: SecretString,
}

impl Administration {
    /// Creates a user with any role.
    pub async fn create(&self, account: NewAccount, caller: &Caller) -> Result<User, IdentityError> {
        let input = RegisterInput {
            email: account.email,
            username: account.username,
            first_name: account.first_name,
            last_name: account.last_name,
            confirm_password: account.password.clone(),
            password: account.password,
        };
        let checked = input.check(&self.policy)?;
        let password_hash =
            self.hasher.hash(caller.hashing_party(None), SecretString::new(checked.password.expose())).await?;
        let now = self.clock.now();
        let id = UserId::new(&self.clock, &self.random);
        let user = checked.profile.into_user(id, account.role, account.email_verified.then_some(now), now);
        let mut tx = self.store.begin().await?;
        tx.insert_user(&NewUser { user: user.clone(), password_hash: Some(password_hash) }).await?;
        let event = AuditEvent { actor_id: None, ..caller.success("user.create", now, user.id, None) };
        tx.append_audit(&event).await?;
        tx.commit().await?;
        Ok(user)
    }

    /// Makes an existing user an active administrator with this password and a verified address. Everything that others
    /// may have left on the account ends: sessions, API keys, links and waiting mails (SR-51).
    pub async fn recover_administrator(
        &self,
        email: &str,
        password: &SecretString,
        caller: &Caller,
    ) -> Result<User, IdentityError> {
        let email = Email::parse(email).map_err(|rejected| IdentityError::Validation(vec![rejected.0]))?;
        let known = self.store.credentials_by_email(&email).await?.ok_or(IdentityError::NotFound)?;
        if known.user.id.is_demo() {
            return Err(IdentityError::DemoReadOnly);
        }
        let password = self.policy.new_password(password, password, &About::user(&known.user))?;
        let password_hash = self.hasher.hash(caller.hashing_party(None), SecretString::new(password.expose())).await?;
        let now = self.clock.now();
        let mut tx = self.store.begin().await?;
        discard_links(&mut tx, known.user.id).await?;
        replace_names_of_stranger(&mut tx, &known.user).await?;
        if !tx.recover_admin(known.user.id, &password_hash, now).await? {
            return Err(IdentityError::NotFound);
        }
        // Guesses at the old password do not lock the administrator out of the new one.
        tx.forget_account_failures(&throttle::subjects(known.user.email.as_str(), caller.ip)).await?;
        tx.cancel_mails(known.user.id, TAKEN_BACK, now).await?;
        tx.enqueue_mail(MailKind::PasswordReset, known.user.id, now).await?;
        let event = AuditEvent { actor_id: None, ..caller.success("user.recover_admin", now, known.user.id, None) };
        tx.append_audit(&event).await?;
        tx.commit().await?;
        self.store.user_by_id(known.user.id).await?.ok_or(IdentityError::NotFound)
    }

    /// The session that a user, given by id or e-mail address, would have after signing in now. It is stored nowhere
    /// and authenticates nothing; `explain` uses it. `None` when there is no such user or they may not sign in.
    pub async fn hypothetical_session(&self, user: &str) -> Result<Option<SessionState>, IdentityError> {
        let Some(known) = self.credentials_of(user).await?.filter(|known| known.user.is_active) else {
            return Ok(None);
        };
        let Credentials { user, extra_permissions, epoch, token_epoch, .. } = known;
        let mut permissions = (**self.roles().of(user.role)).clone();
        permissions.extend(extra_permissions);
        Ok(Some(SessionState {
            id: SessionId::new(&self.clock, &self.random),
            user_id: user.id,
            role: user.role,
            permissions: Arc::new(permissions),
            email_verified: user.is_email_verified(),
            email: user.email,
            amr: Arc::from([Amr::Password]),
            authenticated_at: self.clock.unix_seconds(),
            session_epoch: FIRST_EPOCH,
            user_epoch: epoch,
            token_epoch,
            expires_at: i64::MAX,
            api_key: None,
            last_seen: 0.into(),
        }))
    }

    /// The user with this id or e-mail address.
    pub async fn find(&self, user: &str) -> Result<Option<User>, IdentityError> {
        Ok(self.credentials_of(user).await?.map(|known| known.user))
    }

    async fn credentials_of(&self, user: &str) -> Result<Option<Credentials>, IdentityError> {
        if let Ok(id) = user.parse::<UserId>() {
            return Ok(self.store.credentials_by_id(id).await?);
        }
        match Email::parse(user) {
            Ok(email) => Ok(self.store.credentials_by_email(&email).await?),
            Err(_) => Ok(None),
        }
    }

    /// Records in the audit log what an operator is about to do to the gateway itself. Refuses an actor who no longer may.
    pub async fn record_operation(
        &self,
        action: &'static str,
        actor: &Actor,
        details: Value,
        caller: &Caller,
    ) -> Result<(), IdentityError> {
        let mut tx = self.store.begin().await?;
        let authority = self.authority(&mut tx, actor, Permission::SYSTEM_MANAGE_SETTINGS).await?;
        tx.append_audit(&authority.operation(caller, action, self.clock.now(), details)).await?;
        Ok(tx.commit().await?)
    }
}
