//! One address of an upstream, and the connections to it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::HeaderValue;
use portcullis_telemetry::UpstreamLoad;
use tokio::time::{Instant, timeout_at};
use url::Url;

use super::capacity::{Capacity, Slot, TargetLimits};
use super::connecting::{self, ConnectError};
use super::connection::Connection;
use super::pool::{Lifetimes, Pool};
use super::resolver::Resolver;

/// The time for which a target is tried last after no connection to it could be opened.
const UNREACHABLE_TIME: Duration = Duration::from_secs(5);

/// One address of an upstream.
pub(crate) struct Target {
    resolver: Resolver,
    /// The value of `Host` in requests to it.
    pub(crate) authority: HeaderValue,
    connect_timeout: Duration,
    pub(crate) pool: Pool,
    pub(crate) capacity: Arc<Capacity>,
    /// Whether the latest attempt to connect failed.
    unreachable: AtomicBool,
    /// When the latest attempt of an unreachable target failed or began.
    tried: Mutex<Option<Instant>>,
}

impl Target {
    /// `None` for a URL without host or port, which the settings refuse.
    pub(super) fn new(
        url: &Url,
        connect_timeout: Duration,
        limits: TargetLimits,
        load: Arc<UpstreamLoad>,
        lifetimes: Lifetimes,
    ) -> Option<Self> {
        let host = url.host_str()?.trim_start_matches('[').trim_end_matches(']');
        let resolver = Resolver::new(host, url.port_or_known_default()?);
        let authority = match url.port() {
            Some(port) => format!("{}:{port}", url.host_str()?),
            None => url.host_str()?.to_owned(),
        };
        let authority = HeaderValue::try_from(authority).ok()?;
        let (unreachable, tried) = (AtomicBool::new(false), Mutex::new(None));
        let (pool, capacity) = (Pool::new(lifetimes), Arc::new(Capacity::new(limits, load)));
        Some(Self { resolver, authority, connect_timeout, pool, capacity, unreachable, tried })
    }

    /// A target of tests, on this machine.
    #[cfg(test)]
    pub(crate) fn on_loopback(port: u16) -> Self {
        let url = format!("http://127.0.0.1:{port}").parse().expect("a URL");
        Self::of_test(&url, Duration::from_secs(5), TargetLimits::default())
    }

    #[cfg(test)]
    fn of_test(url: &Url, connect_timeout: Duration, limits: TargetLimits) -> Self {
        let metrics = portcullis_telemetry::Metrics::new(&portcullis_telemetry::MetricsOptions::default(), "test");
        let load = Arc::new(metrics.upstream_load("things"));
        Self::new(url, connect_timeout, limits, load, Lifetimes::OF_TESTS).expect("a host and a port")
    }

    /// Opens a connection in a test.
    #[cfg(test)]
    pub(crate) async fn connect_now(&self) -> Result<Box<Connection>, ConnectError> {
        let slot = self.capacity.try_slot(super::capacity::SlotKind::Request).expect("a free slot");
        self.connect(slot, self.connect_deadline()).await
    }

    /// The time by which a connection must be open, if connecting begins now. It is long enough to try some addresses one
    /// after the other, and bounds the wait for a name that has many.
    pub(crate) fn connect_deadline(&self) -> Instant {
        Instant::now() + 3 * self.connect_timeout
    }

    /// Opens a connection to one of the addresses, for the request that has the slot.
    pub(crate) async fn connect(&self, slot: Slot, deadline: Instant) -> Result<Box<Connection>, ConnectError> {
        let connected = self.connect_to_any(slot, deadline).await;
        if connected.is_err() {
            *self.tried.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        }
        self.unreachable.store(connected.is_err(), Ordering::Relaxed);
        connected
    }

    async fn connect_to_any(&self, slot: Slot, deadline: Instant) -> Result<Box<Connection>, ConnectError> {
        let host = || self.resolver.host().into();
        let addresses = timeout_at(deadline, self.resolver.addresses())
            .await
            .map_err(|_| ConnectError::ResolverTimeout(host()))?
            .map_err(|source| ConnectError::Unresolved { host: host(), source })?;
        let Slot { connection, request, kind } = slot;
        let open = |permit| (self.capacity.open(kind, &self.pool), permit);
        let another = || self.capacity.try_connection(kind).map(open);
        let connecting = connecting::connect(addresses, self.connect_timeout, open(connection), another);
        let (stream, address, (open, connection)) = timeout_at(deadline, connecting)
            .await
            .map_err(|_| ConnectError::Timeout(host()))?
            .map_err(|attempts| ConnectError::Refused(host(), attempts))?;
        self.resolver.worked(address);
        let mut connected = Connection::new(stream);
        connected.open = Some(open);
        connected.slot = Some(Slot { connection, request, kind });
        Ok(connected)
    }

    /// Whether the latest attempt to connect failed.
    pub(super) fn last_connect_failed(&self) -> bool {
        self.unreachable.load(Ordering::Relaxed)
    }

    /// Whether requests should try other targets first: connecting failed a moment ago. After [`UNREACHABLE_TIME`] one
    /// caller is told `false`, whose request finds out whether that is still so.
    pub(super) fn is_unreachable(&self) -> bool {
        if !self.last_connect_failed() {
            return false;
        }
        let mut tried = self.tried.lock().unwrap_or_else(PoisonError::into_inner);
        let is_recent = tried.is_some_and(|at| at.elapsed() < UNREACHABLE_TIME);
        if !is_recent {
            *tried = Some(Instant::now());
        }
        is_recent
    }

    /// Looks the host's name up anew for the next request. Connections to its former addresses are not used for long.
    pub(super) fn expire_addresses(&self) {
        if !self.resolver.is_address() {
            self.resolver.expire();
            self.pool.retire();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use portcullis_testkit::Stopwatch;
    use tokio::io::AsyncReadExt;

    use super::super::capacity::SlotKind;
    use super::super::connecting::tests::{FullBacklog, listener, refusing};
    use super::super::{KeepAlive, Reuse};
    use super::*;

    fn named(addresses: Vec<SocketAddr>, connect_timeout: Duration) -> Target {
        let target =
            Target::of_test(&"http://name:80".parse().expect("a URL"), connect_timeout, TargetLimits::default());
        Target { resolver: Resolver::with_addresses(addresses), ..target }
    }

    #[tokio::test]
    async fn a_dead_address_is_not_waited_for_twice() {
        let full = FullBacklog::on("[::1]:0").await;
        let dead = full.address;
        let (_listener, alive) = listener("127.0.0.1:0").await;
        let target = named(vec![dead, alive], Duration::from_secs(20));
        assert_eq!(target.resolver.addresses().await.expect("known"), [dead, alive]);
        let connection = target.connect_now().await.expect("one is alive");
        assert_eq!(connection.stream.peer_addr().expect("it is open"), alive);
        assert_eq!(target.resolver.addresses().await.expect("known"), [alive, dead]);
    }

    #[tokio::test]
    async fn all_addresses_share_three_times_the_limit() {
        let dead = FullBacklog::on("0.0.0.0:0").await;
        let limit = Duration::from_millis(100);
        let addresses = (1..=100).map(|last| SocketAddr::from(([127, 0, 0, last], dead.address.port())));
        let target = named(addresses.collect(), limit);
        let stopwatch = Stopwatch::start();
        assert!(matches!(target.connect_now().await, Err(ConnectError::Timeout(_))));
        // One after the other they would take 10 s.
        stopwatch.assert_within((3 * limit).as_secs_f64()..5.0);
    }

    #[tokio::test]
    async fn an_unknown_name_is_an_error_that_says_so() {
        // A label of a name has at most 63 characters, so that no server is asked.
        let url = format!("http://{}.invalid", "a".repeat(64)).parse().expect("a URL");
        let target = Target::of_test(&url, Duration::from_secs(5), TargetLimits::default());
        let error = target.connect_now().await.err().expect("it has no address");
        assert_eq!(error.proxy_status(), "dns_error");
        assert!(error.to_string().contains("a.invalid\" cannot be resolved; hint: check"), "{error}");
    }

    #[tokio::test]
    async fn an_idle_connection_makes_room_for_a_new_one() {
        let (listener, address) = listener("127.0.0.1:0").await;
        let url = format!("http://{address}").parse().expect("a URL");
        let limits = TargetLimits { max_connections: 1, ..TargetLimits::default() };
        let target = Target::of_test(&url, Duration::from_secs(5), limits);
        target.pool.release(target.connect_now().await.expect("it listens"), KeepAlive::default());
        let (mut idle, _) = listener.accept().await.expect("a connection");
        let _fresh = target.connect_now().await.expect("it listens");
        assert_eq!(idle.read_u8().await.map_err(|error| error.kind()), Err(std::io::ErrorKind::UnexpectedEof));
        assert!(target.pool.take(Reuse::Any).is_none());
    }

    #[tokio::test]
    async fn a_side_by_side_attempt_needs_room_of_its_own() {
        let dead = FullBacklog::on("[::1]:0").await;
        let (_listener, alive) = listener("127.0.0.1:0").await;
        let limits = TargetLimits { max_connections: 1, ..TargetLimits::default() };
        let each = Duration::from_millis(600);
        let target = Target::of_test(&"http://name:80".parse().expect("a URL"), each, limits);
        let target = Target { resolver: Resolver::with_addresses(vec![dead.address, alive]), ..target };
        let begun = Instant::now();
        let connection = target.connect_now().await.expect("one is alive");
        assert!(begun.elapsed() >= each, "both were open at once: {:?}", begun.elapsed());
        assert!(target.capacity.try_slot(SlotKind::Request).is_none(), "the connection holds the only slot");
        drop(connection);
        assert!(target.capacity.try_slot(SlotKind::Request).is_some());
    }

    #[tokio::test]
    async fn an_unreachable_target_is_tried_once_in_a_while() {
        let target = named(vec![refusing().await], Duration::from_secs(5));
        assert!(!target.is_unreachable());
        assert!(target.connect_now().await.is_err());
        assert!(target.is_unreachable());
        *target.tried.lock().expect("no panic") = Instant::now().checked_sub(UNREACHABLE_TIME);
        assert!(!target.is_unreachable(), "one request tries it");
        assert!(target.is_unreachable(), "the others do not");
    }

    #[tokio::test]
    async fn a_target_that_accepts_again_is_reachable() {
        let (listener, address) = listener("127.0.0.1:0").await;
        drop(listener);
        let target = named(vec![address], Duration::from_secs(5));
        assert!(target.connect_now().await.is_err() && target.is_unreachable());
        let _listener = tokio::net::TcpListener::bind(address).await.expect("the port is still free");
        assert!(target.connect_now().await.is_ok() && !target.is_unreachable());
    }
}
