//! The socket that clients connect to: one of our own, or one that a supervisor holds open while the process is
//! replaced (systemd's socket activation, `sd_listen_fds(3)`), so that who connects meanwhile waits instead of being
//! refused.

use std::net::SocketAddr;

use listenfd::ListenFd;
use portcullis_model::policy::Environment;
use tokio::net::{TcpListener, TcpSocket};

use super::ServeError;
use portcullis_settings::Settings;

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 1024;

/// The socket that was handed over, else one at the address of the settings; and where it is.
pub(super) fn listen(settings: &Settings) -> Result<(TcpListener, SocketAddr), ServeError> {
    let wanted = settings.server.listen;
    let handed_over = handed_over().map_err(ServeError::HandedOver)?;
    let is_handed_over = handed_over.is_some();
    let listener = match handed_over {
        Some(listener) => listener,
        None => bind(wanted).map_err(|source| failed(wanted, source))?,
    };
    let address = listener.local_addr().map_err(|source| failed(wanted, source))?;
    if is_handed_over && is_exposed(address, wanted, settings.environment) {
        return Err(ServeError::Exposed { address });
    }
    Ok((listener, address))
}

/// Whether a socket that was handed over goes beyond this machine where one of our own would not (requirement 50):
/// outside production the settings have such an address only if `HOST` says so.
fn is_exposed(handed_over: SocketAddr, wanted: SocketAddr, environment: Environment) -> bool {
    environment != Environment::Production
        && wanted.ip().is_loopback()
        && !handed_over.ip().to_canonical().is_loopback()
}

fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // A restart must not wait for the last connections' TIME_WAIT.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

fn failed(address: SocketAddr, source: std::io::Error) -> ServeError {
    ServeError::Listen { address, taken: source.kind() == std::io::ErrorKind::AddrInUse, source }
}

/// The first of `LISTEN_FDS`, when `LISTEN_PID` says that they are for this process.
fn handed_over() -> std::io::Result<Option<TcpListener>> {
    let mut sockets = ListenFd::from_env();
    if sockets.len() > 1 {
        tracing::warn!(sockets = sockets.len(), "more sockets were handed over than the one that is used");
    }
    let Some(listener) = sockets.take_tcp_listener(0)? else { return Ok(None) };
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sr_50_a_socket_that_was_handed_over_goes_beyond_this_machine_only_where_ours_would() {
        let exposed = |handed_over: &str, wanted: &str, environment| {
            let address = |text: &str| text.parse().expect("an address");
            is_exposed(address(handed_over), address(wanted), environment)
        };
        for anywhere in ["0.0.0.0:8000", "[::]:8000", "203.0.113.7:8000"] {
            for environment in [Environment::Development, Environment::Test] {
                assert!(exposed(anywhere, "127.0.0.1:8000", environment), "{anywhere}");
                assert!(!exposed(anywhere, "0.0.0.0:8000", environment), "HOST says so");
            }
            assert!(!exposed(anywhere, "127.0.0.1:8000", Environment::Production));
        }
        for here in ["127.0.0.1:8000", "[::1]:8000", "[::ffff:127.0.0.1]:8000"] {
            assert!(!exposed(here, "127.0.0.1:8000", Environment::Development), "{here}");
        }
    }
}
