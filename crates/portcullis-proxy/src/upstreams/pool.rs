//! The idle connections to one target.
//!
//! Nobody reads from an idle connection. When it is taken out again, the pool asks the kernel whether the target has closed
//! it or sent anything meanwhile. A task closes those whose time is over.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::time::Instant;

use super::connection::{Connection, KeepAlive};

/// The most idle connections that are kept for one target, and the most that are settling besides.
const MAX_IDLE: usize = 128;
/// How long a connection must stay silent after a response without a body (HEAD, 204, 304) before it is used again.
const SETTLING: Duration = Duration::from_millis(500);
/// The longest idle time of a connection on which a request is sent that could not be repeated. Some servers close after a
/// second, most after five, and a close can cross a request; the rest of the second is the margin.
const RECENT: Duration = Duration::from_millis(900);

/// The idle connections to a target.
pub(crate) struct Pool(Arc<Shared>);

struct Shared {
    lifetimes: Lifetimes,
    idle: Mutex<Idle>,
}

/// How long the connections of a pool are used.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lifetimes {
    /// The longest time that one is kept idle.
    pub(crate) idle: Duration,
    /// The greatest age at which one is used for another request. `None` means no limit.
    pub(crate) age: Option<Duration>,
}

#[cfg(test)]
impl Lifetimes {
    pub(super) const OF_TESTS: Self = Self { idle: Duration::from_secs(400), age: Some(Duration::from_secs(1000)) };
}

/// Which idle connections a request may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reuse {
    /// None.
    Never,
    /// Those that were used a moment ago: if the target closes the connection at the same time, the request cannot be
    /// repeated.
    Recent,
    /// Any.
    Any,
}

#[derive(Default)]
struct Idle {
    /// Those that may be used. The one that was used last is at the end and taken first.
    ready: Vec<Kept>,
    /// Those that must stay silent for a while, oldest first.
    settling: VecDeque<Kept>,
    /// Whether the task runs that closes those whose time is over.
    is_reaped: bool,
    /// Connections that were opened up to this time are not kept.
    retired: Option<Instant>,
}

struct Kept {
    connection: Box<Connection>,
    since: Instant,
    /// The end of its time.
    until: Instant,
}

impl Pool {
    pub(crate) fn new(lifetimes: Lifetimes) -> Self {
        Self(Arc::new(Shared { lifetimes, idle: Mutex::default() }))
    }

    /// Takes out an idle connection that is open and silent.
    pub(crate) fn take(&self, reuse: Reuse) -> Option<Box<Connection>> {
        match reuse {
            Reuse::Never => None,
            Reuse::Recent | Reuse::Any => self.take_at(Instant::now(), reuse),
        }
    }

    fn take_at(&self, now: Instant, reuse: Reuse) -> Option<Box<Connection>> {
        loop {
            let Kept { mut connection, until, .. } = self.0.lock().pop(now, reuse)?;
            if now < until && connection.is_silent() {
                connection.reused = true;
                return Some(connection);
            }
        }
    }

    /// Keeps a connection for another request, for as long as the settings and the target allow.
    pub(crate) fn release(&self, connection: Box<Connection>, keep_alive: KeepAlive) {
        self.release_at(Instant::now(), connection, keep_alive);
    }

    fn release_at(&self, now: Instant, mut connection: Box<Connection>, keep_alive: KeepAlive) {
        let Lifetimes { idle, age } = self.0.lifetimes;
        let mut until = now + keep_alive.idle.map_or(idle, |announced| announced.min(idle));
        if let Some(age) = age {
            until = until.min(connection.opened + age);
        }
        if until <= now || !connection.becomes_idle() {
            return;
        }
        connection.shrink_buffers();
        let slot = connection.slot.take();
        let kept = Kept { connection, since: now, until };
        let mut idle = self.0.lock();
        let is_retired = idle.retired.is_some_and(|retired| kept.connection.opened <= retired);
        let excess = if is_retired { Some(kept) } else { idle.push(kept, keep_alive.settles) };
        let begins = !std::mem::replace(&mut idle.is_reaped, true);
        drop(idle);
        // Closing a socket takes system calls, for which nobody else has to wait: the lock is released first.
        if let Some(excess) = excess {
            excess.connection.reset();
        }
        // After the connection was put in, so that the request that gets the slot finds it.
        drop(slot);
        if begins {
            tokio::spawn(reap(Arc::downgrade(&self.0)));
        }
    }

    /// Closes the idle connections, and those in use when their requests end.
    pub(super) fn retire(&self) {
        let mut idle = self.0.lock();
        idle.retired = Some(Instant::now());
        let closed = (std::mem::take(&mut idle.ready), std::mem::take(&mut idle.settling));
        drop(idle);
        // After the lock was released.
        drop(closed);
    }

    /// Closes the connection that has been idle longest.
    pub(super) fn close_oldest(&self) {
        let oldest = self.0.lock().pop_oldest();
        // After the lock was released.
        drop(oldest);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Idle {
    fn pop(&mut self, now: Instant, reuse: Reuse) -> Option<Kept> {
        let is_recent = |kept: &Kept| reuse == Reuse::Any || now.duration_since(kept.since) <= RECENT;
        if self.ready.last().is_some_and(is_recent) {
            return self.ready.pop();
        }
        let has_settled = |kept: &Kept| now.duration_since(kept.since) >= SETTLING;
        let settled = self.settling.iter().position(|kept| has_settled(kept) && is_recent(kept))?;
        self.settling.remove(settled)
    }

    /// Adds a connection. Returns the oldest one if there are too many.
    fn push(&mut self, kept: Kept, settles: bool) -> Option<Kept> {
        if settles {
            self.settling.push_back(kept);
            return if self.settling.len() > MAX_IDLE { self.settling.pop_front() } else { None };
        }
        self.ready.push(kept);
        if self.ready.len() > MAX_IDLE { Some(self.ready.remove(0)) } else { None }
    }

    fn pop_oldest(&mut self) -> Option<Kept> {
        let since = |kept: Option<&Kept>| kept.map(|kept| kept.since);
        match (since(self.ready.first()), since(self.settling.front())) {
            (Some(ready), Some(settling)) if settling < ready => self.settling.pop_front(),
            (None, _) => self.settling.pop_front(),
            (Some(_), _) => Some(self.ready.remove(0)),
        }
    }

    /// Takes out those whose time is over.
    fn expired(&mut self, now: Instant) -> Vec<Kept> {
        let mut expired: Vec<_> = self.ready.extract_if(.., |kept| kept.until <= now).collect();
        let (over, settling) = self.settling.drain(..).partition::<VecDeque<_>, _>(|kept| kept.until <= now);
        self.settling = settling;
        expired.extend(over);
        expired
    }

    /// The earliest end of a connection's time.
    fn next_expiry(&self) -> Option<Instant> {
        self.ready.iter().chain(&self.settling).map(|kept| kept.until).min()
    }
}

/// Closes connections whose time is over, until the pool is empty or gone. Without it they would stay until the next
/// request, whether the target has closed them or not.
async fn reap(pool: Weak<Shared>) {
    loop {
        let next = {
            let Some(pool) = pool.upgrade() else { return };
            let mut idle = pool.lock();
            let expired = idle.expired(Instant::now());
            let next = idle.next_expiry();
            idle.is_reaped = next.is_some();
            drop(idle);
            drop(expired);
            next
        };
        let Some(next) = next else { return };
        tokio::time::sleep_until(next).await;
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    const PLAIN: KeepAlive = KeepAlive { idle: None, settles: false };
    const SETTLES: KeepAlive = KeepAlive { idle: None, settles: true };

    fn pool() -> Pool {
        Pool::new(Lifetimes::OF_TESTS)
    }

    /// Connections, and the target's ends of them.
    async fn connections(count: usize) -> (Vec<Box<Connection>>, Vec<TcpStream>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..count {
            ours.push(Connection::new(TcpStream::connect(address).await.expect("it listens")));
            theirs.push(listener.accept().await.expect("a connection").0);
        }
        (ours, theirs)
    }

    async fn connection() -> (Box<Connection>, TcpStream) {
        let (mut ours, mut theirs) = connections(1).await;
        (ours.remove(0), theirs.remove(0))
    }

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    fn milliseconds(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    #[tokio::test]
    async fn a_connection_is_kept_for_its_idle_time() {
        let (pool, (connection, _theirs), begin) = (pool(), connection().await, Instant::now());
        pool.release_at(begin, connection, PLAIN);
        let connection = pool.take_at(begin + seconds(399), Reuse::Any).expect("its time is not over");
        pool.release_at(begin, connection, PLAIN);
        assert!(pool.take_at(begin + seconds(400), Reuse::Any).is_none());
    }

    #[tokio::test]
    async fn an_announced_idle_time_counts_if_it_is_shorter() {
        for (announced, kept) in [(50, 50), (4000, 400)] {
            let (pool, (connection, _theirs), begin) = (pool(), connection().await, Instant::now());
            let keep_alive = KeepAlive { idle: Some(seconds(announced)), settles: false };
            pool.release_at(begin, connection, keep_alive);
            let connection = pool.take_at(begin + seconds(kept - 1), Reuse::Any).expect("its time is not over");
            pool.release_at(begin, connection, keep_alive);
            assert!(pool.take_at(begin + seconds(kept), Reuse::Any).is_none(), "{announced}");
        }
    }

    #[tokio::test]
    async fn a_connection_has_a_greatest_age() {
        let (pool, (connection, _theirs)) = (pool(), connection().await);
        let opened = connection.opened;
        pool.release_at(opened + seconds(700), connection, PLAIN);
        let connection = pool.take_at(opened + seconds(999), Reuse::Any).expect("it is young enough");
        pool.release_at(opened + seconds(999), connection, PLAIN);
        assert!(pool.take_at(opened + seconds(1000), Reuse::Any).is_none());
    }

    #[tokio::test]
    async fn an_unrepeatable_request_takes_none_that_was_idle_for_long() {
        let (pool, (connection, _theirs), begin) = (pool(), connection().await, Instant::now());
        pool.release_at(begin, connection, PLAIN);
        let connection = pool.take_at(begin + RECENT, Reuse::Recent).expect("it was idle for a moment only");
        pool.release_at(begin, connection, PLAIN);
        assert!(pool.take_at(begin + seconds(1), Reuse::Recent).is_none());
        assert!(pool.take_at(begin + seconds(1), Reuse::Any).is_some(), "it stays for others");
    }

    #[tokio::test]
    async fn a_connection_settles_after_a_response_without_a_body() {
        let (pool, (connection, _theirs), begin) = (pool(), connection().await, Instant::now());
        pool.release_at(begin, connection, SETTLES);
        assert!(pool.take_at(begin + milliseconds(499), Reuse::Any).is_none());
        let connection = pool.take_at(begin + milliseconds(500), Reuse::Recent).expect("it was silent");
        pool.release_at(begin, connection, SETTLES);
        assert!(pool.take_at(begin + seconds(1), Reuse::Recent).is_none(), "it was idle for long");
        assert!(pool.take_at(begin + seconds(1), Reuse::Any).is_some());
    }

    #[tokio::test]
    async fn late_bytes_make_a_connection_unusable() {
        for keep_alive in [PLAIN, SETTLES] {
            let (pool, (connection, mut theirs), begin) = (pool(), connection().await, Instant::now());
            pool.release_at(begin, connection, keep_alive);
            theirs.write_all(b"late").await.expect("it is open");
            assert!(pool.take_at(begin + SETTLING, Reuse::Any).is_none());
            assert!(theirs.read(&mut [0]).await.is_err(), "unread bytes make it a reset");
        }
    }

    #[tokio::test]
    async fn connections_are_closed_when_their_time_is_over() {
        let (ours, theirs) = connections(3).await;
        let pool = Pool::new(Lifetimes { idle: milliseconds(20), age: None });
        for (connection, keep_alive) in ours.into_iter().zip([PLAIN, SETTLES, PLAIN]) {
            pool.release(connection, keep_alive);
        }
        for mut theirs in theirs {
            assert_eq!(theirs.read(&mut [0]).await.expect("an end"), 0);
        }
        assert!(!pool.0.lock().is_reaped, "nothing is left to wait for");
    }

    #[tokio::test]
    async fn a_dropped_pool_closes_its_connections() {
        let (pool, (connection, mut theirs)) = (pool(), connection().await);
        pool.release(connection, PLAIN);
        drop(pool);
        assert_eq!(theirs.read(&mut [0]).await.expect("an end"), 0);
    }

    #[tokio::test]
    async fn at_most_the_limit_of_idle_connections_is_kept() {
        for keep_alive in [PLAIN, SETTLES] {
            let (pool, (ours, mut theirs)) = (pool(), connections(MAX_IDLE + 1).await);
            for connection in ours {
                pool.release(connection, keep_alive);
            }
            assert!(theirs[0].read(&mut [0]).await.is_err(), "the oldest one is reset");
            let idle = pool.0.lock();
            assert_eq!(idle.ready.len() + idle.settling.len(), MAX_IDLE);
        }
    }

    #[tokio::test]
    async fn the_oldest_connection_makes_room() {
        let (pool, (ours, mut theirs)) = (pool(), connections(3).await);
        for (connection, keep_alive) in ours.into_iter().zip([PLAIN, SETTLES, PLAIN]) {
            pool.release(connection, keep_alive);
        }
        for theirs in &mut theirs {
            pool.close_oldest();
            assert_eq!(theirs.read(&mut [0]).await.expect("an end"), 0);
        }
        pool.close_oldest();
    }

    #[tokio::test]
    async fn a_retired_pool_keeps_newer_connections_only() {
        let (pool, (ours, mut theirs)) = (pool(), connections(3).await);
        let mut ours = ours.into_iter();
        for keep_alive in [PLAIN, SETTLES] {
            pool.release(ours.next().expect("there are three"), keep_alive);
        }
        pool.retire();
        pool.release(ours.next().expect("there are three"), PLAIN);
        for theirs in &mut theirs {
            assert!(matches!(theirs.read(&mut [0]).await, Ok(0) | Err(_)), "it is closed");
        }
        let (newer, _theirs) = connection().await;
        pool.release(newer, PLAIN);
        assert!(pool.take(Reuse::Any).is_some());
    }

    #[tokio::test]
    async fn no_connection_is_kept_without_an_idle_time() {
        let (connection, mut theirs) = connection().await;
        Pool::new(Lifetimes { idle: Duration::ZERO, age: None }).release(connection, PLAIN);
        assert_eq!(theirs.read(&mut [0]).await.expect("an end"), 0);
    }
}
