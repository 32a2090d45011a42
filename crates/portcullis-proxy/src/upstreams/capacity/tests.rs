//! The limits and the queue, the latter held against a model.

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
    TargetLimits { max_connections, max_requests, max_streams: 2, queue_length, queue_wait: Duration::from_secs(60) }
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
