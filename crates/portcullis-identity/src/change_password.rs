//! Changing one's own password.

use portcullis_model::mail::MailKind;
use portcullis_model::{SecretString, SessionState, UserId};
use portcullis_storage::{AuditEvent, Credentials, EndReason, TokenPurpose, Tx};

use crate::audit::Caller;
use crate::error::IdentityError;
use crate::identity::Identity;
use crate::password_policy::About;
use crate::throttle;

/// What somebody typed to change their password.
#[derive(Clone, Debug)]
pub struct ChangePasswordInput {
    /// The password in force; any text.
    pub current: SecretString,
    /// The new one.
    pub new: SecretString,
    /// The new one once more.
    pub confirm: SecretString,
}

/// What the audit log calls it.
const ACTION: &str = "auth.change_password";
/// Attempts, when the hash is replaced by a stronger one of the same password between its reading and its change.
const ATTEMPTS: usize = 3;

impl Identity {
    /// Changes the password of whoever knows the current one. The session
    /// that asks stays; every other ends, and reset links die.
    pub async fn change_password(
        &self,
        session: &SessionState,
        input: &ChangePasswordInput,
        caller: &Caller,
    ) -> Result<(), IdentityError> {
        let result = self.try_change_password(session, input, caller).await;
        self.metrics.auth_attempt("change_password", result.is_ok());
        result
    }

    async fn try_change_password(
        &self,
        session: &SessionState,
        input: &ChangePasswordInput,
        caller: &Caller,
    ) -> Result<(), IdentityError> {
        if session.demo {
            return Err(IdentityError::DemoReadOnly);
        }
        let subjects = throttle::subjects(session.email.as_str(), caller.ip);
        let view = self.store.proof_view(session.user_id, &subjects, caller.ip).await?;
        self.may_try(ACTION, &view, caller).await?;
        let mut known = view.credentials.ok_or(IdentityError::NotFound)?;
        let password = self.new_password(&input.new, &input.confirm, &About::user(&known.user))?;
        let mut hash = None;
        for _ in 0..ATTEMPTS {
            if !self.is_current(&known, &input.current).await? {
                break;
            }
            let new = match &hash {
                Some(new) => new,
                None => hash.insert(self.hash(&password).await?),
            };
            if self.store_change(session, &known, new, caller).await? {
                return Ok(());
            }
            known = self.store.credentials_by_id(session.user_id).await?.ok_or(IdentityError::NotFound)?;
        }
        self.failed(&subjects, self.clock.now()).await?;
        let failure = caller.failure(ACTION, self.clock.now(), Some(session.user_id), "wrong password");
        let event = AuditEvent { actor_id: Some(session.user_id), session_id: Some(session.id), ..failure };
        self.store.append_audit(&event).await?;
        Err(IdentityError::CurrentPasswordIncorrect)
    }

    async fn is_current(&self, known: &Credentials, presented: &SecretString) -> Result<bool, IdentityError> {
        let compared = self.compare(presented, known.password_hash.clone()).await?;
        Ok(compared.matches)
    }

    /// `false` when the hash is no longer the one that was compared.
    async fn store_change(
        &self,
        session: &SessionState,
        known: &Credentials,
        new: &SecretString,
        caller: &Caller,
    ) -> Result<bool, IdentityError> {
        let (user, now) = (known.user.id, self.clock.now());
        let mut tx = self.store.begin().await?;
        discard_password_links(&mut tx, user).await?;
        if !tx.set_password_hash(user, known.password_hash.as_ref(), new, now).await? {
            return Ok(false);
        }
        tx.end_sessions_of(user, Some(session.id), EndReason::PasswordChanged, now).await?;
        tx.enqueue_mail(MailKind::PasswordChanged.as_str(), user, now).await?;
        tx.append_audit(&caller.success(ACTION, now, user, Some(session.id))).await?;
        tx.commit().await?;
        Ok(true)
    }
}

/// Forgets every link that sets this person's password.
///
/// Tokens come before the account in every transaction: a link being spent
/// holds its token and waits for the account.
pub(crate) async fn discard_password_links(tx: &mut Tx, user: UserId) -> Result<(), IdentityError> {
    for purpose in [TokenPurpose::ResetPassword, TokenPurpose::Invitation] {
        tx.discard_one_time_tokens(purpose, Some(user)).await?;
    }
    Ok(())
}
