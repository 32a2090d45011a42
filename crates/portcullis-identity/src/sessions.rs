//! The sessions of the caller.

use std::sync::Arc;

use portcullis_model::{Clock, SessionId, SessionSource, SessionState, Timestamp};
use portcullis_sessions::SessionCache;
use portcullis_storage::{EndReason, SessionRecord, Store};

use crate::audit::Caller;
use crate::error::IdentityError;
use crate::principal;

/// Lists and ends the caller's own sessions.
pub struct Sessions {
    pub(crate) store: Store,
    pub(crate) cache: Arc<SessionCache>,
    pub(crate) clock: Clock,
}

/// A session as its user sees it.
#[derive(Clone, Debug)]
pub struct SessionDetails {
    /// The id of the session.
    pub id: SessionId,
    /// When the user signed in.
    pub created_at: Timestamp,
    /// When a request last used it, accurate to a minute.
    pub last_seen_at: Timestamp,
    /// When it ends if it is not refreshed.
    pub expires_at: Timestamp,
    /// The client's address at the sign-in.
    pub ip: Option<String>,
    /// The client's `User-Agent` at the sign-in.
    pub user_agent: Option<String>,
}

impl From<SessionRecord> for SessionDetails {
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

impl Sessions {
    /// The source in which the gate looks sessions up.
    pub fn source(&self) -> Arc<dyn SessionSource> {
        Arc::clone(&self.cache) as Arc<dyn SessionSource>
    }

    /// The caller's live sessions, latest use first.
    pub async fn list(&self, session: &SessionState) -> Result<Vec<SessionDetails>, IdentityError> {
        let records = self.store.list_sessions(session.user_id, self.clock.now()).await?;
        Ok(records.into_iter().map(SessionDetails::from).collect())
    }

    /// Ends one of the caller's sessions.
    pub async fn end(&self, session: &SessionState, id: SessionId, caller: &Caller) -> Result<(), IdentityError> {
        if session.is_demo() {
            return Err(IdentityError::DemoReadOnly);
        }
        let now = self.clock.now();
        let mut tx = self.store.begin().await?;
        principal::read_again(&mut tx, session).await?;
        if !tx.end_session_of(session.user_id, id, EndReason::EndedByUser, now).await? {
            return Err(IdentityError::NotFound);
        }
        tx.append_audit(&caller.success("session.end", now, session.user_id, Some(id))).await?;
        tx.commit().await?;
        Ok(())
    }
}
