//! Ports on loopback.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::ops::Range;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a server may take to listen, on a busy machine.
pub(crate) const START_LIMIT: Duration = Duration::from_secs(60);

/// Ports that no kernel gives to a socket that asks for any port: those begin at 32768. A node of a Redis cluster also uses the port
/// 10,000 above its own, which is in neither range.
const PORTS: Range<u16> = 12_000..20_000;

/// What keeps the ports of this process from the tests of other processes: a UDP socket for each.
static CLAIMS: Mutex<Vec<UdpSocket>> = Mutex::new(Vec::new());

/// A loopback port where nobody listens. No other test gets it as long as this process runs.
pub fn free_port() -> u16 {
    let mut claims = CLAIMS.lock().unwrap_or_else(PoisonError::into_inner);
    // Processes that begin at different ports rarely meet.
    let first = std::process::id() as usize * 31;
    for number in 0..PORTS.len() {
        let port = PORTS.start + ((first + number) % PORTS.len()) as u16;
        let Ok(claim) = UdpSocket::bind((Ipv4Addr::LOCALHOST, port)) else { continue };
        // A server may outlive the test that started it.
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            claims.push(claim);
            return port;
        }
    }
    panic!("no port in {PORTS:?} is free");
}

/// Waits until something accepts connections.
pub fn wait_until_open(address: SocketAddr) {
    let begin = Instant::now();
    while TcpStream::connect(address).is_err() {
        assert!(begin.elapsed() < START_LIMIT, "nothing listens on {address}");
        std::thread::yield_now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_port_is_given_twice() {
        let mut ports: Vec<u16> = (0..100).map(|_| free_port()).collect();
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 100);
        assert!(UdpSocket::bind((Ipv4Addr::LOCALHOST, ports[0])).is_err(), "another process could claim it");
    }

    #[test]
    fn a_port_that_is_listened_on_is_passed_over() {
        let port = free_port();
        let _listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("it is free");
        CLAIMS
            .lock()
            .expect("no panic while locked")
            .retain(|claim| claim.local_addr().expect("a bound socket has an address").port() != port);
        assert!((0..100).all(|_| free_port() != port));
    }
}
