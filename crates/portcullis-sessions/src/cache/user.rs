//! The user of a cached session: a profile that is asked for again costs no statement.

use std::sync::Arc;
use std::time::Instant;

use portcullis_model::{SessionState, User};
use portcullis_storage::StoreError;

use super::SessionCache;

impl SessionCache {
    /// The user of a live session; `None` when the user was deleted.
    pub async fn user(&self, session: &SessionState) -> Result<Option<Arc<User>>, StoreError> {
        // The copy is taken before the statement runs. If the user changes meanwhile, that copy is stale, and the row
        // kept with it goes too.
        let copy = self.fresh_copy(session.id);
        if let Some(known) = copy.as_ref().and_then(|copy| copy.user()) {
            return Ok(Some(known));
        }
        let read_at = Instant::now();
        let Some(user) = self.store.user_by_id(session.user_id).await? else { return Ok(None) };
        let user = Arc::new(user);
        if let Some(copy) = copy {
            copy.keep_user(Arc::clone(&user), read_at);
        }
        Ok(Some(user))
    }
}
