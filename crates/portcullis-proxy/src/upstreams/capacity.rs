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
mod tests;
