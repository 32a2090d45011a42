//! A connection to a server that a test can disturb as networks do: by closing it or by dropping packets.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;

/// A relay on a free loopback port that copies bytes to and from a server. It has a thread of its own, so that it works
/// with every runtime of a test.
pub struct Relay {
    address: SocketAddr,
    target: Arc<Mutex<SocketAddr>>,
    state: watch::Sender<State>,
    sent: Arc<AtomicU64>,
    runtime: Option<tokio::runtime::Runtime>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct State {
    /// Bytes of connections with a lower number are held back, which looks like dropped packets.
    frozen_below: u64,
    /// The number of the next connection.
    next: u64,
    /// New connections are refused.
    down: bool,
    /// Connections of an earlier era are closed.
    era: u64,
}

impl Relay {
    /// Starts a relay to `target`.
    pub fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has free ports");
        listener.set_nonblocking(true).expect("a socket can be made non-blocking");
        let address = listener.local_addr().expect("a bound listener has an address");
        let (state, watched) = watch::channel(State { frozen_below: 0, next: 0, down: false, era: 0 });
        let target = Arc::new(Mutex::new(target));
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("threads can be started");
        let sent = Arc::new(AtomicU64::new(0));
        let (to, counter, clients) = (Arc::clone(&target), state.clone(), Arc::clone(&sent));
        runtime.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).expect("the listener is non-blocking");
            while let Ok((client, _)) = listener.accept().await {
                let target = *to.lock().expect("not poisoned");
                let mut number = 0;
                counter.send_modify(|state| {
                    number = state.next;
                    state.next += 1;
                });
                tokio::spawn(relay(client, target, number, Arc::clone(&clients), watched.clone()));
            }
        });
        Self { address, target, state, sent, runtime: Some(runtime) }
    }

    /// The address that it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The port that it listens on, on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// The number of times that clients sent something: the number of requests if each waits for its response.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Drops every packet from now on. Connections stay open, new ones are accepted, and none delivers bytes.
    pub fn freeze(&self) {
        self.state.send_modify(|state| state.frozen_below = u64::MAX);
    }

    /// Drops every packet of the connections that are open now. New connections work.
    pub fn freeze_open(&self) {
        self.state.send_modify(|state| state.frozen_below = state.next);
    }

    /// Delivers bytes again, those that were held back first.
    pub fn thaw(&self) {
        self.state.send_modify(|state| state.frozen_below = 0);
    }

    /// Closes every connection and refuses new ones.
    pub fn disconnect(&self) {
        self.state.send_modify(|state| {
            state.down = true;
            state.era += 1;
        });
    }

    /// Accepts connections again after [`disconnect`](Self::disconnect).
    pub fn reconnect(&self) {
        self.state.send_modify(|state| state.down = false);
    }

    /// Connects new clients to another server. Open connections stay.
    pub fn redirect_to(&self, target: SocketAddr) {
        *self.target.lock().expect("not poisoned") = target;
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn relay(
    client: TcpStream,
    target: SocketAddr,
    number: u64,
    sent: Arc<AtomicU64>,
    mut state: watch::Receiver<State>,
) {
    let born = *state.borrow();
    if born.down {
        return;
    }
    if state.wait_for(|now| now.frozen_below <= number || now.era != born.era).await.is_err() {
        return;
    }
    let Ok(server) = TcpStream::connect(target).await else { return };
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let there = copy(from_client, to_server, number, sent, state.clone());
    let back = copy(from_server, to_client, number, Arc::default(), state.clone());
    tokio::select! {
        _ = async { tokio::join!(there, back) } => {}
        _ = state.wait_for(|now| now.era != born.era) => {}
    }
}

async fn copy(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    number: u64,
    count: Arc<AtomicU64>,
    mut state: watch::Receiver<State>,
) -> io::Result<()> {
    let mut buffer = vec![0u8; 64 * 1024];
    loop {
        let read = from.read(&mut buffer).await?;
        if state.wait_for(|now| now.frozen_below <= number).await.is_err() {
            return Ok(());
        }
        count.fetch_add(1, Ordering::Relaxed);
        if read == 0 {
            return to.shutdown().await;
        }
        to.write_all(&buffer[..read]).await?;
    }
}
