//! Tracks the requests of one HTTP/2 connection (SR-40): a client may reset requests, but not without limit
//! (CVE-2023-44487), and it must read each response in time, or that request is aborted.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use http::Response;
use http_body::{Body, Frame, SizeHint};
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::connection_timers::ClientWait;
use crate::stream_end::EndWatch;

/// How many more requests a client may reset than it let complete.
const MAX_RESETS: u64 = 100;

/// The requests of one connection.
#[derive(Default)]
pub(super) struct RequestTracker {
    requests: Mutex<Requests>,
    reset_limit_exceeded: Notify,
}

#[derive(Default)]
struct Requests {
    begun: u64,
    completed: u64,
    reset: u64,
    open: HashMap<u64, OpenRequest>,
}

/// A request whose response is not complete.
struct OpenRequest {
    progress: Arc<Progress>,
    /// The progress at the last check, and since when it has been the same.
    last_seen: (u64, Instant),
    /// The task that handles the request.
    task: Option<AbortHandle>,
}

/// Counts the polls of a response body; odd while a part of it waits for the client to read.
#[derive(Default)]
struct Progress(AtomicU64);

impl RequestTracker {
    /// Begins to track a request.
    pub(super) fn begin(self: &Arc<Self>) -> TrackedRequest {
        let progress = Arc::<Progress>::default();
        let mut requests = self.requests();
        let number = requests.begun;
        requests.begun += 1;
        let open = OpenRequest { progress: Arc::clone(&progress), last_seen: (0, Instant::now()), task: None };
        requests.open.insert(number, open);
        TrackedRequest { tracker: Arc::clone(self), number, progress, is_complete: false }
    }

    /// Sets the task of the request that began last.
    pub(super) fn set_task(&self, task: AbortHandle) {
        let mut requests = self.requests();
        let latest = requests.begun.checked_sub(1);
        // Its response may be complete already.
        if let Some(open) = latest.and_then(|number| requests.open.get_mut(&number)) {
            open.task = Some(task);
        }
    }

    /// Waits until the client has reset too many requests.
    pub(super) async fn too_many_resets(&self) {
        self.reset_limit_exceeded.notified().await;
    }

    /// Aborts the requests of whose responses the client has read nothing for `timeout`. The others go on.
    pub(super) fn abort_stalled(&self, timeout: Duration) {
        let now = Instant::now();
        let stalled: Vec<AbortHandle> = {
            let mut requests = self.requests();
            let is_read_in_time = |open: &mut OpenRequest| {
                let progress = open.progress.0.load(Ordering::Relaxed);
                if open.last_seen.0 != progress {
                    open.last_seen = (progress, now);
                }
                progress.is_multiple_of(2) || now.duration_since(open.last_seen.1) < timeout
            };
            let open = requests.open.values_mut();
            open.filter_map(|open| if is_read_in_time(open) { None } else { open.task.take() }).collect()
        };
        for task in stalled {
            tracing::debug!("a request was aborted because its client did not read the response");
            task.abort();
        }
    }

    /// What the connection waits for its client to do; `None` while a request is handled.
    pub(super) fn client_wait(&self) -> Option<ClientWait> {
        let requests = self.requests();
        match requests.begun {
            _ if !requests.open.is_empty() => None,
            0 => Some(ClientWait::Head(0)),
            begun => Some(ClientWait::Request(begun)),
        }
    }

    fn requests(&self) -> MutexGuard<'_, Requests> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request in progress. If it is dropped before its response is complete, it counts as reset by the client.
pub(super) struct TrackedRequest {
    tracker: Arc<RequestTracker>,
    number: u64,
    progress: Arc<Progress>,
    is_complete: bool,
}

impl TrackedRequest {
    /// Aborts the request if its client does not read the response when the response's right ends.
    pub(super) fn watch<B>(&self, response: &mut Response<B>) -> Option<EndWatch> {
        let (tracker, number) = (Arc::clone(&self.tracker), self.number);
        EndWatch::over(response, move || {
            let task = tracker.requests().open.get_mut(&number).and_then(|open| open.task.take());
            if let Some(task) = task {
                task.abort();
            }
        })
    }

    /// Wraps the response body, whose polls show the progress.
    pub(super) fn track_body<B: Body>(self, body: B, watch: Option<EndWatch>) -> TrackedBody<B> {
        TrackedBody { body, request: self, _watch: watch }
    }
}

impl Drop for TrackedRequest {
    fn drop(&mut self) {
        let mut requests = self.tracker.requests();
        requests.open.remove(&self.number);
        if self.is_complete {
            requests.completed += 1;
            return;
        }
        requests.reset += 1;
        if requests.reset > MAX_RESETS + requests.completed {
            self.tracker.reset_limit_exceeded.notify_one();
        }
    }
}

/// A tracked response body. hyper polls it only when the client has room for another part.
pub(super) struct TrackedBody<B: Body> {
    body: B,
    request: TrackedRequest,
    /// Ends the response with its right.
    _watch: Option<EndWatch>,
}

impl<B: Body + Unpin> Body for TrackedBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let this = &mut *self;
        let progress = &this.request.progress.0;
        if !progress.load(Ordering::Relaxed).is_multiple_of(2) {
            progress.fetch_add(1, Ordering::Relaxed);
        }
        let polled = Pin::new(&mut this.body).poll_frame(cx);
        match &polled {
            Poll::Ready(Some(Ok(_))) => {
                progress.fetch_add(1, Ordering::Relaxed);
            }
            Poll::Ready(None) => this.request.is_complete = true,
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

impl<B: Body> Drop for TrackedBody<B> {
    fn drop(&mut self) {
        // hyper does not poll again after a part that is known to be the last.
        self.request.is_complete |= self.body.is_end_stream();
    }
}
