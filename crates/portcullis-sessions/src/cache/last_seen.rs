//! Writing down when sessions and API keys were last used.

use std::sync::atomic::Ordering;

use portcullis_model::{SessionId, Timestamp};
use portcullis_storage::StoreError;

use super::SessionCache;

impl SessionCache {
    /// Writes `last_seen` of every cached session and API key that was used since the last call, and says how many
    /// were written.
    pub async fn flush_last_seen(&self) -> Result<u64, StoreError> {
        let mut sessions: Vec<(SessionId, Timestamp)> = Vec::new();
        let mut keys: Vec<(SessionId, Timestamp)> = Vec::new();
        let mut flushed = Vec::new();
        for (id, copy) in &self.copies {
            let last = copy.state.last_seen.load(Ordering::Relaxed);
            if last > copy.stored_last_seen.load(Ordering::Relaxed)
                && let Some(at) = Timestamp::from_timestamp(last, 0)
            {
                if copy.state.api_key.is_none() {
                    sessions.push((*id, at));
                } else {
                    keys.push((*id, at));
                }
                flushed.push((copy, last));
            }
        }
        self.store.touch_sessions(&sessions).await?;
        self.store.touch_api_keys(&keys).await?;
        for (copy, last) in &flushed {
            copy.stored_last_seen.fetch_max(*last, Ordering::Relaxed);
        }
        Ok(flushed.len() as u64)
    }
}
