//! The timer of a connection.

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use tokio::time::{Instant, Sleep};

/// A timer that stays with its connection from request to request. It is registered with the runtime at its earliest
/// deadline and moved only when that has passed, so a request that is answered before costs neither a registration nor an
/// allocation.
#[derive(Default)]
pub(crate) struct ConnectionTimer(Option<Pin<Box<Sleep>>>);

impl ConnectionTimer {
    /// Is ready once the deadline has passed.
    pub(crate) fn poll(&mut self, deadline: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let sleep = self.0.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if deadline < sleep.deadline() {
            sleep.as_mut().reset(deadline);
        }
        loop {
            // A peer that sends without end uses up the task's budget, and must not stop the timer by that.
            ready!(pin!(tokio::task::coop::unconstrained(sleep.as_mut())).poll(cx));
            if Instant::now() >= deadline {
                return Poll::Ready(());
            }
            // It was registered for an earlier request.
            sleep.as_mut().reset(deadline);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::task::Waker;
    use std::time::Duration;

    use super::*;

    /// The time that the timer takes until this deadline, both counted from now.
    async fn waited(timer: &mut ConnectionTimer, wait: Duration) -> Duration {
        let begin = Instant::now();
        poll_fn(|cx| timer.poll(begin + wait, cx)).await;
        begin.elapsed()
    }

    #[tokio::test]
    async fn no_wait_is_shorter_than_its_own_deadline() {
        let mut timer = ConnectionTimer::default();
        for wait in [30, 5, 60, 30].map(Duration::from_millis) {
            assert!(waited(&mut timer, wait).await >= wait);
        }
    }

    #[tokio::test]
    async fn an_abandoned_wait_does_not_delay_the_next() {
        let mut timer = ConnectionTimer::default();
        let mut cx = Context::from_waker(Waker::noop());
        let hour = Duration::from_secs(3600);
        assert!(timer.poll(Instant::now() + hour, &mut cx).is_pending());
        assert!(waited(&mut timer, Duration::from_millis(5)).await < hour);
    }
}
