//! The socket that clients connect to: one of our own, or one that a supervisor holds open while the process is
//! replaced (systemd's socket activation, `sd_listen_fds(3)`), so that who connects meanwhile waits instead of being
//! refused.

use std::net::SocketAddr;

use listenfd::ListenFd;
use tokio::net::{TcpListener, TcpSocket};

use super::ServeError;

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 1024;

/// The socket that was handed over, else one at `address`; and where it is.
pub(super) fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), ServeError> {
    let listener = match handed_over().map_err(ServeError::HandedOver)? {
        Some(listener) => listener,
        None => bind(address).map_err(|source| failed(address, source))?,
    };
    let address = listener.local_addr().map_err(|source| failed(address, source))?;
    Ok((listener, address))
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
