//! The requests under way on a connection that carries many at a time, and what their client does to them
//! (requirement 40): it may take requests back, but not without end (CVE-2023-44487), and it must take the pieces of an
//! answer, or lose that answer.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use http_body::{Body, Frame, SizeHint};
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::patience::Waiting;

/// How many requests a client may take back beyond as many as it let be answered.
const MAX_TAKEN_BACK: u64 = 100;

/// The requests of one connection.
#[derive(Default)]
pub(super) struct Underway {
    requests: Mutex<Requests>,
    abused: Notify,
}

#[derive(Default)]
struct Requests {
    begun: u64,
    answered: u64,
    taken_back: u64,
    open: HashMap<u64, Open>,
}

/// A request that has no whole answer yet.
struct Open {
    pieces: Arc<Pieces>,
    /// The state of its pieces when it was last looked, and since when.
    seen: (u64, Instant),
    /// What works on it.
    task: Option<AbortHandle>,
}

/// Odd while a piece of the answer waits for the client to have room; counts each time that one did.
#[derive(Default)]
struct Pieces(AtomicU64);

impl Underway {
    /// A request begins.
    pub(super) fn begin(self: &Arc<Self>) -> Request {
        let pieces = Arc::<Pieces>::default();
        let mut requests = self.requests();
        let number = requests.begun;
        requests.begun += 1;
        let open = Open { pieces: Arc::clone(&pieces), seen: (0, Instant::now()), task: None };
        requests.open.insert(number, open);
        Request { underway: Arc::clone(self), number, pieces, answered: false }
    }

    /// What works on the request that began last.
    pub(super) fn worked_on_by(&self, task: AbortHandle) {
        let mut requests = self.requests();
        let latest = requests.begun.checked_sub(1);
        // It may be answered already.
        if let Some(open) = latest.and_then(|number| requests.open.get_mut(&number)) {
            open.task = Some(task);
        }
    }

    /// Until the client has taken back more requests than it may.
    pub(super) async fn abused(&self) {
        self.abused.notified().await;
    }

    /// Gives up the answers of which the client has taken no piece for so long; the others go on.
    pub(super) fn cut_stalled(&self, patience: Duration) {
        let now = Instant::now();
        let stalled: Vec<AbortHandle> = {
            let mut requests = self.requests();
            let taken_in_time = |open: &mut Open| {
                let pieces = open.pieces.0.load(Ordering::Relaxed);
                if open.seen.0 != pieces {
                    open.seen = (pieces, now);
                }
                pieces.is_multiple_of(2) || now.duration_since(open.seen.1) < patience
            };
            let late =
                requests.open.values_mut().filter_map(|open| if taken_in_time(open) { None } else { open.task.take() });
            late.collect()
        };
        for task in stalled {
            tracing::debug!("an answer was given up because its client did not read it");
            task.abort();
        }
    }

    /// What the client lets us wait for; nothing while a request is under way.
    pub(super) fn waiting(&self) -> Option<Waiting> {
        let requests = self.requests();
        match requests.begun {
            _ if !requests.open.is_empty() => None,
            0 => Some(Waiting::Head(0)),
            begun => Some(Waiting::Request(begun)),
        }
    }

    fn requests(&self) -> MutexGuard<'_, Requests> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request under way. Dropped before its answer was whole, it counts as taken back.
pub(super) struct Request {
    underway: Arc<Underway>,
    number: u64,
    pieces: Arc<Pieces>,
    answered: bool,
}

impl Request {
    /// The answer's body, from which it is known how far the request is.
    pub(super) fn answered_by<B: Body>(self, body: B) -> Watched<B> {
        Watched { body, request: self }
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        let mut requests = self.underway.requests();
        requests.open.remove(&self.number);
        if self.answered {
            requests.answered += 1;
            return;
        }
        requests.taken_back += 1;
        if requests.taken_back > MAX_TAKEN_BACK + requests.answered {
            self.underway.abused.notify_one();
        }
    }
}

/// An answer's body. It is asked for its next piece only when the client has room for one.
pub(super) struct Watched<B: Body> {
    body: B,
    request: Request,
}

impl<B: Body + Unpin> Body for Watched<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let this = &mut *self;
        let pieces = &this.request.pieces.0;
        if !pieces.load(Ordering::Relaxed).is_multiple_of(2) {
            pieces.fetch_add(1, Ordering::Relaxed);
        }
        let polled = Pin::new(&mut this.body).poll_frame(cx);
        match &polled {
            Poll::Ready(Some(Ok(_))) => {
                pieces.fetch_add(1, Ordering::Relaxed);
            }
            Poll::Ready(None) => this.request.answered = true,
            Poll::Ready(Some(Err(_))) | Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<B: Body> Drop for Watched<B> {
    fn drop(&mut self) {
        // A piece may say that it is the last, and nobody asks for another then.
        self.request.answered |= self.body.is_end_stream();
    }
}
