//! The ids of the request that a thread is working on. Every log line written meanwhile carries them.
//!
//! A `tracing` span for each request would cost several locks. A request scope is a pointer, of which a thread-local holds a
//! copy each time the request's future is polled. The ids themselves would be a hundred bytes in every future and every poll.

use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use crate::traces::{SpanId, TraceId};

/// Bytes of our own request id: 32 hexadecimal digits.
pub const REQUEST_ID_BYTES: usize = 32;
/// Bytes of a trace id: 32 hexadecimal digits (W3C Trace Context §3.2.2.3).
pub const TRACE_ID_BYTES: usize = 32;
/// The longest client request id that is logged, in bytes (`docs/contract.md`, "Envelope and errors").
pub const MAX_CLIENT_REQUEST_ID_BYTES: usize = 64;

thread_local! {
    static CURRENT: RefCell<RequestScope> = const { RefCell::new(RequestScope::OUTSIDE) };
}

/// The ids that log lines carry while a request is handled, or none outside of a request.
///
/// Work that outlives the request's own future (a spawned task, a job in a queue, a streamed body) takes
/// [`RequestScope::current`] along and enters it again, or its log lines carry no id.
#[derive(Clone)]
pub struct RequestScope(Option<Arc<Scope>>);

struct Scope {
    ids: Option<RequestIds>,
    /// The trace that is recorded now, and the span that new spans belong to.
    recorded: Option<(TraceId, SpanId)>,
}

#[derive(Clone)]
struct RequestIds {
    request_id: [u8; REQUEST_ID_BYTES],
    trace_id: [u8; TRACE_ID_BYTES],
    /// `None` when the client sent no id that can be logged, as most do.
    client_request_id: Option<Box<str>>,
}

impl RequestScope {
    /// The scope of work that belongs to no request.
    pub const OUTSIDE: Self = Self(None);

    /// The scope of one request. Both ids consist of hexadecimal digits. A client's own id is left out of the log unless it
    /// matches `[A-Za-z0-9._-]{1,64}`.
    pub fn new(
        request_id: &[u8; REQUEST_ID_BYTES],
        trace_id: &[u8; TRACE_ID_BYTES],
        client_request_id: Option<&[u8]>,
    ) -> Self {
        let client_request_id = client_request_id.filter(|id| can_be_logged(id));
        let client_request_id = client_request_id.and_then(|id| std::str::from_utf8(id).ok()).map(Box::from);
        let ids = Some(RequestIds { request_id: *request_id, trace_id: *trace_id, client_request_id });
        Self(Some(Arc::new(Scope { ids, recorded: None })))
    }

    /// The same scope within a span that is recorded.
    #[must_use]
    pub fn within(&self, trace: TraceId, span: SpanId) -> Self {
        Self(Some(Arc::new(Scope { ids: self.ids().cloned(), recorded: Some((trace, span)) })))
    }

    /// The trace and the span that this thread records for now, if it does.
    #[inline]
    pub(crate) fn recorded() -> Option<(TraceId, SpanId)> {
        CURRENT.try_with(|current| current.borrow().0.as_ref()?.recorded).ok()?
    }

    /// The scope that this thread is in now.
    pub fn current() -> Self {
        // A thread that ends has no scope any more.
        CURRENT.try_with(|current| current.borrow().clone()).unwrap_or(Self::OUTSIDE)
    }

    /// Puts this thread into the scope until the returned value is dropped. Do not hold that across an `await`: use
    /// [`drive`](Self::drive) for futures.
    #[must_use = "the scope ends when this value is dropped"]
    pub fn enter(&self) -> EnteredScope {
        EnteredScope { previous: self.clone().replace_current(), on_this_thread: PhantomData }
    }

    /// Runs a function in the scope.
    pub fn run<T>(&self, work: impl FnOnce() -> T) -> T {
        let _entered = self.enter();
        work()
    }

    /// Polls a future, and drops it, in the scope. It is borrowed pinned, so that no large future is moved.
    pub fn drive<'f, F: Future>(&self, future: Pin<&'f mut Option<F>>) -> ScopedFuture<'f, F> {
        ScopedFuture { future, scope: self.clone() }
    }

    /// Returns a future that is polled in the scope, for a task of its own.
    pub async fn wrap<F: Future>(self, future: F) -> F::Output {
        self.drive(pin!(Some(future))).await
    }

    fn replace_current(self) -> Self {
        CURRENT.try_with(|current| current.replace(self)).unwrap_or(Self::OUTSIDE)
    }

    fn ids(&self) -> Option<&RequestIds> {
        self.0.as_ref()?.ids.as_ref()
    }

    /// The id that the response's `X-Request-Id` shows.
    pub fn request_id(&self) -> Option<&str> {
        self.ids().and_then(|ids| std::str::from_utf8(&ids.request_id).ok())
    }

    /// The id of the trace that the request belongs to.
    pub fn trace_id(&self) -> Option<&str> {
        self.ids().and_then(|ids| std::str::from_utf8(&ids.trace_id).ok())
    }

    /// The id that the client sent as `X-Request-Id`, if it can be logged.
    pub fn client_request_id(&self) -> Option<&str> {
        self.ids()?.client_request_id.as_deref()
    }
}

impl fmt::Debug for RequestScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestScope")
            .field("request_id", &self.request_id())
            .field("trace_id", &self.trace_id())
            .field("client_request_id", &self.client_request_id())
            .finish()
    }
}

/// Whether a client's request id has a form that cannot be mistaken for another part of a log line.
fn can_be_logged(id: &[u8]) -> bool {
    (1..=MAX_CLIENT_REQUEST_ID_BYTES).contains(&id.len())
        && id.iter().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(byte))
}

/// Restores the thread's previous scope when it is dropped.
#[derive(Debug)]
pub struct EnteredScope {
    previous: RequestScope,
    /// Makes the value stay on its thread.
    on_this_thread: PhantomData<*const ()>,
}

impl Drop for EnteredScope {
    fn drop(&mut self) {
        std::mem::replace(&mut self.previous, RequestScope::OUTSIDE).replace_current();
    }
}

/// A future in a [`RequestScope`].
#[derive(Debug)]
pub struct ScopedFuture<'f, F> {
    /// `None` once it was ready.
    future: Pin<&'f mut Option<F>>,
    scope: RequestScope,
}

impl<F: Future> Future for ScopedFuture<'_, F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let _entered = self.scope.enter();
        let future = self.future.as_mut().as_pin_mut().expect("a future is not polled after it was ready");
        let output = ready!(future.poll(cx));
        self.future.set(None);
        Poll::Ready(output)
    }
}

impl<F> Drop for ScopedFuture<'_, F> {
    fn drop(&mut self) {
        if self.future.is_some() {
            let _entered = self.scope.enter();
            self.future.set(None);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::task::Waker;

    use super::*;

    const ID: &[u8; 32] = b"0123456789abcdef0123456789abcdef";
    const TRACE: &[u8; 32] = b"0af7651916cd43dd8448eb211c80319c";

    fn scope() -> RequestScope {
        RequestScope::new(ID, TRACE, Some(b"order-17"))
    }

    fn current_id() -> Option<String> {
        RequestScope::current().request_id().map(str::to_owned)
    }

    #[test]
    fn a_client_id_is_kept_only_if_it_can_be_logged() {
        let longest = "x".repeat(64);
        for (id, kept) in [
            ("abc-1.2_3", true),
            (longest.as_str(), true),
            ("", false),
            ("a b", false),
            ("a\nb", false),
            ("\u{1b}[31m", false),
            (&"x".repeat(65), false),
        ] {
            let scope = RequestScope::new(ID, TRACE, Some(id.as_bytes()));
            assert_eq!(scope.client_request_id(), kept.then_some(id), "{id:?}");
        }
        assert_eq!(RequestScope::new(ID, TRACE, None).client_request_id(), None);
    }

    #[test]
    fn a_scope_ends_with_its_guard_and_restores_the_outer_one() {
        let inner = RequestScope::new(b"ffffffffffffffffffffffffffffffff", TRACE, None);
        scope().run(|| {
            inner.run(|| assert_eq!(current_id().as_deref(), Some("ffffffffffffffffffffffffffffffff")));
            assert_eq!(RequestScope::current().client_request_id(), Some("order-17"));
        });
        assert_eq!(current_id(), None);
    }

    #[test]
    fn a_scope_ends_also_by_a_panic() {
        let panicked = std::panic::catch_unwind(|| scope().run(|| panic!("on purpose")));
        assert!(panicked.is_err());
        assert_eq!(current_id(), None);
    }

    #[test]
    fn a_future_is_in_its_scope_at_each_poll_and_not_between() {
        let mut polls = 0;
        let mut future = pin!(Some(std::future::poll_fn(|_| {
            polls += 1;
            assert!(current_id().is_some());
            if polls == 3 { Poll::Ready(current_id()) } else { Poll::Pending }
        })));
        let mut future = scope().drive(future.as_mut());
        let mut context = Context::from_waker(Waker::noop());
        for _ in 0..2 {
            assert!(Pin::new(&mut future).poll(&mut context).is_pending());
            assert_eq!(current_id(), None);
        }
        assert_eq!(
            Pin::new(&mut future).poll(&mut context),
            Poll::Ready(Some("0123456789abcdef0123456789abcdef".to_owned()))
        );
    }

    #[test]
    fn what_a_cancelled_future_drops_is_dropped_in_its_scope() {
        struct NotesScope<'a>(&'a Cell<bool>);
        impl Drop for NotesScope<'_> {
            fn drop(&mut self) {
                self.0.set(current_id().is_some());
            }
        }
        let was_in_scope = Cell::new(false);
        let held = NotesScope(&was_in_scope);
        let future = pin!(Some(async move {
            let _held = held;
            std::future::pending::<()>().await;
        }));
        drop(scope().drive(future));
        assert!(was_in_scope.get());
    }
}
