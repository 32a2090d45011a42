//! HTTP/1.1 on one connection (RFC 9112).

mod exchange;
mod head_guard;
mod head_scanner;
mod parser_errors;

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::FutureExt as _;
use http::{Request, Response, StatusCode};
use http_body::Body;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use portcullis_gate::Peer;
use tokio_util::sync::CancellationToken;

use crate::MAX_HEAD_BYTES;
use crate::connection_timers::{ClientWait, ConnectionTimers};
use crate::handler::Handler;
use crate::lingering_close::LingeringStream;
use exchange::{Exchange, ExchangeBody};
use head_guard::{HeadGuard, HeadMarks};
use parser_errors::ParserErrors;

/// The parser's settings, the same for every connection.
pub(crate) fn builder() -> Builder {
    let mut builder = Builder::new();
    // hyper's own header timeout would set a timer for each request; `ConnectionTimers` has one for each connection.
    // The limit of 100 header fields is hyper's default: setting it, even to 100, would cost an allocation per request.
    builder.max_buf_size(MAX_HEAD_BYTES);
    builder
}

/// Serves the requests of a connection one after the other until the connection ends or its client is too slow.
pub(crate) async fn serve<H: Handler>(
    handler: &Arc<H>,
    builder: &Builder,
    stream: LingeringStream,
    client: Peer,
    timers: &mut ConnectionTimers,
    stopping: &CancellationToken,
) -> hyper::Result<()> {
    let exchange = Arc::new(Exchange::default());
    let respond = {
        let handler = Arc::clone(handler);
        Box::new(move |status| to_bytes(handler.respond_to_parse_error(status)))
    };
    let stream = ParserErrors::new(stream, Arc::clone(&exchange), respond);
    let (stream, marks) = HeadGuard::new(stream);
    let service = service_fn(|mut request: Request<Incoming>| {
        marks.mark(&mut request);
        exchange.begin();
        async { Ok::<_, Infallible>(ExchangeBody::new(handler.handle(client, request).await, &exchange)) }
    });
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service).with_upgrades());
    let mut is_shutting_down = false;
    loop {
        tokio::select! {
            // The connection first: a parser told to shut down before it has read anything closes without a response.
            biased;
            result = connection.as_mut() => return result,
            () = stopping.cancelled(), if !is_shutting_down => {
                is_shutting_down = true;
                connection.as_mut().graceful_shutdown();
            }
            () = timers.tick() => if timers.is_expired(client_wait(&exchange, &marks)) {
                tracing::debug!(client = %client.address, "a connection was closed because its client neither sent nor read in time");
                return Ok(());
            }
        }
    }
}

/// What the connection waits for its client to do; `None` while a request is handled.
fn client_wait(exchange: &Exchange, marks: &HeadMarks) -> Option<ClientWait> {
    let requests = marks.requests();
    if let Some(stall) = exchange.stall() {
        Some(ClientWait::Read(stall))
    } else if !exchange.is_idle() {
        None
    } else if marks.is_within_head() || requests == 0 {
        // The first request must begin within the header timeout.
        Some(ClientWait::Head(requests))
    } else {
        Some(ClientWait::Request(requests))
    }
}

/// The bytes on the wire of a response whose body is complete.
fn to_bytes<B: Body<Data = Bytes>>(response: Response<B>) -> Bytes {
    let (parts, body) = response.into_parts();
    let body = match body.collect().now_or_never() {
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
