//! Writing down when sessions and API keys were last used.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use portcullis_model::{SessionId, Timestamp};
use portcullis_storage::StoreError;

use super::SessionCache;
use crate::cached_session::CachedSession;

/// How far (in seconds) the stored time of last use may be behind. A session that is used all the time is written once
/// in this time, and one that is no longer used once more after this time.
const PRECISION: i64 = 300;

/// A use that is to be written.
struct Due {
    id: SessionId,
    copy: Arc<CachedSession>,
    last: i64,
    at: Timestamp,
}

impl SessionCache {
    /// Writes `last_seen` of the cached sessions and API keys that were used since it was last written, unless that was
    /// less than five minutes ago. Returns how many were written. Those whose rows are locked are left for the next call.
    pub async fn flush_last_seen(&self) -> Result<u64, StoreError> {
        let now = self.store.clock().unix_seconds();
        self.flush(|last, stored| last - stored >= PRECISION || now - last >= PRECISION).await
    }

    /// Writes every `last_seen` that is not written yet, before the process ends.
    pub async fn flush_every_last_seen(&self) -> Result<u64, StoreError> {
        self.flush(|_, _| true).await
    }

    async fn flush(&self, is_due: impl Fn(i64, i64) -> bool) -> Result<u64, StoreError> {
        let mut due: Vec<Due> = self.copies.iter().filter_map(|(id, copy)| due(*id, copy, &is_due)).collect();
        due.sort_unstable_by_key(|due| due.id);
        let (sessions, keys): (Vec<Due>, Vec<Due>) = due.into_iter().partition(|due| due.copy.state.api_key.is_none());
        // One failure does not keep the other kind from being written.
        let of_sessions = self.store.touch_sessions(&times(&sessions)).await.map(|ids| recorded(&sessions, ids));
        let of_keys = self.store.touch_api_keys(&times(&keys)).await.map(|ids| recorded(&keys, ids));
        Ok(of_sessions? + of_keys?)
    }
}

/// Returns the use that is to be written, if there is one. `is_due` judges the last use and the stored one, in Unix seconds.
fn due(id: SessionId, copy: Arc<CachedSession>, is_due: impl Fn(i64, i64) -> bool) -> Option<Due> {
    let last = copy.state.last_seen.load(Ordering::Relaxed);
    let stored = copy.stored_last_seen.load(Ordering::Relaxed);
    let at = Timestamp::from_timestamp(last, 0).filter(|_| last > stored && is_due(last, stored))?;
    Some(Due { id, copy, last, at })
}

fn times(due: &[Due]) -> Vec<(SessionId, Timestamp)> {
    due.iter().map(|due| (due.id, due.at)).collect()
}

/// Notes which uses were written, and returns their number.
fn recorded(due: &[Due], written: Vec<SessionId>) -> u64 {
    let written: HashSet<SessionId> = written.into_iter().collect();
    for due in due.iter().filter(|due| written.contains(&due.id)) {
        due.copy.stored_last_seen.fetch_max(due.last, Ordering::Relaxed);
    }
    written.len() as u64
}
