//! One's own account and sessions.

use std::sync::Arc;

use portcullis_model::{SessionId, SessionState, Timestamp, User};
use portcullis_storage::{EndReason, SessionRecord};

use crate::audit::Caller;
use crate::error::IdentityError;
use crate::identity::Identity;

/// What somebody changes about themselves; `None` leaves a thing as it is.
#[derive(Clone, Debug, Default)]
pub struct ProfileInput {
    /// First name.
    pub first_name: Option<String>,
    /// Last name.
    pub last_name: Option<String>,
    /// Avatar; `Some(None)` takes it away.
    pub avatar: Option<Option<String>>,
}

/// A session as its owner sees it.
#[derive(Clone, Debug)]
pub struct SessionView {
    /// The session.
    pub id: SessionId,
    /// When it began.
    pub created_at: Timestamp,
    /// When it was last used, give or take a minute.
    pub last_seen_at: Timestamp,
    /// When it ends if nothing happens.
    pub expires_at: Timestamp,
    /// Where it began.
    pub ip: Option<String>,
    /// The browser or program.
    pub user_agent: Option<String>,
}

impl From<SessionRecord> for SessionView {
    fn from(record: SessionRecord) -> Self {
        Self {
            id: record.id,
            created_at: record.created_at,
            last_seen_at: record.last_seen_at,
            expires_at: record.expires_at(),
            ip: record.ip,
            user_agent: record.user_agent,
        }
    }
}

impl Identity {
    /// The caller's account.
    pub async fn profile(&self, session: &SessionState) -> Result<Arc<User>, IdentityError> {
        if session.demo {
            return self.demo_user().map(Arc::new);
        }
        self.sessions.user(session).await?.ok_or(IdentityError::NotFound)
    }

    /// Changes the caller's names and avatar.
    pub async fn update_profile(
        &self,
        session: &SessionState,
        input: ProfileInput,
        caller: &Caller,
    ) -> Result<User, IdentityError> {
        if session.demo {
            return Err(IdentityError::DemoReadOnly);
        }
        let change = self.check_profile(input)?;
        let now = self.clock.now();
        let mut tx = self.store.begin().await?;
        let user = tx.update_profile(session.user_id, &change, now).await?.ok_or(IdentityError::NotFound)?;
        tx.append_audit(&caller.success("profile.update", now, user.id, Some(session.id))).await?;
        tx.commit().await?;
        Ok(user)
    }

    /// The caller's live sessions, latest use first.
    pub async fn sessions(&self, session: &SessionState) -> Result<Vec<SessionView>, IdentityError> {
        if session.demo {
            return Ok(self.demo_sessions(session));
        }
        let records = self.store.list_sessions(session.user_id, self.clock.now()).await?;
        Ok(records.into_iter().map(SessionView::from).collect())
    }

    /// Ends one of the caller's sessions.
    pub async fn end_session(
        &self,
        session: &SessionState,
        id: SessionId,
        caller: &Caller,
    ) -> Result<(), IdentityError> {
        if session.demo {
            return Err(IdentityError::DemoReadOnly);
        }
        let now = self.clock.now();
        let mut tx = self.store.begin().await?;
        if !tx.end_session_of(session.user_id, id, EndReason::EndedByUser, now).await? {
            return Err(IdentityError::NotFound);
        }
        tx.append_audit(&caller.success("session.end", now, session.user_id, Some(id))).await?;
        tx.commit().await?;
        Ok(())
    }
}
