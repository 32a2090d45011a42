//! Changing one's own password.

use std::sync::Arc;

use portcullis_model::mail::MailKind;
use portcullis_model::{NewPassword, PresentedPassword, SecretString, SessionState};
use portcullis_storage::{AuditEvent, Credentials, EndReason};

use crate::audit::Caller;
use crate::error::IdentityError;
use crate::hashing::{NotHashed, Presence};
use crate::one_time_token::discard_password_links;
use crate::password_policy::About;
use crate::passwords::Passwords;
use crate::principal;
use crate::throttle::{self, Attempt};

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
    /// stay, every other session ends, and links that set the password stop working. A guess of the current password is
    /// counted and audited even if its client hangs up (SR-65).
    pub async fn change(
        &self,
        session: &Arc<SessionState>,
        input: &ChangePasswordInput,
        caller: &Caller,
    ) -> Result<(), IdentityError> {
        // Refused before it costs a statement.
        self.hasher.admit(caller.hashing_party(Some(session.user_id)))?;
        let (service, session, input, caller) = (self.clone(), Arc::clone(session), input.clone(), caller.clone());
        let work = async move |presence| {
            let result = service.try_change(&session, &input, &caller, presence).await;
            service.metrics.auth_attempt("change_password", result.is_ok());
            result
        };
        self.outliving.run(work).await
    }

    async fn try_change(
        &self,
        session: &SessionState,
        input: &ChangePasswordInput,
        caller: &Caller,
        presence: Presence,
    ) -> Result<(), IdentityError> {
        if session.is_demo() {
            return Err(IdentityError::DemoReadOnly);
        }
        let subjects = throttle::subjects(session.email.as_str(), caller.ip);
        let view = self.store.proof_view(session.user_id, &subjects, caller.ip).await?;
        let known = view.credentials.clone().ok_or(IdentityError::UserGone)?;
        let password = self.policy.new_password(&input.new, &input.confirm, &About::user(&known.user))?;
        let attempt = self.throttle.admit(ACTION, subjects, &view, caller).await?;
        let change = Change { session, attempt: &attempt, caller, presence };
        let reason = match self.prove_and_store(&change, known, &input.current, &password).await {
            Ok(true) => return Ok(()),
            Ok(false) => "wrong password",
            Err(ChangeError::NotHashed(NotHashed::ClientGone)) => "the client went away",
            Err(ChangeError::NotHashed(busy)) => {
                self.throttle.release(&attempt).await?;
                return Err(busy.into());
            }
            Err(ChangeError::Other(error)) => return Err(error),
        };
        self.throttle.failed(&attempt).await?;
        let failure = caller.failure(ACTION, self.clock.now(), Some(session.user_id), reason);
        let event = AuditEvent { actor_id: Some(session.user_id), session_id: Some(session.id), ..failure };
        self.store.append_audit(&event).await?;
        Err(IdentityError::CurrentPasswordIncorrect)
    }

    /// Compares the current password and stores the new one; `false` when the current one is wrong.
    async fn prove_and_store(
        &self,
        change: &Change<'_>,
        mut known: Credentials,
        current: &SecretString,
        password: &NewPassword,
    ) -> Result<bool, ChangeError> {
        let user = change.session.user_id;
        let party = change.caller.hashing_party(Some(user));
        let presented = PresentedPassword::new(current.expose());
        let mut hash = None;
        for _ in 0..ATTEMPTS {
            let stored = known.password_hash.clone().filter(|_| !change.attempt.is_locked);
            let presence = Some(change.presence.clone());
            if !self.hasher.compare_while(party, &presented, stored, presence).await?.matches {
                return Ok(false);
            }
            let new = match &hash {
                Some(new) => new,
                None => hash.insert(self.hasher.hash(party, SecretString::new(password.expose())).await?),
            };
            if self.store_change(change, &known, new).await? {
                return Ok(true);
            }
            known = self
                .store
                .credentials_by_id(user)
                .await
                .map_err(IdentityError::from)?
                .ok_or(IdentityError::UserGone)?;
        }
        Ok(false)
    }

    /// Stores the new hash; `false` when the stored hash is no longer the one that was compared.
    async fn store_change(
        &self,
        change: &Change<'_>,
        known: &Credentials,
        new: &SecretString,
    ) -> Result<bool, IdentityError> {
        let Change { session, attempt, caller, .. } = change;
        let (user, now) = (known.user.id, self.clock.now());
        let mut tx = self.store.begin().await?;
        discard_password_links(&mut tx, user).await?;
        principal::read_again(&mut tx, session).await?;
        if !tx.set_password_hash(user, known.password_hash.as_ref(), new, now).await? {
            return Ok(false);
        }
        attempt.succeeded(&mut tx, user).await?;
        tx.end_sessions_of(user, Some(session.id), EndReason::PasswordChanged, now).await?;
        tx.enqueue_mail(MailKind::PasswordChanged, user, now).await?;
        tx.append_audit(&caller.success(ACTION, now, user, Some(session.id))).await?;
        tx.commit().await?;
        Ok(true)
    }
}

/// What a change is made for.
struct Change<'a> {
    session: &'a SessionState,
    attempt: &'a Attempt,
    caller: &'a Caller,
    presence: Presence,
}

/// Why a change was not made. A password that was not compared is no failed attempt.
enum ChangeError {
    NotHashed(NotHashed),
    Other(IdentityError),
}

impl From<NotHashed> for ChangeError {
    fn from(why: NotHashed) -> Self {
        Self::NotHashed(why)
    }
}

impl From<IdentityError> for ChangeError {
    fn from(error: IdentityError) -> Self {
        Self::Other(error)
    }
}
