//! Limits the clients' connections, in total and by address (SR-40).

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use portcullis_telemetry::Metrics;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Shortest time between two log lines about refused connections.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// The limits, and the connections that count against them. Shows the gauges `connections_open` and
/// `connections_refused`.
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

/// Counts one open connection until it is dropped.
pub(crate) struct ConnectionPermit {
    limit: Arc<ConnectionLimit>,
    /// `None` if the connection does not count against the limit by address.
    network: Option<Network>,
    _slot: OwnedSemaphorePermit,
}

impl ConnectionLimit {
    /// Allows `max` connections in total and `max_per_address` of each IPv4 address or IPv6 /64.
    pub fn new(max: usize, max_per_address: usize, metrics: &Metrics) -> Arc<Self> {
        let limit = Arc::new(Self {
            free: Arc::new(Semaphore::new(max)),
            max,
            max_per_network: max_per_address,
            open: Mutex::default(),
            refused: AtomicU64::new(0),
            logged: Mutex::default(),
        });
        let watched = Arc::downgrade(&limit);
        let open = move || {
            let open = watched.upgrade().map_or(0, |limit| limit.max - limit.free.available_permits());
            f64::from(u32::try_from(open).unwrap_or(u32::MAX))
        };
        metrics.gauge_fn("connections_open", "Client connections that are open", Box::new(open));
        let watched = Arc::downgrade(&limit);
        let refused = move || {
            let refused = watched.upgrade().map_or(0, |limit| limit.refused.load(Ordering::Relaxed));
            f64::from(u32::try_from(refused).unwrap_or(u32::MAX))
        };
        let help = "Connections that were closed at once because their address had too many";
        metrics.gauge_fn("connections_refused", help, Box::new(refused));
        limit
    }

    /// Waits until another connection may be opened. Until then new connections wait in the kernel's backlog, where
    /// they use no memory of this process and the client's own timeout applies.
    pub(crate) async fn wait_for_slot(&self) -> OwnedSemaphorePermit {
        Arc::clone(&self.free).acquire_owned().await.expect("the semaphore is never closed")
    }

    /// Counts a connection that uses `slot`. `None` if `address` has too many connections already. A connection without
    /// an `address` counts against the total only.
    pub(crate) fn count(
        self: &Arc<Self>,
        address: Option<IpAddr>,
        slot: OwnedSemaphorePermit,
    ) -> Option<ConnectionPermit> {
        let network = address.map(network_of);
        if let Some(network) = network {
            let mut open = self.open();
            let count = open.entry(network).or_default();
            if *count >= self.max_per_network {
                drop(open);
                self.note_refusal(address);
                return None;
            }
            *count += 1;
        }
        Some(ConnectionPermit { limit: Arc::clone(self), network, _slot: slot })
    }

    fn note_refusal(&self, address: Option<IpAddr>) {
        self.refused.fetch_add(1, Ordering::Relaxed);
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        if logged.is_none_or(|at| at.elapsed() >= LOG_INTERVAL) {
            *logged = Some(Instant::now());
            let (address, limit) = (address.map(|address| address.to_string()), self.max_per_network);
            tracing::warn!(
                address,
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

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        let Some(network) = self.network else { return };
        let mut open = self.limit.open();
        if let Some(count) = open.get_mut(&network) {
            *count -= 1;
            if *count == 0 {
                open.remove(&network);
            }
        }
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

    #[tokio::test]
    async fn an_address_is_limited_until_a_connection_closes() {
        let limit = ConnectionLimit::new(10, 2, &Metrics::new(&MetricsOptions::default(), "1"));
        let open = async |text: &str| {
            let slot = limit.wait_for_slot().await;
            limit.count(Some(text.parse().expect("an address")), slot)
        };
        let first = open("2001:db8::1").await.expect("below the limit");
        let second = open("2001:db8::2").await.expect("below the limit");
        assert!(open("2001:db8::3").await.is_none(), "a /64 counts as one address");
        assert!(open("::ffff:203.0.113.1").await.is_some() && open("203.0.113.1").await.is_some());
        drop(first);
        let third = open("2001:db8::3").await.expect("the first connection has closed");
        assert_eq!(limit.refused.load(Ordering::Relaxed), 1);
        drop((second, third));
        assert!(limit.open().is_empty(), "closed connections leave no entry");
        assert_eq!(limit.free.available_permits(), 10);
    }
}
