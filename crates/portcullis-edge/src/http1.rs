//! HTTP/1.1 on one connection (RFC 9112).

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod differential;
mod exchange;
mod message_guard;
mod message_scanner;
mod parser_errors;

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::FutureExt as _;
use http::{Request, Response, StatusCode};
use http_body::Body;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use pin_project_lite::pin_project;
use portcullis_gate::Peer;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio_util::sync::CancellationToken;

use crate::MAX_HEAD_BYTES;
use crate::connection_timers::{ClientWait, ConnectionTimers, Expiry};
use crate::handler::Handler;
use exchange::{Exchange, ExchangeBody};
use message_guard::MessageGuard;
use parser_errors::ParserErrors;

/// How long a connection waits for its next request before its parser and their buffers are given up.
const IDLE_BEFORE_RELEASE: Duration = Duration::from_secs(2);

/// The parser's settings, the same for every connection.
pub(crate) fn builder() -> Builder {
    let mut builder = Builder::new();
    // hyper's own header timeout would set a timer for each request; `ConnectionTimers` has one for each connection.
    // The limit of 100 header fields is hyper's default: setting it, even to 100, would cost an allocation per request.
    builder.max_buf_size(MAX_HEAD_BYTES);
    builder
}

/// What serving a connection needs beside its stream.
pub(crate) struct Service<'a, H> {
    pub(crate) handler: &'a Arc<H>,
    pub(crate) builder: &'a Builder,
    pub(crate) client: Peer,
    pub(crate) stopping: &'a CancellationToken,
}

/// How serving a connection ended.
pub(crate) enum Served<S> {
    /// The connection is over.
    Closed(hyper::Result<()>),
    /// The connection waits for its next request. Nothing of it has arrived, and no byte of a response is left.
    Idle(S),
}

/// Serves the requests of a connection one after the other until the connection ends, its client is too slow, or no
/// request has come for a while. `is_new` says whether the client must still send its first request.
pub(crate) async fn serve<H: Handler, S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(
    service: &Service<'_, H>,
    stream: S,
    is_new: bool,
    timers: &mut ConnectionTimers,
) -> Served<S> {
    let Service { handler, builder, ref client, stopping } = *service;
    let exchange = Arc::new(Exchange::default());
    let respond = {
        let (handler, client) = (Arc::clone(handler), *client);
        Box::new(move |status| to_bytes(handler.respond_to_parse_error(&client, status)))
    };
    let stream = ParserErrors::new(stream, Arc::clone(&exchange), respond);
    let stream = MessageGuard::new(stream, Arc::clone(&exchange));
    let service = service_fn(|mut request: Request<Incoming>| {
        exchange.begin(&mut request);
        Handling { response: handler.handle(client, request), exchange: &exchange }
    });
    let mut connection = builder.serve_connection(TokioIo::new(stream), service).with_upgrades();
    let mut is_shutting_down = false;
    loop {
        tokio::select! {
            // The connection first: a parser told to shut down before it has read anything closes without a response.
            biased;
            result = &mut connection => return Served::Closed(result),
            () = stopping.cancelled(), if !is_shutting_down => {
                is_shutting_down = true;
                Pin::new(&mut connection).graceful_shutdown();
            }
            () = poll_fn(|cx| exchange.poll_right_ended(cx)) => {
                tracing::debug!(client = %client.address, "a connection was closed because its response outlived its right unread");
                return Served::Closed(Ok(()));
            }
            expiry = timers.idle_for(IDLE_BEFORE_RELEASE, || client_wait(&exchange, is_new)) => {
                let is_released = expiry == Expiry::Idle && !is_shutting_down && !exchange.has_pending_body();
                let has_begun_head = exchange.is_idle() && exchange.is_within_head();
                if (is_released || has_begun_head) && let Some(parts) = connection.into_parts() {
                    let mut stream = parts.io.into_inner();
                    if is_released && parts.read_buf.is_empty() {
                        return Served::Idle(stream.into_inner().into_inner());
                    }
                    if has_begun_head {
                        // The client is told why it gets no other response. What the socket does not take at once is
                        // lost: such a client does not read either.
                        let response = to_bytes(handler.respond_to_parse_error(client, StatusCode::REQUEST_TIMEOUT));
                        let _ = stream.write_all(&response).now_or_never();
                    }
                }
                tracing::debug!(client = %client.address, "a connection was closed because its client neither sent nor read in time");
                return Served::Closed(Ok(()));
            }
        }
    }
}

pin_project! {
    /// The handling of a request. An async block in its place would have the compiler copy the handler's future, which has
    /// several kilobytes.
    struct Handling<'e, F> {
        #[pin]
        response: F,
        exchange: &'e Arc<Exchange>,
    }
}

impl<B, F: Future<Output = Response<B>>> Future for Handling<'_, F> {
    type Output = Result<Response<ExchangeBody<B>>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        this.response.poll(cx).map(|response| Ok(ExchangeBody::new(response, this.exchange)))
    }
}

/// What the connection waits for its client to do; `None` while a request is handled.
fn client_wait(exchange: &Exchange, is_new: bool) -> Option<ClientWait> {
    let requests = exchange.requests();
    if let Some(stall) = exchange.stall() {
        Some(ClientWait::Read(stall))
    } else if !exchange.is_idle() {
        exchange.writes_to_half_closed().map(ClientWait::Part)
    } else if exchange.is_within_head() || (requests == 0 && is_new) {
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
