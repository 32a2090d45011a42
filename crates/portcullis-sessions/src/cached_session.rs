//! A cached copy of a session, and the user's row kept beside it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use portcullis_model::{SessionState, User};

/// A user's row is used for at most this long. Every change of a user ends the copies of the user's sessions at once,
/// except `last_login_at`: a sign-in elsewhere may show this much later.
const USER_LIFETIME: Duration = Duration::from_secs(60);

/// A session as it was read.
pub(crate) struct CachedSession {
    pub(crate) state: Arc<SessionState>,
    /// The `last_seen` that the database has, in Unix seconds.
    pub(crate) stored_last_seen: AtomicI64,
    /// The user's row, once it was asked for. Every change of the user ends this copy and with it the row.
    user: ArcSwapOption<CachedUser>,
    read_at: Instant,
    /// The lowest user epoch that is not stale, shared by all copies of one user's sessions.
    user_floor: Arc<AtomicI64>,
}

struct CachedUser {
    user: Arc<User>,
    read_at: Instant,
}

impl CachedSession {
    pub(crate) fn new(state: Arc<SessionState>, stored_last_seen: i64, user_floor: Arc<AtomicI64>) -> Self {
        let stored_last_seen = AtomicI64::new(stored_last_seen);
        Self { state, stored_last_seen, user: ArcSwapOption::empty(), read_at: Instant::now(), user_floor }
    }

    /// Whether the copy can be used at `now` (Unix seconds).
    pub(crate) fn is_fresh(&self, now: i64) -> bool {
        self.state.user_epoch >= self.user_floor.load(Ordering::Acquire) && now < self.state.expires_at
    }

    /// How long ago the session was read.
    pub(crate) fn age(&self) -> Duration {
        self.read_at.elapsed()
    }

    /// The user's row, unless it is unknown or too old.
    pub(crate) fn user(&self) -> Option<Arc<User>> {
        let known = self.user.load_full().filter(|known| known.read_at.elapsed() < USER_LIFETIME)?;
        Some(Arc::clone(&known.user))
    }

    /// Keeps the user's row, read at `read_at`.
    pub(crate) fn keep_user(&self, user: Arc<User>, read_at: Instant) {
        self.user.store(Some(Arc::new(CachedUser { user, read_at })));
    }
}
