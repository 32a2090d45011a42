//! Invitations: a user is created without a password and sets the first one by a mailed link (SR-17).

use portcullis_model::mail::MailKind;
use portcullis_model::{Permission, Role, User, UserId};
use portcullis_storage::{IdempotencyKey, NewUser};
use serde_json::json;

use crate::administration::{Actor, Administration};
use crate::audit::Caller;
use crate::error::IdentityError;
use crate::idempotency::IdempotentOutcome;
use crate::user_fields::NewProfile;

/// The form that invites a user.
#[derive(Clone, Debug)]
pub struct Invitation {
    /// E-mail address; following the mailed link verifies it.
    pub email: String,
    /// Username as typed.
    pub username: String,
    /// First name as typed.
    pub first_name: String,
    /// Last name as typed.
    pub last_name: String,
    /// The role of the new user; the inviter must be allowed to grant it.
    pub role: Role,
}

impl Administration {
    /// Creates a user without a password and mails them a link to set one. After the link has expired, a request for
    /// a forgotten password mails another. A repetition under the same idempotency key creates nobody.
    pub async fn invite(
        &self,
        invitation: &Invitation,
        inviter: &Actor,
        caller: &Caller,
        idempotency_key: Option<&IdempotencyKey>,
    ) -> Result<IdempotentOutcome<User>, IdentityError> {
        if let Some(before) = self.outcomes.stored(idempotency_key).await? {
            return Ok(IdempotentOutcome::Replayed(before));
        }
        let Invitation { email, username, first_name, last_name, role } = invitation;
        let mut problems = Vec::new();
        let Some(profile) = NewProfile::parse([email, username, first_name, last_name], &mut problems) else {
            return Err(IdentityError::Validation(problems));
        };
        let now = self.clock.now();
        let user = profile.into_user(UserId::new(&self.clock, &self.random), *role, None, now);
        let mut tx = self.store.begin().await?;
        if let Some(before) = self.outcomes.record(&mut tx, idempotency_key, &user).await? {
            return Ok(IdempotentOutcome::Replayed(before));
        }
        let authority = self.authority(&mut tx, inviter, Permission::USER_CREATE).await?;
        authority.may_grant_role(*role, self.roles().of(*role))?;
        tx.insert_user(&NewUser { user: user.clone(), password_hash: None }).await?;
        tx.enqueue_mail(MailKind::Invitation, user.id, now).await?;
        let details = json!({ "role": role.as_str() });
        tx.append_audit(&authority.event(caller, "user.invite", user.id, now, Some(details))).await?;
        tx.commit().await?;
        Ok(IdempotentOutcome::Fresh(user))
    }
}
