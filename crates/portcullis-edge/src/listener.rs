//! Opens the socket that clients connect to: a new one, or one that a supervisor keeps open while it replaces the
//! process (systemd's socket activation, `sd_listen_fds(3)`), so that clients wait meanwhile instead of being refused.

use std::io;
use std::net::SocketAddr;

use listenfd::ListenFd;
use portcullis_model::policy::Environment;
use tokio::net::{TcpListener, TcpSocket};

/// Connections that may wait in the kernel to be accepted.
const BACKLOG: u32 = 1024;

/// Why the gateway cannot listen for clients.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The configured address cannot be bound.
    #[error("cannot listen on {address}: {}", if *.taken { "the port is taken" } else { "the address cannot be used" })]
    Bind {
        /// The configured address.
        address: SocketAddr,
        /// Whether another process listens there.
        taken: bool,
        /// The operating system's error.
        #[source]
        source: io::Error,
    },
    /// The socket passed by the supervisor is not a listening TCP socket.
    #[error("the socket passed by the supervisor (LISTEN_FDS) cannot be used")]
    Inherited(#[source] io::Error),
    /// The socket passed by the supervisor can be reached from other machines, which the settings do not allow.
    #[error(
        "the socket passed by the supervisor listens on {address}, which other machines can reach; outside production \
         the gateway listens on loopback only"
    )]
    Exposed {
        /// The address of the inherited socket.
        address: SocketAddr,
    },
}

impl ListenError {
    /// How an operator can fix it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Bind { taken: true, .. } => {
                "stop the program that listens there, or choose another port with PORT or --port (metrics.listen for metrics)"
            }
            Self::Bind { .. } => "HOST must be an address of this machine; ports below 1024 need privileges",
            Self::Inherited(_) => "pass one TCP socket that listens (ListenStream= in a .socket unit)",
            Self::Exposed { .. } => "set PORTCULLIS_ENV=production, or HOST to the socket's address",
        }
    }
}

/// Returns the inherited socket if there is one, otherwise a new one at `configured`, and the address it listens on.
///
/// Outside production an inherited socket must not be reachable from other machines while `configured` is a loopback
/// address (SR-50).
///
/// # Errors
/// When no socket can be used.
pub fn listen(configured: SocketAddr, environment: Environment) -> Result<(TcpListener, SocketAddr), ListenError> {
    let bind_error = |source: io::Error| {
        let taken = source.kind() == io::ErrorKind::AddrInUse;
        ListenError::Bind { address: configured, taken, source }
    };
    let inherited = inherited_socket().map_err(ListenError::Inherited)?;
    let is_inherited = inherited.is_some();
    let listener = match inherited {
        Some(listener) => listener,
        None => bind(configured).map_err(bind_error)?,
    };
    let address = listener.local_addr().map_err(bind_error)?;
    if is_inherited && is_exposed(address, configured, environment) {
        return Err(ListenError::Exposed { address });
    }
    Ok((listener, address))
}

/// Returns a new socket at `configured` and the address it listens on. A socket of a supervisor is never taken for it.
///
/// # Errors
/// When the address cannot be bound.
pub fn listen_apart(configured: SocketAddr) -> Result<(TcpListener, SocketAddr), ListenError> {
    let bound = bind(configured).and_then(|listener| listener.local_addr().map(|address| (listener, address)));
    bound.map_err(|source| {
        let taken = source.kind() == io::ErrorKind::AddrInUse;
        ListenError::Bind { address: configured, taken, source }
    })
}

/// Whether other machines reach the inherited socket although they would not reach a new one. Outside production the
/// configured address is a loopback address unless `HOST` says otherwise.
fn is_exposed(inherited: SocketAddr, configured: SocketAddr, environment: Environment) -> bool {
    environment != Environment::Production
        && configured.ip().is_loopback()
        && !inherited.ip().to_canonical().is_loopback()
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // A restart must not wait for the last connections' TIME_WAIT.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// The first socket of `LISTEN_FDS`, if `LISTEN_PID` names this process.
fn inherited_socket() -> io::Result<Option<TcpListener>> {
    let mut sockets = ListenFd::from_env();
    if sockets.len() > 1 {
        tracing::warn!(sockets = sockets.len(), "the supervisor passed several sockets; only the first one is used");
    }
    let Some(listener) = sockets.take_tcp_listener(0)? else { return Ok(None) };
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_exposed_at(inherited: &str, configured: &str, environment: Environment) -> bool {
        let address = |text: &str| text.parse().expect("an address");
        is_exposed(address(inherited), address(configured), environment)
    }

    const REACHABLE: [&str; 3] = ["0.0.0.0:8000", "[::]:8000", "203.0.113.7:8000"];

    #[test]
    fn sr_50_an_inherited_socket_is_loopback_outside_production() {
        for inherited in REACHABLE {
            for environment in [Environment::Development, Environment::Test] {
                assert!(is_exposed_at(inherited, "127.0.0.1:8000", environment), "{inherited}");
            }
        }
        for inherited in ["127.0.0.1:8000", "[::1]:8000", "[::ffff:127.0.0.1]:8000"] {
            assert!(!is_exposed_at(inherited, "127.0.0.1:8000", Environment::Development), "{inherited}");
        }
    }

    #[test]
    fn sr_50_host_or_production_allows_an_inherited_socket() {
        for inherited in REACHABLE {
            assert!(!is_exposed_at(inherited, "0.0.0.0:8000", Environment::Development), "{inherited}");
            assert!(!is_exposed_at(inherited, "127.0.0.1:8000", Environment::Production), "{inherited}");
        }
    }
}
