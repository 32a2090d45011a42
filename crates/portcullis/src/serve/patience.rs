//! How long a client may take (requirement 40): for a request's head, between two requests, and to take a piece of an
//! answer. One coarse timer a connection looks at what has happened since it last looked, so that requests need none of
//! their own.

use std::time::Duration;

use portcullis_gate::Heads;
use tokio::time::{Instant, Interval, MissedTickBehavior};

use super::speaker::Turn;

/// How often it is looked within the shorter limit. A client gets at most this fraction more than its time.
const LOOKS: u32 = 4;
/// Not more often than this, however short the limit.
const SHORTEST: Duration = Duration::from_millis(50);

/// What is known of a connection's waiting.
pub(super) struct Patience {
    looks: Interval,
    header: Duration,
    idle: Duration,
    send: Duration,
    /// What the connection was waiting for when it was last looked, and since when.
    waiting: Option<(Waiting, Instant)>,
}

/// What a connection waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Waiting {
    /// The rest of the head of this number.
    Head(u64),
    /// The first byte of the request of this number.
    Request(u64),
    /// Room for a piece of an answer, for the time of this number.
    Room(u64),
}

impl Patience {
    pub(super) fn new(header: Duration, idle: Duration, send: Duration) -> Self {
        let every = (header.min(idle).min(send) / LOOKS).max(SHORTEST);
        let mut looks = tokio::time::interval_at(Instant::now() + every, every);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { looks, header, idle, send, waiting: None }
    }

    /// Until it is time to look.
    pub(super) async fn next(&mut self) {
        self.looks.tick().await;
    }

    /// Looks, and says whether the client has used up its time.
    pub(super) fn is_over(&mut self, turn: &Turn, heads: &Heads) -> bool {
        let now = Instant::now();
        let requests = heads.requests();
        let (waiting, most) = if let Some(stall) = turn.stalled() {
            (Waiting::Room(stall), self.send)
        } else if !turn.is_idle() {
            self.waiting = None;
            return false;
        } else if heads.is_head_begun() || requests == 0 {
            // The first request of a connection is waited for no longer than a head.
            (Waiting::Head(requests), self.header)
        } else {
            (Waiting::Request(requests), self.idle)
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
