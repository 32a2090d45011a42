//! The registry of live streams by session: ending a session closes its WebSockets, event streams and long uploads, and
//! no other session's.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use portcullis_model::{Revocation, RevocationListener, SessionId, SessionState, UserId};
use tokio_util::sync::CancellationToken;

/// How long an ended session is remembered. A stream that was permitted just before the end and registers just after it
/// must be closed too.
const REMEMBERED: Duration = Duration::from_secs(300);

/// The streams that are open, by session.
#[derive(Debug)]
pub struct LiveStreams {
    open: Mutex<HashMap<SessionId, Vec<Open>>>,
    ended_sessions: moka::sync::Cache<SessionId, ()>,
    /// The users whose sessions all ended, with the epoch before which they did.
    ended_users: moka::sync::Cache<UserId, i64>,
    next: AtomicU64,
    stopping: CancellationToken,
}

#[derive(Debug)]
struct Open {
    id: u64,
    user: UserId,
    user_epoch: i64,
    close: CancellationToken,
}

/// A registered stream. Dropping the guard removes the stream from the registry.
#[derive(Debug)]
pub struct StreamGuard {
    streams: Arc<LiveStreams>,
    session: SessionId,
    id: u64,
    close: CancellationToken,
}

impl LiveStreams {
    pub(crate) fn new() -> Arc<Self> {
        let remembered = || moka::sync::Cache::builder().max_capacity(100_000).time_to_live(REMEMBERED);
        Arc::new(Self {
            open: Mutex::default(),
            ended_sessions: remembered().build(),
            ended_users: moka::sync::Cache::builder().max_capacity(100_000).time_to_live(REMEMBERED).build(),
            next: AtomicU64::new(0),
            stopping: CancellationToken::new(),
        })
    }

    /// Registers a stream of a session. If the session has ended meanwhile, the guard is closed from the beginning.
    pub fn register(self: &Arc<Self>, session: &SessionState) -> StreamGuard {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let close = CancellationToken::new();
        let open = Open { id, user: session.user_id, user_epoch: session.user_epoch, close: close.clone() };
        self.lock().entry(session.id).or_default().push(open);
        let ended = self.ended_sessions.contains_key(&session.id)
            || self.ended_users.get(&session.user_id).is_some_and(|epoch| session.user_epoch < epoch);
        if ended {
            close.cancel();
        }
        StreamGuard { streams: Arc::clone(self), session: session.id, id, close }
    }

    /// Returns a token that is cancelled when the process stops, so that streams without an end of their own close.
    pub fn stopping(&self) -> &CancellationToken {
        &self.stopping
    }

    /// Returns the number of open streams.
    pub fn count(&self) -> usize {
        self.lock().values().map(Vec::len).sum()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<SessionId, Vec<Open>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RevocationListener for LiveStreams {
    fn revoked(&self, revocation: &Revocation) {
        if !revocation.ends {
            return;
        }
        if let Some(session) = revocation.session_id {
            self.ended_sessions.insert(session, ());
            for open in self.lock().get(&session).into_iter().flatten() {
                open.close.cancel();
            }
        } else {
            // The revocation feed may report an earlier end again, after a later one.
            let newest = |known: Option<moka::Entry<UserId, i64>>| {
                known.map_or(revocation.epoch, |known| known.into_value().max(revocation.epoch))
            };
            self.ended_users.entry(revocation.user_id).and_upsert_with(newest);
            let registry = self.lock();
            let theirs = registry.values().flatten().filter(|open| open.user == revocation.user_id);
            for open in theirs.filter(|open| open.user_epoch < revocation.epoch) {
                open.close.cancel();
            }
        }
    }
}

impl StreamGuard {
    /// Resolves when the session ends.
    pub fn closed(&self) -> tokio_util::sync::WaitForCancellationFutureOwned {
        self.close.clone().cancelled_owned()
    }

    /// Whether the session has ended.
    pub fn is_closed(&self) -> bool {
        self.close.is_cancelled()
    }
}

impl Drop for StreamGuard {
    fn drop(&mut self) {
        let mut registry = self.streams.lock();
        if let Some(open) = registry.get_mut(&self.session) {
            open.retain(|stream| stream.id != self.id);
            if open.is_empty() {
                registry.remove(&self.session);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_testkit::session;

    fn ends(session: &SessionState) -> Revocation {
        Revocation { user_id: session.user_id, session_id: Some(session.id), epoch: 2, ends: true }
    }

    #[test]
    fn ending_a_session_closes_its_own_streams_only() {
        let streams = LiveStreams::new();
        let (mine, theirs) = (session().build(), session().build());
        let (first, second, other) = (streams.register(&mine), streams.register(&mine), streams.register(&theirs));
        assert_eq!(streams.count(), 3);
        streams.revoked(&Revocation { ends: false, ..ends(&mine) });
        assert!(!first.is_closed(), "a stale copy closes nothing");
        streams.revoked(&ends(&mine));
        assert!(first.is_closed() && second.is_closed() && !other.is_closed());
        drop((first, second, other));
        assert_eq!(streams.count(), 0);
    }

    #[test]
    fn a_stream_that_registers_after_the_end_is_closed() {
        let streams = LiveStreams::new();
        let mine = session().build();
        streams.revoked(&ends(&mine));
        assert!(streams.register(&mine).is_closed());
    }

    #[test]
    fn a_repeated_older_end_does_not_hide_a_newer_one() {
        let streams = LiveStreams::new();
        let mine = session().epochs(1, 3).build();
        let all = |epoch| Revocation { user_id: mine.user_id, session_id: None, epoch, ends: true };
        streams.revoked(&all(4));
        streams.revoked(&all(2));
        assert!(streams.register(&mine).is_closed());
    }

    #[test]
    fn ending_all_sessions_of_a_user_spares_a_later_one() {
        let streams = LiveStreams::new();
        let mine = session().build();
        let before = streams.register(&mine);
        streams.revoked(&Revocation { user_id: mine.user_id, session_id: None, epoch: 2, ends: true });
        assert!(before.is_closed());
        let later = session().user(mine.user_id).epochs(1, 2).build();
        assert!(!streams.register(&later).is_closed());
    }
}
