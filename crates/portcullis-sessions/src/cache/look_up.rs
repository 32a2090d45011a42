//! Reading sessions and API keys that are not cached, and caching them.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use portcullis_model::{RolePermissions, SessionCopy, SessionId, SessionState, SessionsUnavailable};

use super::SessionCache;
use crate::cached_session::CachedSession;

/// A look-up is repeated when a revocation overtakes its reading. After this many readings it fails.
const ATTEMPTS: usize = 5;

/// The outcome of caching a copy.
pub(super) enum Inserted {
    /// The copy can be used.
    Fresh(Arc<SessionState>),
    /// A revocation or a change of roles came after the copy was read.
    Stale,
}

impl SessionCache {
    /// The session of at least this user epoch, from the copies that replicas share, otherwise from SQL.
    pub(super) async fn look_up(
        &self,
        id: SessionId,
        user_epoch: i64,
    ) -> Result<Option<Arc<SessionState>>, SessionsUnavailable> {
        if let Some(state) = self.look_up_shared(id, user_epoch).await {
            return Ok(Some(state));
        }
        for _ in 0..ATTEMPTS {
            let fed = self.is_fed();
            let roles = self.roles.load_full();
            let read = self.store.session_copy(id).await.map_err(|error| {
                tracing::warn!(error = &error as &dyn std::error::Error, "a session cannot be looked up");
                SessionsUnavailable
            })?;
            let Some(copy) = read.filter(|copy| self.is_live(copy)) else {
                self.copies.invalidate(&id);
                return Ok(None);
            };
            let offer = self.shared.as_ref().filter(|_| fed).map(|shared| (shared, copy.clone()));
            if let Inserted::Fresh(state) = self.insert(copy.into_state(&roles), &roles, fed) {
                if let Some((shared, copy)) = offer {
                    shared.offer(copy);
                }
                return Ok(Some(state));
            }
        }
        Err(SessionsUnavailable)
    }

    /// The API key from SQL: replicas do not share copies of keys.
    pub(super) async fn look_up_key(&self, digest: [u8; 32]) -> Result<Option<Arc<SessionState>>, SessionsUnavailable> {
        for _ in 0..ATTEMPTS {
            let fed = self.is_fed();
            let roles = self.roles.load_full();
            let read = self.store.api_key_copy(&digest).await.map_err(|error| {
                tracing::warn!(error = &error as &dyn std::error::Error, "an API key cannot be looked up");
                SessionsUnavailable
            })?;
            let Some(copy) = read.filter(|copy| self.is_live(copy)) else {
                self.keys.invalidate(&digest);
                return Ok(None);
            };
            let id = copy.id;
            if let Inserted::Fresh(state) = self.insert(copy.into_state(&roles), &roles, fed) {
                self.keys.insert(digest, id);
                return Ok(Some(state));
            }
        }
        Err(SessionsUnavailable)
    }

    /// A shared copy that passes the floors known here. Only while the feed is read: without the feed this process does
    /// not know which copies revocations have overtaken.
    async fn look_up_shared(&self, id: SessionId, user_epoch: i64) -> Option<Arc<SessionState>> {
        let shared = self.shared.as_ref().filter(|_| self.is_fed())?;
        let roles = self.roles.load_full();
        let copy = shared.fetch(id, user_epoch).await.filter(|copy| self.is_live(copy))?;
        match self.insert(copy.into_state(&roles), &roles, true) {
            Inserted::Fresh(state) => Some(state),
            Inserted::Stale => None,
        }
    }

    /// Whether the session has not expired, and is not one of the demo account where that is not accepted.
    fn is_live(&self, copy: &SessionCopy) -> bool {
        self.store.clock().unix_seconds() < copy.expires_at && (self.demo_account || !copy.user_id.is_demo())
    }

    /// Caches a copy, unless a revocation or a change of roles came after it was read. A copy that was read while the
    /// feed was not (`fed` is false) may have missed a revocation: it is returned, and not cached.
    pub(super) fn insert(&self, state: SessionState, roles: &Arc<RolePermissions>, fed: bool) -> Inserted {
        let mut floors = self.floors();
        if floors.is_stale(&state) || !Arc::ptr_eq(roles, &self.roles.load()) {
            return Inserted::Stale;
        }
        let state = Arc::new(state);
        if fed {
            let flushed = state.last_seen.load(Ordering::Relaxed);
            if let Some(earlier) = self.copies.get(&state.id) {
                state.touch(earlier.state.last_seen.load(Ordering::Relaxed));
            }
            let copy = CachedSession::new(Arc::clone(&state), flushed, floors.shared_floor(state.user_id));
            self.copies.insert(state.id, Arc::new(copy));
        }
        Inserted::Fresh(state)
    }
}
