//! Rotating refresh tokens (`docs/contract.md`, "Tokens and sessions"; SR-32).

use portcullis_model::{SecretString, Timestamp};
use portcullis_storage::{EndReason, RefreshView, Rotation};

use crate::audit::Caller;
use crate::error::IdentityError;
use crate::refresh_token::PresentedToken;
use crate::sealing::{open_with, seal_with};
use crate::session_issuer::{IssuedTokens, TokenSubject};
use crate::sign_in::SignIn;

/// The purpose for which a successor is sealed under a key derived from the presented token.
const SUCCESSOR: &str = "refresh successor";

impl SignIn {
    /// Exchanges a refresh token for a new pair.
    ///
    /// The current token is rotated by compare-and-set. A token that was rotated within the grace window gets the
    /// successor that the first caller got. The reuse of an older token of ours ends the session, because an
    /// attacker may hold a copy of it (RFC 9700 §4.14).
    pub async fn refresh(&self, presented: &str, caller: &Caller) -> Result<IssuedTokens, IdentityError> {
        let result = self.try_refresh(presented, caller).await;
        self.metrics.auth_attempt("refresh", result.is_ok());
        result
    }

    async fn try_refresh(&self, text: &str, caller: &Caller) -> Result<IssuedTokens, IdentityError> {
        let Some(presented) = self.issuer.refresh_tokens.read(text) else {
            let event = caller.failure("auth.refresh", self.clock.now(), None, "not a refresh token");
            self.store.append_audit(&event).await?;
            return Err(IdentityError::InvalidRefreshToken);
        };
        let Some(mut view) = self.live_view(&presented).await? else {
            return self.refuse(&presented, None, caller).await;
        };
        // A token is judged by the time it was presented, however long the database then takes: a token that was
        // current, or within its grace window, is not a reused one.
        let (presented_at, was_current) = (view.now, view.refresh_hash == presented.hash);
        if was_current {
            if let Some(tokens) = self.rotate(text, &presented, &view, caller).await? {
                return Ok(tokens);
            }
            // Another request rotated it first.
            match self.live_view(&presented).await? {
                Some(now) => view = now,
                None => return self.refuse(&presented, None, caller).await,
            }
        }
        if let Some(successor) = self.successor(text, &presented, presented_at).await? {
            let event = caller.success("auth.refresh", view.now, view.user.id, Some(presented.session));
            self.store.append_audit(&event).await?;
            return Ok(self.tokens_for(&view, successor));
        }
        self.refuse(&presented, (!was_current).then_some(&view), caller).await
    }

    async fn live_view(&self, presented: &PresentedToken) -> Result<Option<RefreshView>, IdentityError> {
        let view = self.store.refresh_view(presented.session).await?;
        Ok(view
            .filter(|view| view.session.is_live(view.now) && view.user.is_active && !self.demo.refuses(view.user.id)))
    }

    /// Rotates the current token; `None` when another request rotated it first.
    async fn rotate(
        &self,
        text: &str,
        presented: &PresentedToken,
        view: &RefreshView,
        caller: &Caller,
    ) -> Result<Option<IssuedTokens>, IdentityError> {
        let (successor, new_hash) = self.issuer.refresh_tokens.make(presented.session);
        let sealed = seal_with(text.as_bytes(), SUCCESSOR, successor.expose().as_bytes(), &self.issuer.random);
        let rotation = Rotation {
            session_id: presented.session,
            presented_hash: presented.hash,
            new_hash,
            sealed_successor: &sealed,
            now: view.now,
            idle_expires_at: view.now + self.issuer.lifetimes.refresh_idle,
        };
        let mut tx = self.store.begin().await?;
        if !tx.rotate_refresh(&rotation).await? {
            return Ok(None);
        }
        if view.user.last_login_at.is_none() {
            tx.record_first_use(view.user.id, view.session.created_at).await?;
        }
        tx.append_audit(&caller.success("auth.refresh", view.now, view.user.id, Some(presented.session))).await?;
        tx.commit().await?;
        Ok(Some(self.tokens_for(view, successor)))
    }

    /// The successor of a token, if the grace window was open when it was presented.
    async fn successor(
        &self,
        text: &str,
        presented: &PresentedToken,
        presented_at: Timestamp,
    ) -> Result<Option<SecretString>, IdentityError> {
        let grace = self.store.grace_window(&presented.hash).await?;
        let Some(grace) = grace.filter(|grace| grace.session_id == presented.session) else { return Ok(None) };
        let age = (presented_at - grace.rotated_at).to_std().unwrap_or_default();
        if age > self.grace {
            return Ok(None);
        }
        let opened = open_with(text.as_bytes(), SUCCESSOR, &grace.sealed_successor);
        Ok(opened.and_then(|bytes| std::str::from_utf8(bytes.expose()).ok().map(SecretString::new)))
    }

    /// Refuses the token. A token of ours for a live session (`view`) was reused, which ends the session.
    async fn refuse(
        &self,
        presented: &PresentedToken,
        view: Option<&RefreshView>,
        caller: &Caller,
    ) -> Result<IssuedTokens, IdentityError> {
        let now = view.map_or_else(|| self.clock.now(), |view| view.now);
        let user = view.map(|view| view.user.id);
        if let (Some(user), true) = (user, presented.ours) {
            let mut event =
                caller.failure("auth.refresh_reuse", now, Some(user), "a rotated refresh token was used again");
            event.session_id = Some(presented.session);
            let mut tx = self.store.begin().await?;
            tx.end_session(presented.session, EndReason::RefreshReuse, now).await?;
            tx.append_audit(&event).await?;
            tx.commit().await?;
            tracing::warn!(%user, session = %presented.session, "a rotated refresh token was used again; the session was ended");
        } else {
            self.store.append_audit(&caller.failure("auth.refresh", now, user, "not a live session's token")).await?;
        }
        Err(IdentityError::InvalidRefreshToken)
    }

    fn tokens_for(&self, view: &RefreshView, refresh: SecretString) -> IssuedTokens {
        let subject =
            TokenSubject { user: &view.user, session: view.session.id, epoch: view.user_epoch, amr: &view.session.amr };
        self.issuer.tokens(&subject, refresh)
    }
}
