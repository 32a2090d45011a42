//! The last step of a sign-in: the session, its tokens and the audit event, in one transaction.

use portcullis_model::{PresentedPassword, SecretString, User};
use portcullis_storage::Credentials;

use crate::audit::Caller;
use crate::error::IdentityError;
use crate::session_issuer::{SessionStart, TokenSubject};
use crate::sign_in::challenge::Authenticated;
use crate::sign_in::verify::Verified;
use crate::sign_in::{LoginInput, SignIn, SignedIn};

impl SignIn {
    /// Starts the session. `None` when the user changed since the password was verified in a way that matters.
    pub(super) async fn complete(
        &self,
        verified: &Verified,
        authenticated: &Authenticated,
        input: &LoginInput,
        caller: &Caller,
    ) -> Result<Option<SignedIn>, IdentityError> {
        let start = Start { verified, authenticated, input, caller };
        let known = &verified.credentials;
        if let Some(signed_in) = self.start_session(known, verified.rehash.as_ref(), &start).await? {
            return Ok(Some(signed_in));
        }
        match self.credentials_with_same_password(known).await? {
            Some(changed) => self.start_session(&changed, None, &start).await,
            None => Ok(None),
        }
    }

    /// The user as stored now, if the verified password is still theirs and they may still sign in. A new role or an
    /// address that was verified in the meantime must not turn a right password into a wrong one.
    async fn credentials_with_same_password(&self, known: &Credentials) -> Result<Option<Credentials>, IdentityError> {
        let hash = |credentials: &Credentials| credentials.password_hash.as_ref().map(|hash| hash.expose().to_owned());
        let now = self.store.credentials_by_id(known.user.id).await?;
        Ok(now.filter(|now| now.user.is_active && hash(now) == hash(known)))
    }

    /// Writes the session; `None` when the user's epoch is no longer the one in `known`, or when the user is gone.
    async fn start_session(
        &self,
        known: &Credentials,
        rehash: Option<&PresentedPassword>,
        start: &Start<'_>,
    ) -> Result<Option<SignedIn>, IdentityError> {
        let Start { verified, authenticated, input, caller } = *start;
        let now = verified.at;
        let rehashed = match rehash {
            // With a full hashing queue the old hash stays until a later sign-in.
            Some(password) => {
                let party = caller.hashing_party(Some(known.user.id));
                self.hasher.hash(party, SecretString::new(password.expose())).await.ok()
            }
            None => None,
        };
        let user = User { last_login_at: Some(now), ..known.user.clone() };
        let amr = authenticated.amr();
        let new = SessionStart {
            user: &user,
            remember: input.remember_me,
            transport: input.transport,
            epoch: known.epoch,
            amr,
            caller,
        };
        let (session, refresh) = self.issuer.start(new, now);
        let mut tx = self.store.begin().await?;
        // First, because it locks the user's row: a session cannot be written for a user who is being deleted.
        if !tx.record_login(user.id, known.epoch, now).await? {
            return Ok(None);
        }
        tx.insert_session(&session).await?;
        tx.end_sessions_beyond(user.id, self.issuer.lifetimes.max_per_user, session.id, now).await?;
        if let (Some(new), Some(old)) = (&rehashed, &known.password_hash) {
            tx.replace_password_hash(user.id, old, new).await?;
        }
        verified.attempt.succeeded(&mut tx, user.id).await?;
        tx.append_audit(&caller.success("auth.login", now, user.id, Some(session.id))).await?;
        tx.commit().await?;
        let subject = TokenSubject { user: &user, session: session.id, epoch: known.epoch, amr: &session.amr };
        let tokens = self.issuer.tokens(&subject, refresh);
        Ok(Some(SignedIn { user, tokens }))
    }
}

/// What a session is started with.
#[derive(Clone, Copy)]
struct Start<'a> {
    verified: &'a Verified,
    authenticated: &'a Authenticated,
    input: &'a LoginInput,
    caller: &'a Caller,
}
