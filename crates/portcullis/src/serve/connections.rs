//! How many connections there are, in all and of one address (requirement 40).

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use portcullis_telemetry::Metrics;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How often a refusal is told in the log.
const TOLD_EVERY: Duration = Duration::from_secs(60);

/// Counts connections.
pub(super) struct Connections {
    free: Arc<Semaphore>,
    most: usize,
    most_of_one: usize,
    open: Mutex<HashMap<[u8; 8], usize>>,
    refused: AtomicU64,
    told: Mutex<Option<Instant>>,
}

/// An open connection; dropping it closes the books on it.
pub(super) struct Counted {
    connections: Arc<Connections>,
    of: Option<[u8; 8]>,
    _permit: OwnedSemaphorePermit,
}

impl Connections {
    pub(super) fn new(most: usize, most_of_one: usize, metrics: &Metrics) -> Arc<Self> {
        let connections = Arc::new(Self {
            free: Arc::new(Semaphore::new(most)),
            most,
            most_of_one,
            open: Mutex::default(),
            refused: AtomicU64::new(0),
            told: Mutex::default(),
        });
        let watched = Arc::downgrade(&connections);
        let open = move || {
            let open = watched.upgrade().map_or(0, |known| known.most - known.free.available_permits());
            f64::from(u32::try_from(open).unwrap_or(u32::MAX))
        };
        metrics.gauge_fn("connections_open", "Connections of clients that are open.", Box::new(open));
        let watched = Arc::downgrade(&connections);
        let refused = move || {
            let refused = watched.upgrade().map_or(0, |known| known.refused.load(Ordering::Relaxed));
            f64::from(u32::try_from(refused).unwrap_or(u32::MAX))
        };
        let help = "Connections that were closed at once because their address had too many.";
        metrics.gauge_fn("connections_refused", help, Box::new(refused));
        connections
    }

    /// Waits until another connection may be open. Those that come meanwhile wait in the kernel's backlog, where they
    /// cost nothing here and a client's own timeout applies.
    pub(super) async fn room(&self) -> OwnedSemaphorePermit {
        Arc::clone(&self.free).acquire_owned().await.expect("it is never closed")
    }

    /// Counts a connection of `address`, unless there are too many of it. `None` is an address that is not counted.
    pub(super) fn count(self: &Arc<Self>, address: Option<IpAddr>, permit: OwnedSemaphorePermit) -> Option<Counted> {
        let of = address.map(place);
        if let Some(of) = of {
            let mut open = self.open();
            let count = open.entry(of).or_default();
            if *count >= self.most_of_one {
                drop(open);
                self.refuse(address);
                return None;
            }
            *count += 1;
        }
        Some(Counted { connections: Arc::clone(self), of, _permit: permit })
    }

    fn refuse(&self, address: Option<IpAddr>) {
        self.refused.fetch_add(1, Ordering::Relaxed);
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.is_none_or(|at| at.elapsed() >= TOLD_EVERY) {
            *told = Some(Instant::now());
            let (address, most) = (address.map(|address| address.to_string()), self.most_of_one);
            tracing::warn!(address, most, "too many connections of one address: server.max_connections_per_address");
        }
    }

    fn open(&self) -> MutexGuard<'_, HashMap<[u8; 8], usize>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let Some(of) = self.of else { return };
        let mut open = self.connections.open();
        if let Some(count) = open.get_mut(&of) {
            *count -= 1;
            if *count == 0 {
                open.remove(&of);
            }
        }
    }
}

/// An IPv4 address, or the /64 of an IPv6 one: what one customer is given.
fn place(address: IpAddr) -> [u8; 8] {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            let [a, b, c, d] = v4.octets();
            // No /64 that is in use begins so (RFC 4291 §2.5.5).
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
    async fn one_address_has_its_share_and_gets_it_back() {
        let connections = Connections::new(10, 2, &Metrics::new(&MetricsOptions::default(), "1"));
        let open = async |text: &str| {
            let permit = connections.room().await;
            connections.count(Some(text.parse().expect("an address")), permit)
        };
        let first = open("2001:db8::1").await.expect("room");
        let second = open("2001:db8::2").await.expect("room");
        assert!(open("2001:db8::3").await.is_none(), "one /64 is one customer");
        assert!(open("::ffff:203.0.113.1").await.is_some() && open("203.0.113.1").await.is_some());
        drop(first);
        let third = open("2001:db8::3").await.expect("its share is free again");
        assert_eq!(connections.refused.load(Ordering::Relaxed), 1);
        drop((second, third));
        assert!(connections.open().is_empty(), "nothing is kept of those who left");
        assert_eq!(connections.free.available_permits(), 10);
    }
}
