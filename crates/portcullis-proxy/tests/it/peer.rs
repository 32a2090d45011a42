//! One end of a TCP connection on either side of the gateway. The test decides which byte is sent when.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// The longest wait for anything. Only a failing test waits for so long.
const DEADLINE: Duration = Duration::from_secs(60);

/// A write that takes this long is blocked.
const BLOCKED: Duration = Duration::from_millis(500);

/// One end of a connection.
pub(crate) struct Peer {
    stream: TcpStream,
    unread: Vec<u8>,
}

/// An upstream whose responses the test writes.
pub(crate) struct Upstream {
    listener: TcpListener,
}

impl Upstream {
    pub(crate) async fn listen() -> Self {
        Self { listener: TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port") }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.listener.local_addr().expect("a bound socket has an address")
    }

    pub(crate) async fn accept(&self) -> Peer {
        let accepted = timeout(DEADLINE, self.listener.accept()).await.expect("nobody connected");
        Peer::new(accepted.expect("a connection").0)
    }

    /// Answers every request of every connection with this response. Returns the most connections that were open at once.
    pub(crate) fn serve_all(self, response: &'static str) -> Arc<AtomicUsize> {
        let (most, open) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let counted = Arc::clone(&most);
        tokio::spawn(async move {
            loop {
                let mut peer = self.accept().await;
                most.fetch_max(open.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                let open = Arc::clone(&open);
                tokio::spawn(async move {
                    while peer.try_head().await.is_some() {
                        peer.write_while_read(response.as_bytes()).await;
                    }
                    open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        counted
    }

    /// Whether no connection was made since the last `accept`. The kernel queues a connection before its client knows that
    /// it is open.
    pub(crate) fn stays_alone(self) -> bool {
        let listener = self.listener.into_std().expect("a listener leaves the runtime");
        listener.accept().is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
    }
}

impl Peer {
    fn new(stream: TcpStream) -> Self {
        Self { stream, unread: Vec::new() }
    }

    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self::new(TcpStream::connect(address).await.expect("the gateway listens"))
    }

    pub(crate) async fn write(&mut self, text: &str) {
        self.write_bytes(text.as_bytes()).await;
    }

    pub(crate) async fn write_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("the other end reads");
    }

    /// Writes as much as the other end reads before it closes.
    pub(crate) async fn write_while_read(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes).await;
    }

    /// Reads a head, unless the connection ends.
    async fn try_head(&mut self) -> Option<()> {
        while find(&self.unread, b"\r\n\r\n").is_none() {
            if !self.read_more().await {
                return None;
            }
        }
        self.head().await;
        Some(())
    }

    /// Ends the connection, by a reset if asked to.
    pub(crate) fn end(self, reset: bool) {
        if reset {
            let lingering = rustix::net::sockopt::set_socket_linger(&self.stream, Some(Duration::ZERO));
            lingering.expect("a socket can be told so");
        }
    }

    /// Writes until the other end has read nothing for a while.
    pub(crate) async fn write_until_blocked(&mut self) {
        let part = vec![7; 64 * 1024];
        while let Ok(written) = timeout(BLOCKED, self.stream.write_all(&part)).await {
            written.expect("the other end is open");
        }
    }

    /// Reads a head with its empty line, and returns it in lower case.
    pub(crate) async fn head(&mut self) -> String {
        loop {
            if let Some(end) = find(&self.unread, b"\r\n\r\n") {
                let head: Vec<u8> = self.unread.drain(..end + 4).collect();
                return String::from_utf8(head).expect("an ASCII head").to_ascii_lowercase();
            }
            let so_far = String::from_utf8_lossy(&self.unread).into_owned();
            assert!(self.read_more().await, "the connection closed within a head: {so_far:?}");
        }
    }

    /// Reads up to and including `text`, and returns all of it.
    pub(crate) async fn until(&mut self, text: &str) -> String {
        loop {
            if let Some(start) = find(&self.unread, text.as_bytes()) {
                let read: Vec<u8> = self.unread.drain(..start + text.len()).collect();
                return String::from_utf8_lossy(&read).into_owned();
            }
            let so_far = String::from_utf8_lossy(&self.unread).into_owned();
            assert!(self.read_more().await, "the connection closed before {text:?}: {so_far:?}");
        }
    }

    /// Reads up to and including `end`, and returns all of it as bytes.
    pub(crate) async fn until_bytes(&mut self, end: &[u8]) -> Vec<u8> {
        // Only new bytes can contain the end. Searching all of them each time would take long.
        let mut looked = 0;
        loop {
            let from = looked;
            if let Some(start) = find(&self.unread[from..], end) {
                return self.unread.drain(..from + start + end.len()).collect();
            }
            looked = self.unread.len().saturating_sub(end.len());
            assert!(self.read_more().await, "the connection closed");
        }
    }

    /// Reads this many bytes.
    pub(crate) async fn bytes(&mut self, count: usize) -> Vec<u8> {
        while self.unread.len() < count {
            assert!(self.read_more().await, "the connection closed");
        }
        self.unread.drain(..count).collect()
    }

    /// Reads until the connection ends, in whatever way.
    pub(crate) async fn rest(&mut self) -> String {
        String::from_utf8(self.rest_bytes().await).expect("ASCII")
    }

    /// Reads until the connection ends, and returns all of it as bytes.
    pub(crate) async fn rest_bytes(&mut self) -> Vec<u8> {
        while self.read_more().await {}
        std::mem::take(&mut self.unread)
    }

    /// Reads the bytes that arrive next, at least one.
    pub(crate) async fn any(&mut self) -> String {
        if self.unread.is_empty() {
            assert!(self.read_more().await, "the connection closed");
        }
        String::from_utf8(std::mem::take(&mut self.unread)).expect("ASCII")
    }

    async fn read_more(&mut self) -> bool {
        let mut chunk = [0u8; 4096];
        let read = timeout(DEADLINE, self.stream.read(&mut chunk)).await.expect("nothing arrived");
        // A reset counts as the end.
        let count = read.unwrap_or(0);
        self.unread.extend_from_slice(&chunk[..count]);
        count > 0
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}
