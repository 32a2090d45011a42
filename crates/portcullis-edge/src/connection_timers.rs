//! Closes connections whose client is too slow (SR-40): to send a request's head, to begin the next request, or to read
//! a response.
//!
//! Each connection has one timer. Whenever the connection's task runs, it compares what the connection waits for with
//! what it waited for before, and notes the time if that has changed. The timer is set again only if it would fire too
//! late; if it fires too early, it is set to the time that is left. So a request needs no timer of its own.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

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
    timeouts: ConnectionTimeouts,
    /// Never fires after the deadline of `waiting`.
    timer: Pin<Box<Sleep>>,
    /// What the connection waits for, and since when.
    waiting: Option<(ClientWait, Instant)>,
}

/// What a connection waits for its client to do. The numbers tell two waits of the same kind apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClientWait {
    /// Send the rest of the head with this number.
    Head(u64),
    /// Send the first byte of the request with this number.
    Request(u64),
    /// Read, for the stall with this number: the socket's send buffer is full.
    Read(u64),
    /// Take the next part of a response after the client has closed its sending side. The number counts the parts.
    Part(u64),
}

impl ConnectionTimers {
    /// Makes the timer of a connection that begins now. Its client must send the first head.
    pub(crate) fn new(timeouts: ConnectionTimeouts) -> Self {
        let now = Instant::now();
        let timer = Box::pin(tokio::time::sleep_until(now + timeouts.header));
        Self { timeouts, timer, waiting: Some((ClientWait::Head(0), now)) }
    }

    pub(crate) fn timeouts(&self) -> &ConnectionTimeouts {
        &self.timeouts
    }

    /// Waits until the client has exceeded its timeout. `waiting` is asked whenever the connection's task runs; it
    /// returns `None` while the connection does not wait for the client: a slow upstream is not charged to it.
    pub(crate) async fn expired(&mut self, waiting: impl Fn() -> Option<ClientWait>) {
        poll_fn(|cx| self.poll_expired(cx, waiting())).await;
    }

    /// Waits until the client has exceeded the timeout of what the connection waits for now.
    pub(crate) async fn expired_unchanged(&mut self) {
        let waiting = self.waiting.map(|(waiting, _)| waiting);
        self.expired(|| waiting).await;
    }

    /// Waits until the connection has waited so long for its next request, or the client has exceeded its timeout.
    pub(crate) async fn idle_for(&mut self, idle: Duration, waiting: impl Fn() -> Option<ClientWait>) -> Expiry {
        poll_fn(|cx| {
            let waiting = waiting();
            self.note(waiting);
            match self.waiting {
                Some((ClientWait::Request(_), since)) if idle < self.timeouts.idle => {
                    self.poll_timer(cx, since + idle).map(|()| Expiry::Idle)
                }
                _ => self.poll_expired(cx, waiting).map(|()| Expiry::TimedOut),
            }
        })
        .await
    }

    /// Forgets what the connection waited for, so that the same wait begins anew.
    pub(crate) fn restart(&mut self) {
        self.waiting = None;
    }

    fn poll_expired(&mut self, cx: &mut Context<'_>, waiting: Option<ClientWait>) -> Poll<()> {
        self.note(waiting);
        // Without a wait the timer may fire and wake the task in vain, at most once for each timeout.
        let Some((waiting, since)) = self.waiting else { return Poll::Pending };
        let timeout = match waiting {
            ClientWait::Head(_) => self.timeouts.header,
            ClientWait::Request(_) => self.timeouts.idle,
            ClientWait::Read(_) | ClientWait::Part(_) => self.timeouts.send,
        };
        self.poll_timer(cx, since + timeout)
    }

    fn note(&mut self, waiting: Option<ClientWait>) {
        if self.waiting.map(|(known, _)| known) != waiting {
            self.waiting = waiting.map(|waiting| (waiting, Instant::now()));
        }
    }

    fn poll_timer(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        if self.timer.deadline() > deadline {
            self.timer.as_mut().reset(deadline);
        }
        loop {
            ready!(self.timer.as_mut().poll(cx));
            if self.timer.deadline() >= deadline {
                return Poll::Ready(());
            }
            self.timer.as_mut().reset(deadline);
        }
    }
}

/// Why a wait for the next request was broken off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expiry {
    /// The client has exceeded its timeout.
    TimedOut,
    /// The connection has been idle for a while.
    Idle,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::Waker;

    const HEAD: ClientWait = ClientWait::Head(1);
    const REQUEST: ClientWait = ClientWait::Request(1);

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn timers() -> ConnectionTimers {
        ConnectionTimers::new(ConnectionTimeouts { header: seconds(10), idle: seconds(75), send: seconds(60) })
    }

    /// Whether the client has exceeded its timeout when the task runs now.
    fn is_expired(timers: &mut ConnectionTimers, waiting: Option<ClientWait>) -> bool {
        timers.poll_expired(&mut Context::from_waker(Waker::noop()), waiting).is_ready()
    }

    /// Moves everything that the timers remember into the past, and lets the runtime notice it.
    async fn pass(timers: &mut ConnectionTimers, time: Duration) {
        timers.waiting = timers.waiting.map(|(waiting, since)| (waiting, since - time));
        let deadline = timers.timer.deadline();
        timers.timer.as_mut().reset(deadline - time);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }

    #[tokio::test]
    async fn sr_40_a_wait_expires_at_its_setting() {
        for (waiting, setting) in [(HEAD, 10), (REQUEST, 75), (ClientWait::Read(1), 60), (ClientWait::Part(1), 60)] {
            let mut timers = timers();
            assert!(!is_expired(&mut timers, None));
            pass(&mut timers, seconds(7)).await;
            assert!(!is_expired(&mut timers, Some(waiting)), "the wait begins now");
            // A machine that is busy may take some of the five seconds.
            pass(&mut timers, seconds(setting - 5)).await;
            assert!(!is_expired(&mut timers, Some(waiting)), "{waiting:?} expires too early");
            pass(&mut timers, seconds(5)).await;
            assert!(is_expired(&mut timers, Some(waiting)), "{waiting:?} expires too late");
        }
    }

    #[tokio::test]
    async fn the_timer_is_set_to_the_time_that_is_left() {
        let mut timers = timers();
        assert!(!is_expired(&mut timers, Some(REQUEST)));
        pass(&mut timers, seconds(30)).await;
        assert!(!is_expired(&mut timers, Some(REQUEST)));
        let left = timers.timer.deadline() - Instant::now();
        assert!(left <= seconds(45) && left > seconds(40), "{left:?}");
        assert!(!is_expired(&mut timers, Some(HEAD)));
        let left = timers.timer.deadline() - Instant::now();
        assert!(left <= seconds(10) && left > seconds(5), "a shorter wait: {left:?}");
    }

    #[tokio::test]
    async fn the_first_head_is_timed_from_the_connection_on() {
        let mut timers = timers();
        pass(&mut timers, seconds(10)).await;
        assert!(is_expired(&mut timers, Some(ClientWait::Head(0))));
    }

    #[tokio::test]
    async fn a_new_wait_of_the_same_kind_begins_anew() {
        let mut timers = timers();
        for number in 1..5 {
            assert!(!is_expired(&mut timers, Some(ClientWait::Head(number))), "{number}");
            pass(&mut timers, seconds(9)).await;
        }
        assert!(!is_expired(&mut timers, Some(ClientWait::Head(4))));
        pass(&mut timers, seconds(1)).await;
        assert!(is_expired(&mut timers, Some(ClientWait::Head(4))));
    }

    #[tokio::test]
    async fn an_idle_connection_is_noticed_before_its_timeout() {
        let mut timers = timers();
        assert!(!is_expired(&mut timers, Some(REQUEST)));
        pass(&mut timers, seconds(2)).await;
        assert_eq!(timers.idle_for(seconds(2), || Some(REQUEST)).await, Expiry::Idle);
        pass(&mut timers, seconds(70)).await;
        assert!(!is_expired(&mut timers, Some(REQUEST)));
        pass(&mut timers, seconds(3)).await;
        assert!(is_expired(&mut timers, Some(REQUEST)), "the time until then counts");
    }
}
