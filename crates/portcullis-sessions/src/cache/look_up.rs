//! Reading sessions and API keys that are not cached, and caching them.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use portcullis_model::{RolePermissions, SessionCopy, SessionId, SessionState, SessionsUnavailable};
use portcullis_storage::StoreError;

use super::SessionCache;
use crate::cached_session::CachedSession;
use crate::epoch_floors::ReadingMark;

/// A look-up is repeated when a revocation overtakes its reading. After this many readings it fails.
const ATTEMPTS: usize = 5;

/// The outcome of caching a copy.
pub(super) enum Inserted {
    /// The copy can be used.
    Fresh(Arc<SessionState>),
    /// A revocation or a change of roles may have come after the copy was read.
    Stale,
}

/// What was known when the reading of a copy began.
#[derive(Clone)]
pub(super) struct Reading {
    pub(super) roles: Arc<RolePermissions>,
    pub(super) mark: ReadingMark,
    /// Whether the feed was read. If not, the copy may have missed a revocation, and is not cached.
    pub(super) fed: bool,
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
            let reading = self.begin_reading();
            let read = self.store.session_copy(id).await.map_err(|error| unavailable(&error))?;
            let Some(copy) = read.filter(|copy| self.is_live(copy)) else {
                self.copies.invalidate(&id);
                return Ok(None);
            };
            let offer = self.shared.as_ref().filter(|_| reading.fed).map(|shared| (shared, copy.clone()));
            if let Inserted::Fresh(state) = self.insert(copy.into_state(&reading.roles), &reading) {
                if let Some((shared, copy)) = offer {
                    shared.offer(copy);
                }
                return Ok(Some(state));
            }
        }
        Err(SessionsUnavailable)
    }

    /// The API key from SQL: replicas do not share copies of keys. A key that was not found is not looked up again for
    /// a moment.
    pub(super) async fn look_up_key(&self, digest: [u8; 32]) -> Result<Option<Arc<SessionState>>, SessionsUnavailable> {
        for _ in 0..ATTEMPTS {
            let reading = self.begin_reading();
            let read = self.store.api_key_copy(&digest).await.map_err(|error| unavailable(&error))?;
            let Some(copy) = read.filter(|copy| self.is_live(copy)) else {
                self.keys.invalidate(&digest);
                self.unknown_keys.remember(digest, self.store.clock());
                return Ok(None);
            };
            let id = copy.id;
            if let Inserted::Fresh(state) = self.insert(copy.into_state(&reading.roles), &reading) {
                self.keys.insert(digest, id);
                return Ok(Some(state));
            }
        }
        Err(SessionsUnavailable)
    }

    /// A shared copy that was read so recently that the floors of every revocation since are known here, and that these
    /// floors do not make stale.
    async fn look_up_shared(&self, id: SessionId, user_epoch: i64) -> Option<Arc<SessionState>> {
        let shared = self.shared.as_ref().filter(|_| self.is_fed())?;
        let reading = self.begin_reading();
        let copy = shared.fetch(id).await?;
        let read_at = self.feed_age.moment_of(copy.read_at)?;
        if copy.user_epoch < user_epoch || !self.is_live(&copy) || !self.floors().cover(read_at) {
            return None;
        }
        match self.insert(copy.into_state(&reading.roles), &reading) {
            Inserted::Fresh(state) => Some(state),
            Inserted::Stale => None,
        }
    }

    /// Whether the session has not expired, and is not one of the demo account where that is not accepted.
    fn is_live(&self, copy: &SessionCopy) -> bool {
        self.store.clock().unix_seconds() < copy.expires_at && (self.demo_account || !copy.user_id.is_demo())
    }

    /// Notes what is known before a copy is read.
    pub(super) fn begin_reading(&self) -> Reading {
        let mark = self.floors().mark();
        Reading { roles: self.roles.load_full(), mark, fed: self.is_fed() }
    }

    /// Caches a copy, unless a revocation or a change of roles may have come after its reading began. A copy that was
    /// read while the feed was not is returned, and not cached.
    pub(super) fn insert(&self, state: SessionState, reading: &Reading) -> Inserted {
        let mut floors = self.floors();
        if floors.is_stale(&state, reading.mark) || !Arc::ptr_eq(&reading.roles, &self.roles.load()) {
            return Inserted::Stale;
        }
        let state = Arc::new(state);
        if reading.fed {
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

fn unavailable(error: &StoreError) -> SessionsUnavailable {
    tracing::warn!(error = error as &dyn std::error::Error, "a session or an API key cannot be looked up");
    SessionsUnavailable
}
