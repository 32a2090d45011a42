//! Rotating refresh tokens (contract §3, requirement 32).

use portcullis_model::{SecretString, Timestamp};
use portcullis_storage::{EndReason, RefreshView, Rotation};

use crate::audit::Caller;
use crate::error::IdentityError;
use crate::identity::Identity;
use crate::refresh_token::Presented;
use crate::seal::{open_with, seal_with};
use crate::tokens::{IssuedTokens, Subject};

/// What the successor is sealed for, under the presented token.
const SUCCESSOR: &str = "refresh successor";

impl Identity {
    /// Exchanges a refresh token for a new pair.
    ///
    /// The current token is rotated by compare-and-set. A token rotated within
    /// the grace window gets the successor that the first caller got. An older
    /// one of ours is a copy in other hands: the session ends.
    pub async fn refresh(&self, presented: &str, caller: &Caller) -> Result<IssuedTokens, IdentityError> {
        let result = self.try_refresh(presented, caller).await;
        self.metrics.auth_attempt("refresh", result.is_ok());
        result
    }

    async fn try_refresh(&self, text: &str, caller: &Caller) -> Result<IssuedTokens, IdentityError> {
        let Some(presented) = self.refresh_tokens.read(text) else {
            let event = caller.failure("auth.refresh", self.clock.now(), None, "not a refresh token");
            self.store.append_audit(&event).await?;
            return Err(IdentityError::InvalidRefreshToken);
        };
        if let Some(demo) = &self.demo
            && demo.holds(presented.session, self.clock.now())
        {
            return self.demo_refresh(demo, &presented, caller).await;
        }
        let Some(mut view) = self.live_view(&presented).await? else {
            return self.refuse(&presented, None, caller).await;
        };
        // Whatever it then waits for, a token is judged by when it was presented:
        // one that was current, or within its grace window, is nobody's loot.
        let (presented_at, was_current) = (view.now, view.refresh_hash == presented.hash);
        if was_current {
            if let Some(tokens) = self.rotate(text, &presented, &view, caller).await? {
                return Ok(tokens);
            }
            // Somebody else was first.
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

    async fn live_view(&self, presented: &Presented) -> Result<Option<RefreshView>, IdentityError> {
        let view = self.store.refresh_view(presented.session).await?;
        Ok(view.filter(|view| view.session.is_live(view.now) && view.user.is_active))
    }

    /// Rotates the current token; `None` if somebody else was first.
    async fn rotate(
        &self,
        text: &str,
        presented: &Presented,
        view: &RefreshView,
        caller: &Caller,
    ) -> Result<Option<IssuedTokens>, IdentityError> {
        let (successor, new_hash) = self.refresh_tokens.make(presented.session);
        let sealed = seal_with(text.as_bytes(), SUCCESSOR, successor.expose().as_bytes(), &self.random);
        let rotation = Rotation {
            session_id: presented.session,
            presented_hash: presented.hash,
            new_hash,
            sealed_successor: &sealed,
            now: view.now,
            idle_expires_at: view.now + self.options.refresh_idle,
        };
        let mut tx = self.store.begin().await?;
        if !tx.rotate_refresh(&rotation).await? {
            return Ok(None);
        }
        tx.append_audit(&caller.success("auth.refresh", view.now, view.user.id, Some(presented.session))).await?;
        tx.commit().await?;
        Ok(Some(self.tokens_for(view, successor)))
    }

    /// The successor of a token, if the grace window was open when it was presented.
    async fn successor(
        &self,
        text: &str,
        presented: &Presented,
        presented_at: Timestamp,
    ) -> Result<Option<SecretString>, IdentityError> {
        let grace = self.store.refresh_grace(&presented.hash).await?;
        let Some(grace) = grace.filter(|grace| grace.session_id == presented.session) else { return Ok(None) };
        let age = (presented_at - grace.rotated_at).to_std().unwrap_or_default();
        if age > self.options.grace {
            return Ok(None);
        }
        let opened = open_with(text.as_bytes(), SUCCESSOR, &grace.sealed_successor);
        Ok(opened.and_then(|bytes| std::str::from_utf8(bytes.expose()).ok().map(SecretString::new)))
    }

    /// Refuses, and ends the session (`view`, while it lives) if the token was one of ours.
    async fn refuse(
        &self,
        presented: &Presented,
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
            tracing::warn!(%user, session = %presented.session, "a rotated refresh token was used again; its session was ended");
        } else {
            self.store.append_audit(&caller.failure("auth.refresh", now, user, "not a live session's token")).await?;
        }
        Err(IdentityError::InvalidRefreshToken)
    }

    fn tokens_for(&self, view: &RefreshView, refresh: SecretString) -> IssuedTokens {
        let subject = Subject {
            user: &view.user,
            role: view.user.role,
            session: view.session.id,
            ver: view.user_epoch,
            amr: &view.session.amr,
            demo: false,
        };
        self.issue(&subject, refresh)
    }
}
