//! How many connections, requests and streams a target has at once, and the queue of the requests beyond that.
//!
//! A request holds a [`Slot`] from before its connection is opened until its response is complete, or until its tunnel or
//! event stream ends. The slot travels in the connection. Idle connections hold none: they are counted by
//! [`OpenConnection`], and the oldest is closed when its room is needed. So at most `max_connections` are open:
//! each that is in use has a slot, and the idle ones fill only what is left.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use portcullis_telemetry::{QueueRefusal, UpstreamLoad};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::pool::Pool;

/// The limits of one target, on this replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TargetLimits {
    /// The most connections, without those of streams.
    pub max_connections: usize,
    /// The most requests under way, without streams.
    pub max_requests: usize,
    /// The most streams: tunnels and event streams.
    pub max_streams: usize,
    /// The most requests that wait for a slot.
    pub queue_length: usize,
    /// The longest wait for a slot.
    pub queue_wait: Duration,
}

impl Default for TargetLimits {
    fn default() -> Self {
        Self {
            max_connections: 256,
            max_requests: 1024,
            max_streams: 10_000,
            queue_length: 256,
            queue_wait: Duration::from_secs(1),
        }
    }
}

/// What a request is to its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SlotKind {
    /// A request with a response that ends.
    Request,
    /// A tunnel or an event stream.
    Stream,
}

/// The capacity of one target.
pub(crate) struct Capacity {
    limits: TargetLimits,
    connections: Arc<Semaphore>,
    /// `None` if the connections are the lower limit. In HTTP/1.1 each request has a connection of its own.
    requests: Option<Arc<Semaphore>>,
    streams: Arc<Semaphore>,
    /// The connections that are open or being opened, without those of streams.
    open: AtomicUsize,
    waiting: AtomicUsize,
    load: Arc<UpstreamLoad>,
}

/// The place of a request at its target. Dropping it lets the first waiting request in.
pub(crate) struct Slot {
    /// The permit of the connection, or of the stream.
    pub(super) connection: OwnedSemaphorePermit,
    pub(super) request: Option<OwnedSemaphorePermit>,
    pub(super) kind: SlotKind,
}

/// Counts a connection, from before it is opened until after it is closed.
pub(crate) struct OpenConnection {
    capacity: Arc<Capacity>,
    kind: SlotKind,
}

/// A request in the queue.
struct Waiting<'c>(&'c Capacity);

impl Capacity {
    pub(super) fn new(limits: TargetLimits, load: Arc<UpstreamLoad>) -> Self {
        let semaphore = |permits: usize| Arc::new(Semaphore::new(permits.min(Semaphore::MAX_PERMITS)));
        let requests = limits.max_requests < limits.max_connections;
        Self {
            limits,
            connections: semaphore(limits.max_connections),
            requests: requests.then(|| semaphore(limits.max_requests)),
            streams: semaphore(limits.max_streams),
            open: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            load,
        }
    }

    /// A slot, if one is free and no other request waits for it.
    pub(super) fn try_slot(&self, kind: SlotKind) -> Option<Slot> {
        let request = match &self.requests {
            Some(requests) if kind == SlotKind::Request => Some(Arc::clone(requests).try_acquire_owned().ok()?),
            _ => None,
        };
        Some(Slot { connection: self.try_connection(kind)?, request, kind })
    }

    /// Room for one more connection of a request that has a slot.
    pub(super) fn try_connection(&self, kind: SlotKind) -> Option<OwnedSemaphorePermit> {
        Arc::clone(self.permits(kind)).try_acquire_owned().ok()
    }

    /// A slot, after those who asked before. Dropping the future leaves the queue.
    pub(crate) async fn slot(&self, kind: SlotKind) -> Result<Slot, QueueRefusal> {
        if let Some(slot) = self.try_slot(kind) {
            return Ok(slot);
        }
        let _waiting = self.enter_queue().ok_or(QueueRefusal::queue_full)?;
        // Semaphores serve in the order of arrival, hand each permit to one waiter, and take it back from a waiter that left.
        let slot = tokio::time::timeout(self.limits.queue_wait, self.acquire(kind)).await;
        slot.ok().flatten().ok_or(QueueRefusal::queue_timeout)
    }

    /// `None` never happens: nobody closes the semaphores.
    async fn acquire(&self, kind: SlotKind) -> Option<Slot> {
        let request = match &self.requests {
            Some(requests) if kind == SlotKind::Request => Some(Arc::clone(requests).acquire_owned().await.ok()?),
            _ => None,
        };
        let connection = Arc::clone(self.permits(kind)).acquire_owned().await.ok()?;
        Some(Slot { connection, request, kind })
    }

    fn permits(&self, kind: SlotKind) -> &Arc<Semaphore> {
        match kind {
            SlotKind::Request => &self.connections,
            SlotKind::Stream => &self.streams,
        }
    }

    fn enter_queue(&self) -> Option<Waiting<'_>> {
        let length = self.limits.queue_length;
        let more = |waiting| if waiting < length { Some(waiting + 1) } else { None };
        self.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        self.load.entered_queue();
        Some(Waiting(self))
    }

    /// Counts a connection that is about to be opened, and closes an idle one if there would be too many.
    pub(super) fn open(self: &Arc<Self>, kind: SlotKind, idle: &Pool) -> OpenConnection {
        if kind == SlotKind::Request && self.open.fetch_add(1, Ordering::Relaxed) >= self.limits.max_connections {
            idle.close_oldest();
        }
        self.load.connection_opened();
        OpenConnection { capacity: Arc::clone(self), kind }
    }
}

impl OpenConnection {
    /// Counts the connection as a stream from now on.
    pub(super) fn becomes_stream(&mut self) {
        if self.kind == SlotKind::Request {
            self.capacity.open.fetch_sub(1, Ordering::Relaxed);
            self.kind = SlotKind::Stream;
        }
    }

    /// Counts a connection that no request uses any more. Returns whether it may stay open.
    pub(super) fn becomes_idle(&mut self) -> bool {
        if self.kind == SlotKind::Stream {
            let most = self.capacity.limits.max_connections;
            let more = |open| if open < most { Some(open + 1) } else { None };
            if self.capacity.open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_err() {
                return false;
            }
            self.kind = SlotKind::Request;
        }
        true
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        if self.kind == SlotKind::Request {
            self.capacity.open.fetch_sub(1, Ordering::Relaxed);
        }
        self.capacity.load.connection_closed();
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
        self.0.load.left_queue();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::pin::Pin;
    use std::task::{Context, Poll, Waker};

    use portcullis_telemetry::{Metrics, MetricsOptions};
    use proptest::prelude::*;

    use super::super::pool::Lifetimes;
    use super::*;

    fn load() -> Arc<UpstreamLoad> {
        Arc::new(Metrics::new(&MetricsOptions::default(), "test").upstream_load("things"))
    }

    fn limits(max_connections: usize, max_requests: usize, queue_length: usize) -> TargetLimits {
        TargetLimits {
            max_connections,
            max_requests,
            max_streams: 2,
            queue_length,
            queue_wait: Duration::from_secs(60),
        }
    }

    #[tokio::test]
    async fn requests_and_streams_have_limits_of_their_own() {
        let capacity = Capacity::new(limits(3, 1024, 0), load());
        let mut held = Vec::new();
        for (kind, most) in [(SlotKind::Request, 3), (SlotKind::Stream, 2)] {
            for _ in 0..most {
                held.push(capacity.slot(kind).await.expect("a free slot"));
            }
            assert_eq!(capacity.slot(kind).await.err(), Some(QueueRefusal::queue_full));
        }
        held.remove(0);
        assert!(capacity.slot(SlotKind::Request).await.is_ok(), "a slot that was given back is free");
    }

    #[tokio::test]
    async fn the_lower_limit_of_requests_counts_too() {
        let capacity = Capacity::new(limits(3, 1, 0), load());
        let first = capacity.slot(SlotKind::Request).await;
        assert!(first.is_ok() && capacity.try_slot(SlotKind::Request).is_none());
        assert!(capacity.try_connection(SlotKind::Request).is_some(), "a second address may still be tried");
        assert!(capacity.try_slot(SlotKind::Stream).is_some());
    }

    #[tokio::test]
    async fn a_connection_changes_what_it_counts_as() {
        let capacity = Arc::new(Capacity::new(limits(1, 1, 0), load()));
        let pool = Pool::new(Lifetimes::OF_TESTS);
        let mut stream = capacity.open(SlotKind::Request, &pool);
        assert!(stream.becomes_idle());
        stream.becomes_stream();
        let request = capacity.open(SlotKind::Request, &pool);
        assert!(!stream.becomes_idle(), "the other one takes the place");
        drop(request);
        assert!(stream.becomes_idle());
        assert_eq!(capacity.open.load(Ordering::Relaxed), 1);
        drop(stream);
        assert_eq!(capacity.open.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn a_wait_ends_after_its_time() {
        let limits = TargetLimits { queue_wait: Duration::from_millis(50), ..limits(1, 1, 1) };
        let capacity = Capacity::new(limits, load());
        let _held = capacity.slot(SlotKind::Request).await;
        assert_eq!(capacity.slot(SlotKind::Request).await.err(), Some(QueueRefusal::queue_timeout));
        assert_eq!(capacity.waiting.load(Ordering::Relaxed), 0, "it has left the queue");
    }

    #[derive(Clone, Debug)]
    enum Step {
        Ask,
        /// Gives back the slot that was granted at this position.
        Release(usize),
        /// The client of the waiting request at this position hangs up.
        Leave(usize),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            3 => Just(Step::Ask),
            2 => any::<usize>().prop_map(Step::Release),
            1 => any::<usize>().prop_map(Step::Leave),
        ];
        proptest::collection::vec(step, 0..200)
    }

    type Asking<'c> = Pin<Box<dyn Future<Output = Result<Slot, QueueRefusal>> + 'c>>;

    /// Polls every waiting request once. Returns those that were served, by their numbers in the order of arrival.
    fn served<'c>(waiting: &mut VecDeque<(usize, Asking<'c>)>, held: &mut Vec<Slot>) -> Vec<usize> {
        let mut cx = Context::from_waker(Waker::noop());
        let mut numbers = Vec::new();
        waiting.retain_mut(|(number, asking)| match asking.as_mut().poll(&mut cx) {
            Poll::Ready(slot) => {
                held.push(slot.expect("nobody waits for 60 s"));
                numbers.push(*number);
                false
            }
            Poll::Pending => true,
        });
        numbers
    }

    proptest! {
        /// Holds the queue against a model: the first waiter gets the slot, no slot is lost when a waiter leaves, and no
        /// more are served than the limits allow.
        #[test]
        fn the_queue_serves_in_order_and_loses_no_slot(
            steps in steps(), connections in 1..4_usize, requests in 1..4_usize, length in 0..6_usize,
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
            let _entered = runtime.enter();
            let capacity = Capacity::new(limits(connections, requests, length), load());
            let most = connections.min(requests);
            let (mut held, mut waiting) = (Vec::new(), VecDeque::<(usize, Asking<'_>)>::new());
            for (number, step) in steps.into_iter().enumerate() {
                let (free, queued) = (most - held.len(), waiting.len());
                match step {
                    Step::Ask => {
                        let mut asking: Asking<'_> = Box::pin(capacity.slot(SlotKind::Request));
                        match asking.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                            Poll::Ready(Ok(slot)) => {
                                prop_assert!(free > 0 && queued == 0, "a newcomer overtook the queue");
                                held.push(slot);
                            }
                            Poll::Ready(Err(reason)) => {
                                prop_assert_eq!(reason, QueueRefusal::queue_full);
                                prop_assert!(free == 0 && queued == length);
                            }
                            Poll::Pending => {
                                prop_assert!(free == 0 && queued < length);
                                waiting.push_back((number, asking));
                            }
                        }
                    }
                    Step::Release(which) if !held.is_empty() => {
                        let first = waiting.front().map(|(number, _)| *number);
                        held.swap_remove(which % held.len());
                        let served = served(&mut waiting, &mut held);
                        prop_assert_eq!(served, first.into_iter().collect::<Vec<_>>(), "only the first waiter is served");
                    }
                    Step::Leave(which) if !waiting.is_empty() => {
                        let left = waiting.remove(which % waiting.len());
                        drop(left);
                        prop_assert!(served(&mut waiting, &mut held).is_empty(), "nothing became free");
                    }
                    Step::Release(_) | Step::Leave(_) => {}
                }
                prop_assert!(held.len() <= most);
                prop_assert!(waiting.is_empty() || held.len() == most, "a slot is free although a request waits");
                prop_assert_eq!(capacity.waiting.load(Ordering::Relaxed), waiting.len());
            }
            // A waiter that leaves after it was given a slot passes it on.
            while let Some(slot) = held.pop() {
                drop(slot);
                drop(waiting.pop_front());
            }
            drop(waiting);
            let free: Vec<_> = std::iter::from_fn(|| capacity.try_slot(SlotKind::Request)).collect();
            prop_assert_eq!(free.len(), most, "a slot is lost");
        }
    }

    /// Counts those that exist at once.
    struct Counted<'c>(&'c AtomicUsize);

    impl<'c> Counted<'c> {
        fn new(count: &'c AtomicUsize, most: &AtomicUsize) -> Self {
            most.fetch_max(count.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            Self(count)
        }
    }

    impl Drop for Counted<'_> {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// Many tasks ask at once, and every third hangs up while it waits.
    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn concurrent_requests_never_exceed_the_limit() {
        let capacity = Arc::new(Capacity::new(limits(3, 2, 10_000), load()));
        let most_at_once = Arc::new(AtomicUsize::new(0));
        let at_once = Arc::new(AtomicUsize::new(0));
        let mut tasks = tokio::task::JoinSet::new();
        for number in 0..3_000 {
            let (capacity, at_once, most_at_once) = (capacity.clone(), at_once.clone(), most_at_once.clone());
            let task = async move {
                let _slot = capacity.slot(SlotKind::Request).await.expect("room in the queue");
                let _counted = Counted::new(&at_once, &most_at_once);
                tokio::task::yield_now().await;
            };
            if number % 3 == 0 {
                // It is polled a few times and dropped, wherever it stands then.
                tasks.spawn(async move {
                    tokio::select! {
                        biased;
                        () = task => {}
                        () = async { for _ in 0..number % 7 { tokio::task::yield_now().await; } } => {}
                    }
                });
            } else {
                tasks.spawn(task);
            }
        }
        // Ends only if no wake-up is lost.
        while let Some(ended) = tasks.join_next().await {
            ended.expect("no panic");
        }
        assert_eq!(capacity.waiting.load(Ordering::Relaxed), 0);
        assert_eq!(most_at_once.load(Ordering::SeqCst), 2);
        let free: Vec<_> = std::iter::from_fn(|| capacity.try_slot(SlotKind::Request)).collect();
        assert_eq!(free.len(), 2, "no slot is lost");
    }
}
