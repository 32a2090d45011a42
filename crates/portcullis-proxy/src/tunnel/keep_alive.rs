//! TCP keep-alive (RFC 9293 §3.8.4), by which a peer that vanished without a word is noticed on a silent connection.

use rustix::net::sockopt;
use std::os::fd::AsFd;
use std::time::Duration;

/// How long a connection is silent before it is probed.
const IDLE: Duration = Duration::from_secs(60);
/// How long a probe may go unanswered before the next one.
const INTERVAL: Duration = Duration::from_secs(15);
/// After this many unanswered probes the connection is closed.
const PROBES: u32 = 4;

/// Has the operating system probe the peer. A connection works without it too, so a failure is only logged.
pub(super) fn enable(socket: &impl AsFd) {
    let enabled = sockopt::set_socket_keepalive(socket, true)
        .and_then(|()| sockopt::set_tcp_keepidle(socket, IDLE))
        .and_then(|()| sockopt::set_tcp_keepintvl(socket, INTERVAL))
        .and_then(|()| sockopt::set_tcp_keepcnt(socket, PROBES));
    if let Err(error) = enabled {
        tracing::debug!(%error, "TCP keep-alive could not be enabled");
    }
}
