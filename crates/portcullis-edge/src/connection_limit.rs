//! Limits the clients' connections, in total and by address (SR-40).

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use portcullis_telemetry::{Metrics, ReadMetric};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::task_tracker::TaskTrackerToken;

/// Shortest time between two log lines about refused connections.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// The limits, and the connections that count against them. Shows `connections_open` and
/// `connections_refused_total`.
pub struct ConnectionLimit {
    free: Arc<Semaphore>,
    max: usize,
    max_per_network: usize,
    /// Open connections by network; a network without a connection has no entry.
    open: Mutex<HashMap<Network, usize>>,
    refused: AtomicU64,
    logged: Mutex<Option<Instant>>,
}

/// An IPv4 address, or the /64 of an IPv6 address: what one customer of a provider gets.
type Network = [u8; 8];

/// Counts one open connection until it is dropped, and makes the shutdown wait for it. It lives with the socket, so that
/// a connection that was upgraded or lingers still counts (SR-55).
pub(crate) struct ConnectionPermit {
    limit: Arc<ConnectionLimit>,
    /// `None` if the connection does not count against the limit by address.
    network: Option<Network>,
    _slot: OwnedSemaphorePermit,
    _running: TaskTrackerToken,
}

/// The address has as many connections as one address may have.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooManyConnections;

impl ConnectionLimit {
    /// Allows `max` connections in total and `max_per_address` of each IPv4 address or IPv6 /64, and shows them as metrics.
    pub fn new(max: usize, max_per_address: usize, metrics: &Metrics) -> Arc<Self> {
        let limit = Self::unmeasured(max, max_per_address);
        let watched = Arc::downgrade(&limit);
        let open = move || watched.upgrade().map(|limit| (limit.max - limit.free.available_permits()) as f64);
        metrics.read_value(ReadMetric::ConnectionsOpen, open);
        let watched = Arc::downgrade(&limit);
        let refused = move || watched.upgrade().map(|limit| limit.refused.load(Ordering::Relaxed) as f64);
        metrics.read_value(ReadMetric::ConnectionsRefused, refused);
        limit
    }

    /// Allows as many connections, and shows no metrics: those are of the main listener.
    pub fn unmeasured(max: usize, max_per_address: usize) -> Arc<Self> {
        Arc::new(Self {
            free: Arc::new(Semaphore::new(max)),
            max,
            max_per_network: max_per_address,
            open: Mutex::default(),
            refused: AtomicU64::new(0),
            logged: Mutex::default(),
        })
    }

    /// Waits until another connection may be opened. Until then new connections wait in the kernel's backlog, where
    /// they use no memory of this process and the client's own timeout applies.
    pub(crate) async fn wait_for_slot(&self) -> OwnedSemaphorePermit {
        Arc::clone(&self.free).acquire_owned().await.expect("the semaphore is never closed")
    }

    /// Counts a connection that uses `slot`, against the total only. `running` makes the shutdown wait for it.
    pub(crate) fn count(self: &Arc<Self>, slot: OwnedSemaphorePermit, running: TaskTrackerToken) -> ConnectionPermit {
        ConnectionPermit { limit: Arc::clone(self), network: None, _slot: slot, _running: running }
    }

    fn note_refusal(&self, address: IpAddr) {
        self.refused.fetch_add(1, Ordering::Relaxed);
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        if logged.is_none_or(|at| at.elapsed() >= LOG_INTERVAL) {
            *logged = Some(Instant::now());
            let limit = self.max_per_network;
            tracing::warn!(
                %address,
                limit,
                "connections refused: their address has too many; hint: raise server.max_connections_per_address, or \
                 add the address to server.trusted_proxies if it is your proxy"
            );
        }
    }

    fn open(&self) -> MutexGuard<'_, HashMap<Network, usize>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ConnectionPermit {
    /// Counts the connection against the limit of `address` from now on.
    ///
    /// # Errors
    /// When the address has too many connections already.
    pub(crate) fn count_address(&mut self, address: IpAddr) -> Result<(), TooManyConnections> {
        self.release_address();
        let network = network_of(address);
        let mut open = self.limit.open();
        let count = open.entry(network).or_default();
        if *count >= self.limit.max_per_network {
            drop(open);
            self.limit.note_refusal(address);
            return Err(TooManyConnections);
        }
        *count += 1;
        self.network = Some(network);
        Ok(())
    }

    fn release_address(&mut self) {
        let Some(network) = self.network.take() else { return };
        let mut open = self.limit.open();
        if let Some(count) = open.get_mut(&network) {
            *count -= 1;
            if *count == 0 {
                open.remove(&network);
            }
        }
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.release_address();
    }
}

fn network_of(address: IpAddr) -> Network {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            let [a, b, c, d] = v4.octets();
            // No /64 in use begins with four zero bytes (RFC 4291 §2.5.5).
            [0, 0, 0, 0, a, b, c, d]
        }
        IpAddr::V6(v6) => v6.octets()[..8].try_into().expect("eight of sixteen"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_telemetry::MetricsOptions;
    use tokio_util::task::TaskTracker;

    #[tokio::test]
    async fn an_address_is_limited_until_a_connection_closes() {
        let (limit, tasks) =
            (ConnectionLimit::new(10, 2, &Metrics::new(&MetricsOptions::default(), "1")), TaskTracker::new());
        let open = async |text: &str| {
            let mut permit = limit.count(limit.wait_for_slot().await, tasks.token());
            permit.count_address(text.parse().expect("an address")).map(|()| permit)
        };
        let mut first = open("2001:db8::1").await.expect("below the limit");
        let second = open("2001:db8::2").await.expect("below the limit");
        assert!(open("2001:db8::3").await.is_err(), "a /64 counts as one address");
        assert!(open("::ffff:203.0.113.1").await.is_ok() && open("203.0.113.1").await.is_ok());
        first.count_address("2001:db8:1::1".parse().expect("an address")).expect("another address");
        first.count_address("2001:db8::1".parse().expect("an address")).expect("its first address has room again");
        drop(first);
        let third = open("2001:db8::3").await.expect("the first connection has closed");
        assert_eq!(limit.refused.load(Ordering::Relaxed), 1);
        drop((second, third));
        assert!(limit.open().is_empty(), "closed connections leave no entry");
        assert_eq!((limit.free.available_permits(), tasks.len()), (10, 0));
    }
}
