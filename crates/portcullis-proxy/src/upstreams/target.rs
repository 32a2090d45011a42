//! One address of an upstream, and the connections to it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http::HeaderValue;
use tokio::time::{Instant, timeout_at};
use url::Url;

use super::connecting::{self, ConnectError};
use super::connection::Connection;
use super::pool::Pool;
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
    /// Whether the latest attempt to connect failed.
    unreachable: AtomicBool,
    /// When the latest attempt of an unreachable target failed or began.
    tried: Mutex<Option<Instant>>,
}

impl Target {
    /// `None` for a URL without host or port, which the settings refuse.
    pub(super) fn new(url: &Url, connect_timeout: Duration) -> Option<Self> {
        let host = url.host_str()?.trim_start_matches('[').trim_end_matches(']');
        let resolver = Resolver::new(host, url.port_or_known_default()?);
        let authority = match url.port() {
            Some(port) => format!("{}:{port}", url.host_str()?),
            None => url.host_str()?.to_owned(),
        };
        let authority = HeaderValue::try_from(authority).ok()?;
        let (unreachable, tried) = (AtomicBool::new(false), Mutex::new(None));
        Some(Self { resolver, authority, connect_timeout, pool: Pool::default(), unreachable, tried })
    }

    /// A target of tests, on this machine.
    #[cfg(test)]
    pub(crate) fn on_loopback(port: u16) -> Self {
        let url = format!("http://127.0.0.1:{port}").parse().expect("a URL");
        Self::new(&url, Duration::from_secs(5)).expect("a host and a port")
    }

    /// Opens a connection in a test.
    #[cfg(test)]
    pub(crate) async fn connect_now(&self) -> Result<Connection, ConnectError> {
        self.connect(self.connect_deadline()).await
    }

    /// The time by which a connection must be open, if connecting begins now. It is long enough to try some addresses one
    /// after the other, and bounds the wait for a name that has many.
    pub(crate) fn connect_deadline(&self) -> Instant {
        Instant::now() + 3 * self.connect_timeout
    }

    /// Opens a connection to one of the addresses.
    pub(crate) async fn connect(&self, deadline: Instant) -> Result<Connection, ConnectError> {
        let connected = self.connect_to_any(deadline).await;
        if connected.is_err() {
            *self.tried.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        }
        self.unreachable.store(connected.is_err(), Ordering::Relaxed);
        connected
    }

    async fn connect_to_any(&self, deadline: Instant) -> Result<Connection, ConnectError> {
        let host = || self.resolver.host().into();
        let addresses = timeout_at(deadline, self.resolver.addresses())
            .await
            .map_err(|_| ConnectError::ResolverTimeout(host()))?
            .map_err(|source| ConnectError::Unresolved { host: host(), source })?;
        let (stream, address) = timeout_at(deadline, connecting::connect(addresses, self.connect_timeout))
            .await
            .map_err(|_| ConnectError::Timeout(host()))?
            .map_err(|attempts| ConnectError::Refused(host(), attempts))?;
        self.resolver.worked(address);
        Ok(Connection::new(stream))
    }

    /// Whether requests should try other targets first: connecting failed a moment ago. After [`UNREACHABLE_TIME`] one
    /// caller is told `false`, whose request finds out whether that is still so.
    pub(super) fn is_unreachable(&self) -> bool {
        if !self.unreachable.load(Ordering::Relaxed) {
            return false;
        }
        let mut tried = self.tried.lock().unwrap_or_else(PoisonError::into_inner);
        let is_recent = tried.is_some_and(|at| at.elapsed() < UNREACHABLE_TIME);
        if !is_recent {
            *tried = Some(Instant::now());
        }
        is_recent
    }

    /// Makes the next connection look the host's name up anew.
    pub(super) fn expire_addresses(&self) {
        self.resolver.expire();
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::super::connecting::tests::{FullBacklog, listener, refusing};
    use super::*;

    fn named(addresses: Vec<SocketAddr>, connect_timeout: Duration) -> Target {
        let target = Target::new(&"http://name:80".parse().expect("a URL"), connect_timeout).expect("a host");
        Target { resolver: Resolver::with_addresses(addresses), ..target }
    }

    #[tokio::test]
    async fn a_dead_address_is_not_waited_for_twice() {
        let dead = FullBacklog::on("[::1]:0").await.address;
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
        let begun = Instant::now();
        assert!(matches!(target.connect_now().await, Err(ConnectError::Timeout(_))));
        // One after the other they would take 10 s.
        assert!((3 * limit..50 * limit).contains(&begun.elapsed()), "{:?}", begun.elapsed());
    }

    #[tokio::test]
    async fn an_unknown_name_is_an_error_that_says_so() {
        // A label of a name has at most 63 characters, so that no server is asked.
        let url = format!("http://{}.invalid", "a".repeat(64)).parse().expect("a URL");
        let target = Target::new(&url, Duration::from_secs(5)).expect("a host");
        let error = target.connect_now().await.err().expect("it has no address");
        assert_eq!(error.proxy_status(), "dns_error");
        assert!(error.to_string().contains("a.invalid\" cannot be resolved; hint: check"), "{error}");
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
