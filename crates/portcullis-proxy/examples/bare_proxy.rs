//! The smallest proxy that hyper makes: no gate, no route, no changed header, no metric, no timer, and one connection to the
//! upstream for each client. The benchmark compares the gateway with it, to separate the gateway's own cost from hyper's.
//!
//! `cargo run --release -p portcullis-proxy --example bare_proxy LISTEN-PORT UPSTREAM-PORT`
#![expect(clippy::print_stdout, reason = "it prints its address")]

use std::net::Ipv4Addr;
use std::sync::Arc;

use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::service::service_fn;
use hyper::{Request, Response, body::Incoming};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Mutex;

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut ports = std::env::args().skip(1).map(|text| text.parse::<u16>());
    let (Some(Ok(listen)), Some(Ok(upstream))) = (ports.next(), ports.next()) else {
        return Err("usage: bare_proxy LISTEN-PORT UPSTREAM-PORT".into());
    };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, listen)).await?;
    println!("bare proxy listening on http://{}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(async move { serve(stream, upstream).await });
    }
}

async fn serve(client: TcpStream, upstream: u16) -> Result<(), Failure> {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, upstream)).await?;
    client.set_nodelay(true)?;
    stream.set_nodelay(true)?;
    let (sender, driver) = handshake(TokioIo::new(stream)).await?;
    tokio::spawn(driver);
    let sender = Arc::new(Mutex::new(sender));
    let service = service_fn(move |request| forward(request, Arc::clone(&sender)));
    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(client), service).await?;
    Ok(())
}

async fn forward(
    request: Request<Incoming>,
    upstream: Arc<Mutex<SendRequest<Incoming>>>,
) -> Result<Response<Incoming>, Failure> {
    let mut upstream = upstream.lock().await;
    upstream.ready().await?;
    Ok(upstream.send_request(request).await?)
}
