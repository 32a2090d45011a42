//! Signing out of one session or of all sessions.

use std::sync::Arc;

use portcullis_model::{SecretString, SessionId, SessionState, UserId};
use portcullis_storage::EndReason;

use crate::audit::Caller;
use crate::error::IdentityError;
use crate::sign_in::SignIn;

/// The credentials of a logout: the session of a valid access token, a refresh token, or both.
#[derive(Clone, Debug)]
pub struct Logout {
    /// The session of the request's access token.
    pub session: Option<Arc<SessionState>>,
    /// The refresh token of the request.
    pub refresh_token: Option<SecretString>,
    /// Whether every session of the user ends, not only this one.
    pub all: bool,
}

impl SignIn {
    /// Ends the session. Its access tokens are refused at once (SR-22).
    pub async fn logout(&self, logout: Logout, caller: &Caller) -> Result<(), IdentityError> {
        let result = self.try_logout(&logout, caller).await;
        self.metrics.auth_attempt("logout", result.is_ok());
        result
    }

    async fn try_logout(&self, logout: &Logout, caller: &Caller) -> Result<(), IdentityError> {
        let (user, session) = match (&logout.session, &logout.refresh_token) {
            (Some(session), _) => (session.user_id, session.id),
            (None, Some(token)) => match self.session_of_refresh_token(token.expose()).await? {
                Some(found) => found,
                None => return self.refuse_logout(caller).await,
            },
            (None, None) => return self.refuse_logout(caller).await,
        };
        let now = self.clock.now();
        let mut tx = self.store.begin().await?;
        if logout.all {
            // Only a session that is still live ends the others (SR-59).
            tx.lock_user(user).await?;
            if !tx.end_session(session, EndReason::LogoutAll, now).await? {
                drop(tx);
                return self.refuse_logout(caller).await;
            }
            tx.end_sessions_of(user, None, EndReason::LogoutAll, now).await?;
        } else {
            tx.end_session(session, EndReason::Logout, now).await?;
        }
        let action = if logout.all { "auth.logout_all" } else { "auth.logout" };
        tx.append_audit(&caller.success(action, now, user, Some(session))).await?;
        tx.commit().await?;
        Ok(())
    }

    async fn refuse_logout(&self, caller: &Caller) -> Result<(), IdentityError> {
        let event = caller.failure("auth.logout", self.clock.now(), None, "not a live session's token");
        self.store.append_audit(&event).await?;
        Err(IdentityError::InvalidRefreshToken)
    }

    /// The user and the live session of a refresh token that is current or within its grace window.
    async fn session_of_refresh_token(&self, token: &str) -> Result<Option<(UserId, SessionId)>, IdentityError> {
        let Some(presented) = self.issuer.refresh_tokens.read(token) else { return Ok(None) };
        let Some(view) = self.store.refresh_view(presented.session).await? else { return Ok(None) };
        let current = view.refresh_hash == presented.hash;
        let known = current || self.store.grace_window(&presented.hash).await?.is_some();
        let ends = known && view.session.is_live(view.now) && !self.demo.refuses(view.user.id);
        Ok(ends.then_some((view.user.id, view.session.id)))
    }
}
