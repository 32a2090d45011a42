//! Accounts made for somebody else: the person gets a mail, and sets the first
//! password by its link (requirement 17).

use portcullis_model::mail::MailKind;
use portcullis_model::{Role, User};
use portcullis_storage::{NewUser, OnceKey};
use serde_json::json;

use crate::audit::Caller;
use crate::error::IdentityError;
use crate::identity::Identity;
use crate::once::Done;
use crate::people::Actor;

/// Who is invited.
#[derive(Clone, Debug)]
pub struct Invitation {
    /// E-mail address; confirmed by following the link.
    pub email: String,
    /// Username.
    pub username: String,
    /// First name.
    pub first_name: String,
    /// Last name.
    pub last_name: String,
    /// Role, which the inviter must be able to give.
    pub role: Role,
}

impl Identity {
    /// Makes an account without a password and mails its owner a link to set
    /// one. Once the link has expired, asking for a forgotten password gives
    /// another. Under one `once` it is done once.
    pub async fn invite_user(
        &self,
        invitation: &Invitation,
        inviter: &Actor,
        caller: &Caller,
        once: Option<&OnceKey>,
    ) -> Result<Done<User>, IdentityError> {
        if let Some(before) = self.done_before(once).await? {
            return Ok(Done::Before(before));
        }
        let Invitation { email, username, first_name, last_name, role } = invitation;
        let mut problems = Vec::new();
        let Some(person) = self.check_person([email, username, first_name, last_name], &mut problems) else {
            return Err(IdentityError::Validation(problems));
        };
        let user = self.new_user(person, *role, None);
        let now = user.created_at;
        let mut tx = self.store.begin().await?;
        if let Some(before) = self.record_outcome(&mut tx, once, &user).await? {
            return Ok(Done::Before(before));
        }
        let powers = self.powers(&mut tx, inviter, "USER_CREATE").await?;
        powers.may_grant_role(*role, self.sessions.roles().of(*role))?;
        tx.insert_user(&NewUser { user: user.clone(), password_hash: None }).await?;
        tx.enqueue_mail(MailKind::Invitation.as_str(), user.id, now).await?;
        let details = json!({ "role": role.as_str() });
        tx.append_audit(&powers.event(caller, "user.invite", user.id, now, Some(details))).await?;
        tx.commit().await?;
        Ok(Done::Now(user))
    }
}
