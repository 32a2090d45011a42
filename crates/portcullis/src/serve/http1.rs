//! HTTP/1.1 on a connection (RFC 9112).

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use http::{Response, StatusCode};
use http_body_util::BodyExt;
use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use portcullis_gate::{HeadGuard, Heads, MAX_HEAD_BYTES};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::front::{Front, FrontBody};
use super::lingering::Lingering;
use super::patience::{Patience, Waiting};
use super::speaker::{Answering, Speaker, Turn};

/// How HTTP/1.1 is spoken, with everybody alike.
pub(super) fn builder() -> Builder {
    let mut builder = Builder::new();
    // No timer of hyper's: it would set one for each request. `Patience` needs one for each connection.
    // The most header fields are its 100: setting that number, even to itself, would cost an allocation a request.
    builder.max_buf_size(MAX_HEAD_BYTES);
    builder
}

/// Answers the requests of a connection, one after the other, until it ends or its client's time is used up.
pub(super) async fn speak(
    front: &Arc<Front>,
    builder: &Builder,
    stream: TcpStream,
    peer: SocketAddr,
    patience: &mut Patience,
    stopping: &CancellationToken,
) -> hyper::Result<()> {
    let turn = Arc::new(Turn::default());
    let instead = {
        let front = Arc::clone(front);
        Box::new(move |status| whole(front.answer_to_nothing(status)))
    };
    let (stream, heads) = HeadGuard::new(Speaker::new(Lingering::new(stream), Arc::clone(&turn), instead));
    let service = service_fn(|mut request| {
        heads.mark(&mut request);
        turn.begin();
        async { Ok::<_, Infallible>(Answering::new(front.handle(peer, request).await, &turn)) }
    });
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service).with_upgrades());
    let mut told = false;
    loop {
        tokio::select! {
            // In this order: told to shut down before it has read anything, the parser would close without an answer.
            biased;
            result = connection.as_mut() => return result,
            () = stopping.cancelled(), if !told => {
                told = true;
                connection.as_mut().graceful_shutdown();
            }
            () = patience.next() => if patience.is_over(waiting(&turn, &heads)) {
                tracing::debug!(%peer, "a connection was closed because its client neither sent nor read");
                return Ok(());
            }
        }
    }
}

/// What the client lets us wait for.
fn waiting(turn: &Turn, heads: &Heads) -> Option<Waiting> {
    let requests = heads.requests();
    if let Some(stall) = turn.stalled() {
        Some(Waiting::Room(stall))
    } else if !turn.is_idle() {
        None
    } else if heads.is_head_begun() || requests == 0 {
        // The first request of a connection is waited for no longer than a head.
        Some(Waiting::Head(requests))
    } else {
        Some(Waiting::Request(requests))
    }
}

/// An answer as the bytes that go over the wire; its body is whole already.
fn whole(response: Response<FrontBody>) -> Bytes {
    let (parts, body) = response.into_parts();
    let body = match futures_util::FutureExt::now_or_never(body.collect()) {
        Some(Ok(body)) => body.to_bytes(),
        Some(Err(_)) | None => Bytes::new(),
    };
    let mut bytes = BytesMut::with_capacity(1024 + body.len());
    let status = parts.status;
    let reason = StatusCode::canonical_reason(&status).unwrap_or_default();
    bytes.put_slice(format!("HTTP/1.1 {} {reason}\r\n", status.as_str()).as_bytes());
    for (name, value) in &parts.headers {
        bytes.put_slice(name.as_str().as_bytes());
        bytes.put_slice(b": ");
        bytes.put_slice(value.as_bytes());
        bytes.put_slice(b"\r\n");
    }
    bytes.put_slice(format!("content-length: {}\r\n\r\n", body.len()).as_bytes());
    bytes.put_slice(&body);
    bytes.freeze()
}
