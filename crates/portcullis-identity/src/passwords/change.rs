//! Changing one's own password.

use portcullis_model::mail::MailKind;
use portcullis_model::{PresentedPassword, SecretString, SessionState};
use portcullis_storage::{AuditEvent, Credentials, EndReason};

use crate::audit::Caller;
use crate::error::IdentityError;
use crate::hashing::fair_queue::HashingParty;
use crate::one_time_token::discard_password_links;
use crate::password_policy::About;
use crate::passwords::Passwords;
use crate::principal;
use crate::throttle;

/// The form that changes a password.
#[derive(Clone, Debug)]
pub struct ChangePasswordInput {
    /// The current password as typed; any text is accepted.
    pub current: SecretString,
    /// The new password as typed.
    pub new: SecretString,
    /// The new password, typed a second time.
    pub confirm: SecretString,
}

/// The action in the audit log.
const ACTION: &str = "auth.change_password";
/// Attempts to change the password. A sign-in may replace the hash with a stronger one between reading and writing it.
const ATTEMPTS: usize = 3;

impl Passwords {
    /// Changes the caller's password. The caller must know the current one (SR-05). The caller's session and API keys
    /// stay, every other session ends, and links that set the password stop working.
    pub async fn change(
        &self,
        session: &SessionState,
        input: &ChangePasswordInput,
        caller: &Caller,
    ) -> Result<(), IdentityError> {
        let result = self.try_change(session, input, caller).await;
        self.metrics.auth_attempt("change_password", result.is_ok());
        result
    }

    async fn try_change(
        &self,
        session: &SessionState,
        input: &ChangePasswordInput,
        caller: &Caller,
    ) -> Result<(), IdentityError> {
        if session.is_demo() {
            return Err(IdentityError::DemoReadOnly);
        }
        let party = caller.hashing_party(Some(session.user_id));
        self.hasher.admit(party)?;
        let subjects = throttle::subjects(session.email.as_str(), caller.ip);
        let view = self.store.proof_view(session.user_id, &subjects, caller.ip).await?;
        self.throttle.check(ACTION, &view, caller).await?;
        let mut known = view.credentials.ok_or(IdentityError::NotFound)?;
        let password = self.policy.new_password(&input.new, &input.confirm, &About::user(&known.user))?;
        let mut hash = None;
        for _ in 0..ATTEMPTS {
            if !self.is_current(party, &known, &input.current).await? {
                break;
            }
            let new = match &hash {
                Some(new) => new,
                None => hash.insert(self.hasher.hash(party, SecretString::new(password.expose())).await?),
            };
            if self.store_change(session, &known, new, caller).await? {
                return Ok(());
            }
            known = self.store.credentials_by_id(session.user_id).await?.ok_or(IdentityError::NotFound)?;
        }
        self.throttle.count_failure(&subjects, self.clock.now()).await?;
        let failure = caller.failure(ACTION, self.clock.now(), Some(session.user_id), "wrong password");
        let event = AuditEvent { actor_id: Some(session.user_id), session_id: Some(session.id), ..failure };
        self.store.append_audit(&event).await?;
        Err(IdentityError::CurrentPasswordIncorrect)
    }

    async fn is_current(
        &self,
        party: HashingParty,
        known: &Credentials,
        presented: &SecretString,
    ) -> Result<bool, IdentityError> {
        let presented = PresentedPassword::new(presented.expose());
        let compared = self.hasher.compare(party, &presented, known.password_hash.clone()).await?;
        Ok(compared.matches)
    }

    /// Stores the new hash; `false` when the stored hash is no longer the one that was compared.
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
        principal::read_again(&mut tx, session).await?;
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
