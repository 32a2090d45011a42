//! How long a client may take (requirement 40): for a request's head, between two requests, and to take a piece of an
//! answer. One coarse timer a connection looks at what has happened since it last looked, so that requests need none of
//! their own.

use std::time::Duration;

use tokio::time::{Instant, Interval, MissedTickBehavior};

/// How often it is looked within the shortest limit. A client gets at most this fraction more than its time.
const LOOKS: u32 = 4;
/// Not more often than this, however short the limit.
const SHORTEST: Duration = Duration::from_millis(50);

/// How long a client may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    /// For a head.
    pub(super) header: Duration,
    /// Between two requests.
    pub(super) idle: Duration,
    /// To take a piece of an answer.
    pub(super) send: Duration,
}

/// What is known of a connection's waiting.
pub(super) struct Patience {
    looks: Interval,
    times: Times,
    /// What the connection was waiting for when it was last looked, and since when.
    waiting: Option<(Waiting, Instant)>,
}

/// What a connection waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Waiting {
    /// The rest of the head of this number.
    Head(u64),
    /// The first byte of the request of this number.
    Request(u64),
    /// Room for a piece of an answer, for the time of this number.
    Room(u64),
}

impl Patience {
    pub(super) fn new(times: Times) -> Self {
        let every = (times.header.min(times.idle).min(times.send) / LOOKS).max(SHORTEST);
        let mut looks = tokio::time::interval_at(Instant::now() + every, every);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { looks, times, waiting: None }
    }

    /// Until it is time to look.
    pub(super) async fn next(&mut self) {
        self.looks.tick().await;
    }

    /// How long a client may take no piece of an answer.
    pub(super) fn send(&self) -> Duration {
        self.times.send
    }

    /// Looks, and says whether the client has used up its time. `None` when it is not the client that is waited for.
    pub(super) fn is_over(&mut self, waiting: Option<Waiting>) -> bool {
        let Some(waiting) = waiting else {
            self.waiting = None;
            return false;
        };
        let now = Instant::now();
        let most = match waiting {
            Waiting::Head(_) => self.times.header,
            Waiting::Request(_) => self.times.idle,
            Waiting::Room(_) => self.times.send,
        };
        match self.waiting {
            Some((known, since)) if known == waiting => now.duration_since(since) >= most,
            _ => {
                // It began after the look before this one: at most one look too early to count from here.
                self.waiting = Some((waiting, now));
                false
            }
        }
    }
}
