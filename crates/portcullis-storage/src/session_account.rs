//! The account behind a session, kept beside the session's copy: a profile that is asked for again costs no statement.

use std::sync::Arc;
use std::time::{Duration, Instant};

use portcullis_model::{SessionState, User};

use crate::error::StoreError;
use crate::session_table::SessionTable;

/// A row is used for at most this long. Every change of an account ends the copies of its sessions at once; only
/// `last_login_at` changes without, so that a sign-in elsewhere may show this much later.
const LIFE: Duration = Duration::from_secs(60);

/// An account as it was read.
pub(crate) struct HeldAccount {
    user: Arc<User>,
    read_at: Instant,
}

impl SessionTable {
    /// The account of a live session; `None` when it is gone.
    pub async fn account(&self, session: &SessionState) -> Result<Option<Arc<User>>, StoreError> {
        // Read into the copy that is held before the statement: should the account change meanwhile, that copy is
        // stale, and what was read goes with it.
        let copy = self.held(session.id);
        let known = copy.as_ref().and_then(|copy| copy.account.load_full());
        if let Some(known) = known.filter(|known| known.read_at.elapsed() < LIFE) {
            return Ok(Some(Arc::clone(&known.user)));
        }
        let read_at = Instant::now();
        let Some(user) = self.store.user_by_id(session.user_id).await? else { return Ok(None) };
        let user = Arc::new(user);
        if let Some(copy) = copy {
            copy.account.store(Some(Arc::new(HeldAccount { user: Arc::clone(&user), read_at })));
        }
        Ok(Some(user))
    }
}
