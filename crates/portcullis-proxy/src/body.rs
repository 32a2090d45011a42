//! The body of an upstream's response. The client's connection polls it, and so drives the connection to the upstream.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use portcullis_gate::{StreamEnd, StreamGuard};
use portcullis_telemetry::RequestScope;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::error::{Outcome, ProxyError};
use crate::http1::{Exchange, Framing};
use crate::upstreams::{ActiveUpstream, Target};

/// The body of an upstream's response, streamed to the client.
pub struct ProxyBody {
    source: Source,
    /// Ends the body with the session or the right that it stands on.
    stream: Option<LiveStream>,
    /// Ends an event stream when the process stops.
    stopping: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
}

enum Source {
    /// The body is empty or complete.
    Complete,
    /// The whole body, which arrived with the response's head.
    Whole(Bytes),
    /// The rest of the body is read from the upstream.
    Streaming(Box<Streaming>),
}

/// The rest of a body, and the exchange that it is read from.
struct Streaming {
    exchange: Exchange,
    framing: Framing,
    /// How long the upstream may pause.
    idle_timeout: Option<Duration>,
    origin: Origin,
    /// The server reads the body after the request's own future has ended.
    scope: RequestScope,
}

/// Where a response comes from.
#[derive(Clone)]
pub(crate) struct Origin {
    pub(crate) upstream: Arc<ActiveUpstream>,
    pub(crate) target: Arc<Target>,
}

/// A registered stream, which ends with the session or the right that it stands on.
pub(crate) struct LiveStream {
    ended: Pin<Box<WaitForCancellationFutureOwned>>,
    guard: StreamGuard,
}

impl LiveStream {
    pub(crate) fn new(guard: StreamGuard) -> Self {
        Self { ended: Box::pin(guard.ended()), guard }
    }

    pub(crate) fn poll_ended(&mut self, cx: &mut Context<'_>) -> Poll<ProxyError> {
        self.ended.as_mut().poll(cx).map(|()| match self.guard.end() {
            Some(StreamEnd::RightLost) => ProxyError::RightLost,
            Some(StreamEnd::Unconfirmed) => ProxyError::Unconfirmed,
            Some(StreamEnd::SessionEnded) | None => ProxyError::SessionEnded,
        })
    }
}

impl ProxyBody {
    /// The empty body of a response that switches protocols.
    pub(crate) fn empty() -> Self {
        Self { source: Source::Complete, stream: None, stopping: None }
    }

    /// The body of a response whose head was read.
    pub(crate) fn new(
        mut exchange: Exchange,
        mut framing: Framing,
        idle_timeout: Option<Duration>,
        origin: Origin,
    ) -> Self {
        let source = match exchange.whole(&mut framing) {
            Some(body) => {
                release(exchange, &origin.target);
                if body.is_empty() { Source::Complete } else { Source::Whole(body) }
            }
            None => {
                let scope = RequestScope::current();
                Source::Streaming(Box::new(Streaming { exchange, framing, idle_timeout, origin, scope }))
            }
        };
        Self { source, stream: None, stopping: None }
    }

    /// Returns the scope of the request whose response this is, while more of the body is read from the upstream.
    pub fn scope(&self) -> RequestScope {
        match &self.source {
            Source::Streaming(streaming) => streaming.scope.clone(),
            Source::Complete | Source::Whole(_) => RequestScope::OUTSIDE,
        }
    }

    /// Returns the token that is cancelled when the gateway ends the body, if it is a stream that ends with a right. A server
    /// whose client does not read does not ask the body, and so must watch this.
    pub fn right_ended(&self) -> Option<CancellationToken> {
        self.stream.as_ref().map(|stream| stream.guard.end_token())
    }

    /// Whether more of the body is read from the upstream.
    pub(crate) fn is_streaming(&self) -> bool {
        matches!(self.source, Source::Streaming(_))
    }

    /// Ends the body with this stream. A second registration of the same request changes nothing.
    pub(crate) fn end_with(&mut self, stream: LiveStream) {
        self.stream.get_or_insert(stream);
    }

    /// Ends the body as if it were complete when the process stops.
    pub(crate) fn end_at_stop(&mut self, stopping: CancellationToken) {
        self.stopping = Some(Box::pin(stopping.cancelled_owned()));
    }

    /// Ends the body and gives its connection back to the pool.
    fn end(&mut self) {
        if let Source::Streaming(streaming) = std::mem::replace(&mut self.source, Source::Complete) {
            let Streaming { exchange, origin, .. } = *streaming;
            release(exchange, &origin.target);
        }
    }
}

fn release(exchange: Exchange, target: &Target) {
    if let Some((connection, keep_alive)) = exchange.into_reusable() {
        target.pool.release(connection, keep_alive);
    }
}

impl Body for ProxyBody {
    type Data = Bytes;
    type Error = ProxyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ProxyError>>> {
        let this = self.get_mut();
        if let Some(stream) = &mut this.stream
            && let Poll::Ready(error) = stream.poll_ended(cx)
        {
            this.source = Source::Complete;
            return Poll::Ready(Some(Err(error)));
        }
        if let Some(stopping) = &mut this.stopping
            && stopping.as_mut().poll(cx).is_ready()
        {
            // The stream looks complete, so that a page connects again (HTML §9.2.3).
            this.source = Source::Complete;
        }
        let streaming = match &mut this.source {
            Source::Complete => return Poll::Ready(None),
            Source::Whole(body) => {
                let body = std::mem::take(body);
                this.source = Source::Complete;
                return Poll::Ready(Some(Ok(Frame::data(body))));
            }
            Source::Streaming(streaming) => streaming,
        };
        let _entered = streaming.scope.enter();
        match std::task::ready!(streaming.exchange.poll_body(&mut streaming.framing, streaming.idle_timeout, cx)) {
            Some(Ok(data)) => {
                if streaming.framing.left() == Some(0) {
                    this.end();
                }
                Poll::Ready(Some(Ok(Frame::data(data))))
            }
            Some(Err(error)) => {
                tracing::debug!(error = &error as &dyn std::error::Error, "a response was cut off");
                if error.outcome() != Outcome::Client {
                    streaming.origin.upstream.record_body_failure();
                }
                this.source = Source::Complete;
                Poll::Ready(Some(Err(error)))
            }
            None => {
                this.end();
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.source, Source::Complete)
    }

    fn size_hint(&self) -> SizeHint {
        let left = match &self.source {
            Source::Complete => Some(0),
            Source::Whole(body) => Some(body.len() as u64),
            Source::Streaming(streaming) => streaming.framing.left(),
        };
        left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
