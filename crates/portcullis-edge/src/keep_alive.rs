//! TCP keep-alive (RFC 9293 §3.8.4), by which a client that vanished without a word is noticed on a silent connection, such
//! as an idle WebSocket.

use std::os::fd::AsFd;
use std::time::Duration;

use rustix::net::sockopt;

/// How long a connection is silent before it is probed.
const IDLE: Duration = Duration::from_secs(60);
/// How long a probe may go unanswered before the next one.
const INTERVAL: Duration = Duration::from_secs(15);
/// After this many unanswered probes the connection is closed.
const PROBES: u32 = 4;

/// Has the operating system probe the clients of a listening socket. Accepted sockets inherit the options, so it costs
/// a connection nothing.
pub(crate) fn enable(listener: &impl AsFd) {
    let enabled = sockopt::set_socket_keepalive(listener, true)
        .and_then(|()| sockopt::set_tcp_keepidle(listener, IDLE))
        .and_then(|()| sockopt::set_tcp_keepintvl(listener, INTERVAL))
        .and_then(|()| sockopt::set_tcp_keepcnt(listener, PROBES));
    if let Err(error) = enabled {
        tracing::debug!(%error, "TCP keep-alive could not be enabled");
    }
}
