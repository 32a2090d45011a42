//! The streams that are open: WebSockets, event streams, endless answers, long transfers. Each ends with the session, the
//! API key or the right that it stands on (SR-22, SR-56).
//!
//! A session that ends takes its streams with it at once. Whatever else may have changed a right (the user's role or
//! permissions, the settings, time) makes the [judge](judge) decide again whether the stream may stay open.

mod judge;
mod registry;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use portcullis_model::{Revocation, RevocationListener};
use tokio::sync::Notify;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::decision::permit::Permit;
use registry::{Registry, Stream, StreamKey};

/// The streams that are open.
#[derive(Debug, Default)]
pub struct LiveStreams {
    registry: Mutex<Registry>,
    next: AtomicU64,
    /// Wakes the judge before its next look.
    doubted: Notify,
    stopping: CancellationToken,
}

/// Why the gateway ends a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamEnd {
    /// The session or the API key has ended or expired.
    SessionEnded,
    /// The caller may not use the route any more, or the route is gone.
    RightLost,
    /// Whether the caller may still use the route could not be found out in time.
    Unconfirmed,
}

/// A registered stream. Dropping the guard removes the stream from the registry.
#[derive(Debug)]
pub struct StreamGuard {
    streams: Arc<LiveStreams>,
    key: StreamKey,
    ending: Arc<Ending>,
}

/// The end of one stream, once the gateway has decided on it.
#[derive(Debug, Default)]
struct Ending {
    reached: CancellationToken,
    why: OnceLock<StreamEnd>,
}

impl LiveStreams {
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Registers the stream that a permitted request opens. The stream is judged once soon afterwards, because what it was
    /// permitted by may have changed since.
    pub fn register(self: &Arc<Self>, permit: &Permit) -> StreamGuard {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let key = (permit.principal().map(|principal| principal.session.user_id), number);
        let ending = Arc::<Ending>::default();
        self.registry().add(key, Stream::of(permit, Arc::clone(&ending)));
        StreamGuard { streams: Arc::clone(self), key, ending }
    }

    /// Returns a token that is cancelled when the process stops, so that streams without an end of their own close.
    pub fn stopping(&self) -> &CancellationToken {
        &self.stopping
    }

    /// Returns the number of open streams.
    pub fn count(&self) -> usize {
        self.registry().len()
    }

    /// Has every stream judged again, because the settings changed.
    pub(crate) fn doubt_all(&self) {
        self.registry().doubt_all();
        self.doubted.notify_one();
    }

    fn registry(&self) -> MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RevocationListener for LiveStreams {
    fn revoked(&self, revocation: &Revocation) {
        if self.registry().apply(revocation) {
            self.doubted.notify_one();
        }
    }
}

impl Ending {
    fn reach(&self, why: StreamEnd) {
        if self.why.set(why).is_ok() {
            self.reached.cancel();
        }
    }
}

impl StreamGuard {
    /// Resolves when the gateway ends the stream. [`end`](Self::end) then says why.
    pub fn ended(&self) -> WaitForCancellationFutureOwned {
        self.ending.reached.clone().cancelled_owned()
    }

    /// Returns the token that is cancelled when the gateway ends the stream.
    pub fn end_token(&self) -> CancellationToken {
        self.ending.reached.clone()
    }

    /// Returns why the gateway ends the stream, once it does.
    pub fn end(&self) -> Option<StreamEnd> {
        self.ending.why.get().copied()
    }
}

impl Drop for StreamGuard {
    fn drop(&mut self) {
        self.streams.registry().remove(self.key);
    }
}
