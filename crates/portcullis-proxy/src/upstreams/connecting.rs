//! Opening a connection to one of several addresses (RFC 8305, "Happy Eyeballs").

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

/// The time after which the next address is tried while the one before has neither accepted nor refused (RFC 8305 §5).
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// The reason why no connection to a target could be opened.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The upstream has no targets, which the settings refuse.
    #[error("the upstream has no targets")]
    NoTarget,
    /// The host's name has no address.
    #[error("the name {host:?} cannot be resolved; hint: check `targets` in the settings and the system's resolver")]
    Unresolved {
        /// The name.
        host: Box<str>,
        /// The error of the resolver.
        #[source]
        source: Arc<io::Error>,
    },
    /// The resolver did not answer in time.
    #[error("the name {0:?} was not resolved in time; hint: check the system's resolver")]
    ResolverTimeout(Box<str>),
    /// No address of the target accepted a connection.
    #[error("no connection to {0:?} could be opened: {1}")]
    Refused(Box<str>, FailedAttempts),
    /// The time for all addresses together is over.
    #[error("no connection to {0:?} could be opened in time")]
    Timeout(Box<str>),
}

/// The addresses that were tried, and the error of each.
#[derive(Debug, Default)]
pub struct FailedAttempts(Vec<(SocketAddr, io::Error)>);

impl fmt::Display for FailedAttempts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, (address, error)) in self.0.iter().enumerate() {
            write!(f, "{}{address}: {error}", if number == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

impl ConnectError {
    /// The error type of `Proxy-Status` (RFC 9209 §2.3).
    pub(crate) fn proxy_status(&self) -> &'static str {
        match self {
            Self::NoTarget => "destination_not_found",
            Self::Unresolved { .. } => "dns_error",
            Self::ResolverTimeout(_) => "dns_timeout",
            Self::Timeout(_) => "connection_timeout",
            Self::Refused(_, attempts) => attempts.proxy_status(),
        }
    }
}

impl FailedAttempts {
    fn proxy_status(&self) -> &'static str {
        let mut kinds = self.0.iter().map(|(_, error)| error.kind());
        let all = |wanted: &[io::ErrorKind]| kinds.clone().all(|kind| wanted.contains(&kind));
        if all(&[io::ErrorKind::TimedOut]) {
            "connection_timeout"
        } else if all(&[io::ErrorKind::NetworkUnreachable, io::ErrorKind::HostUnreachable]) {
            "destination_ip_unroutable"
        } else if kinds.any(|kind| kind == io::ErrorKind::ConnectionRefused) {
            "connection_refused"
        } else {
            "destination_unavailable"
        }
    }
}

/// Opens a connection to the first address that accepts one. The addresses are tried in their order: the next one when
/// the one before has failed, or has not accepted within [`ATTEMPT_DELAY`]. Each may take as long as `each`.
///
/// Each attempt needs a permit to open a socket. It takes that of an attempt that failed, or asks for one; without one it
/// waits until an attempt has failed. The permit of the attempt that succeeded is returned.
pub(super) async fn connect<P>(
    addresses: Vec<SocketAddr>,
    each: Duration,
    permit: P,
    mut another: impl FnMut() -> Option<P>,
) -> Result<(TcpStream, SocketAddr, P), FailedAttempts> {
    let mut left = addresses.into_iter();
    let mut free = Some(permit);
    let mut attempts = FuturesUnordered::new();
    let mut failed = FailedAttempts::default();
    let mut delay = pin!(sleep(ATTEMPT_DELAY));
    loop {
        if left.len() > 0
            && let Some(permit) = free.take().or_else(&mut another)
            && let Some(address) = left.next()
        {
            attempts.push(attempt(address, each, permit));
        }
        delay.as_mut().reset(Instant::now() + ATTEMPT_DELAY);
        tokio::select! {
            Some((address, outcome, permit)) = attempts.next() => match outcome {
                Ok(stream) => return Ok((stream, address, permit)),
                Err(error) => {
                    failed.0.push((address, error));
                    free = Some(permit);
                }
            },
            () = &mut delay, if left.len() > 0 => {}
            else => return Err(failed),
        }
    }
}

async fn attempt<P>(address: SocketAddr, each: Duration, permit: P) -> (SocketAddr, io::Result<TcpStream>, P) {
    let connecting = async {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    };
    let stream = timeout(each, connecting).await.unwrap_or_else(|elapsed| Err(elapsed.into()));
    (address, stream, permit)
}

#[cfg(test)]
pub(super) mod tests {
    use portcullis_testkit::Stopwatch;
    use tokio::net::{TcpListener, TcpSocket};

    use super::*;

    const LONG: Duration = Duration::from_secs(20);

    /// Connects without a limit of sockets.
    async fn connect(addresses: Vec<SocketAddr>, each: Duration) -> Result<(TcpStream, SocketAddr), FailedAttempts> {
        let connected = super::connect(addresses, each, (), || Some(())).await;
        connected.map(|(stream, address, ())| (stream, address))
    }

    pub(in super::super) async fn listener(address: &str) -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind(address).await.expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        (listener, address)
    }

    /// An address where nobody listens.
    pub(in super::super) async fn refusing() -> SocketAddr {
        listener("127.0.0.1:0").await.1
    }

    /// A listener that accepts nothing and whose queue is full, so that the kernel answers no further connection.
    pub(in super::super) struct FullBacklog {
        _listener: TcpListener,
        _queued: Vec<TcpStream>,
        pub(in super::super) address: SocketAddr,
    }

    impl FullBacklog {
        pub(in super::super) async fn on(address: &str) -> Self {
            let address: SocketAddr = address.parse().expect("an address");
            let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }.expect("a socket");
            socket.bind(address).expect("a free port");
            let listener = socket.listen(1).expect("it listens");
            let address = listener.local_addr().expect("a bound socket has an address");
            let mut queued = Vec::new();
            // A connection that the queue has room for opens at once on this machine.
            while let Ok(stream) = timeout(Duration::from_millis(200), TcpStream::connect(address)).await {
                queued.push(stream.expect("it listens"));
            }
            Self { _listener: listener, _queued: queued, address }
        }
    }

    #[tokio::test]
    async fn a_full_backlog_delays_the_next_address_little() {
        let dead = FullBacklog::on("[::1]:0").await;
        let (_listener, alive) = listener("127.0.0.1:0").await;
        let stopwatch = Stopwatch::start();
        let (_, address) = connect(vec![dead.address, alive], LONG).await.expect("one is alive");
        assert_eq!(address, alive);
        // The first address gets its time.
        stopwatch.assert_within(ATTEMPT_DELAY.as_secs_f64()..5.0);
    }

    #[tokio::test]
    async fn a_refusal_starts_the_next_address_at_once() {
        let (_listener, alive) = listener("127.0.0.1:0").await;
        let mut addresses = Vec::new();
        for _ in 0..200 {
            addresses.push(refusing().await);
        }
        addresses.push(alive);
        let stopwatch = Stopwatch::start();
        let (_, address) = connect(addresses, LONG).await.expect("one is alive");
        assert_eq!(address, alive);
        // With a delay after each it would take 50 s.
        stopwatch.assert_within(0.0..25.0);
    }

    #[tokio::test]
    async fn a_slow_address_still_wins_if_the_others_fail() {
        let slow = FullBacklog::on("127.0.0.1:0").await;
        let refused = refusing().await;
        let FullBacklog { _listener: listener, address, _queued: queued } = slow;
        let connecting = tokio::spawn(connect(vec![address, refused], LONG));
        drop(queued);
        // Accepting makes room, so that the kernel takes the next attempt of the client's.
        let accepting = tokio::spawn(async move { while listener.accept().await.is_ok() {} });
        let (_, connected) = connecting.await.expect("no panic").expect("one is alive");
        assert_eq!(connected, address);
        accepting.abort();
    }

    #[tokio::test]
    async fn each_address_has_its_own_time_limit() {
        let dead = [FullBacklog::on("127.0.0.1:0").await, FullBacklog::on("[::1]:0").await];
        let each = Duration::from_millis(400);
        let begun = Instant::now();
        let failed = connect(dead.iter().map(|dead| dead.address).collect(), each).await.expect_err("both are dead");
        assert!(begun.elapsed() >= each + ATTEMPT_DELAY, "the second began later: {:?}", begun.elapsed());
        assert_eq!(failed.0.len(), 2);
        assert_eq!(failed.proxy_status(), "connection_timeout");
        let refused = refusing().await;
        let failed = connect(vec![refused, dead[0].address], each).await.expect_err("both are dead");
        assert_eq!(failed.proxy_status(), "connection_refused");
        assert!(failed.to_string().starts_with(&format!("{refused}: Connection refused")), "{failed}");
    }

    #[tokio::test]
    async fn without_a_permit_the_next_address_waits() {
        let dead = FullBacklog::on("127.0.0.1:0").await;
        let (_listener, alive) = listener("[::1]:0").await;
        let each = 3 * ATTEMPT_DELAY;
        let begun = Instant::now();
        let connected = super::connect(vec![dead.address, alive], each, 7, || None).await.expect("one is alive");
        assert_eq!((connected.1, connected.2), (alive, 7), "the failed attempt's permit is used");
        assert!(begun.elapsed() >= each, "{:?}", begun.elapsed());
    }

    #[tokio::test]
    async fn no_address_is_an_error() {
        assert!(connect(Vec::new(), LONG).await.is_err());
    }
}
