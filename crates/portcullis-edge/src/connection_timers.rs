//! Closes connections whose client is too slow (SR-40): to send a request's head, to begin the next request, or to read
//! a response.
//!
//! Each connection has one coarse timer, which compares what it waits for with what it waited for at the last check. So
//! a request needs no timer of its own.

use std::time::Duration;

use tokio::time::{Instant, Interval, MissedTickBehavior};

/// Checks within the shortest timeout. A client gets at most this fraction of its timeout in addition.
const CHECKS_PER_TIMEOUT: u32 = 4;
/// Shortest interval between two checks, however short the timeout.
const MIN_INTERVAL: Duration = Duration::from_millis(50);

/// How long the edge waits for a client.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionTimeouts {
    /// For a complete request head (`server.header_timeout`). The first head's time begins with the connection.
    pub header: Duration,
    /// For the next request on a connection (`server.idle_timeout`).
    pub idle: Duration,
    /// For the client to read the next part of a response (`server.send_timeout`).
    pub send: Duration,
}

/// The timer of one connection.
pub(crate) struct ConnectionTimers {
    interval: Interval,
    timeouts: ConnectionTimeouts,
    /// What the connection waited for at the last check, and since when.
    waiting: Option<(ClientWait, Instant)>,
}

/// What a connection waits for its client to do. The numbers tell two waits of the same kind apart.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum ClientWait {
    /// Send the rest of the head with this number.
    Head(u64),
    /// Send the first byte of the request with this number.
    Request(u64),
    /// Read, for the stall with this number: the socket's send buffer is full.
    Read(u64),
}

impl ConnectionTimers {
    pub(crate) fn new(timeouts: ConnectionTimeouts) -> Self {
        let shortest = timeouts.header.min(timeouts.idle).min(timeouts.send);
        let period = (shortest / CHECKS_PER_TIMEOUT).max(MIN_INTERVAL);
        let mut interval = tokio::time::interval_at(Instant::now() + period, period);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { interval, timeouts, waiting: None }
    }

    /// Waits until the next check is due.
    pub(crate) async fn tick(&mut self) {
        self.interval.tick().await;
    }

    pub(crate) fn send_timeout(&self) -> Duration {
        self.timeouts.send
    }

    /// Whether the client has exceeded its timeout. `waiting` is `None` while the connection does not wait for the
    /// client: a slow upstream is not charged to it.
    pub(crate) fn is_expired(&mut self, waiting: Option<ClientWait>) -> bool {
        let Some(waiting) = waiting else {
            self.waiting = None;
            return false;
        };
        let now = Instant::now();
        let timeout = match waiting {
            ClientWait::Head(_) => self.timeouts.header,
            ClientWait::Request(_) => self.timeouts.idle,
            ClientWait::Read(_) => self.timeouts.send,
        };
        match self.waiting {
            Some((known, since)) if known == waiting => now.duration_since(since) >= timeout,
            _ => {
                // The wait began after the last check, so counting from now gives the client at most one interval more.
                self.waiting = Some((waiting, now));
                false
            }
        }
    }
}
