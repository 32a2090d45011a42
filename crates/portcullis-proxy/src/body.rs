//! An answer's body on its way back: streamed, while its connection is driven
//! by whoever reads it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use portcullis_gate::StreamGuard;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::error::ProxyError;
use crate::http1::{Exchange, Framing};
use crate::upstream::Target;

/// An upstream's body.
pub struct ProxyBody {
    source: Source,
    live: Option<Live>,
    /// Ends an event stream when the process stops.
    stopping: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
}

enum Source {
    /// Nothing, or nothing more.
    Over,
    /// All of it.
    Whole(Bytes),
    /// What has yet to come.
    Coming(Box<Coming>),
}

/// The rest of a body, and the connection that it comes from.
struct Coming {
    exchange: Exchange,
    framing: Framing,
    target: Arc<Target>,
}

/// A registered stream: it ends with its session.
pub(crate) struct Live {
    closed: Pin<Box<WaitForCancellationFutureOwned>>,
    _guard: StreamGuard,
}

impl Live {
    pub(crate) fn new(guard: StreamGuard) -> Self {
        Self { closed: Box::pin(guard.closed()), _guard: guard }
    }

    pub(crate) fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.closed.as_mut().poll(cx)
    }
}

impl ProxyBody {
    /// No body: an upgrade's answer.
    pub(crate) fn empty() -> Self {
        Self { source: Source::Over, live: None, stopping: None }
    }

    /// The body behind an answer's head.
    pub(crate) fn new(mut exchange: Exchange, mut framing: Framing, target: Arc<Target>) -> Self {
        let source = match exchange.whole(&mut framing) {
            Some(body) => {
                give_back(exchange, &target);
                if body.is_empty() { Source::Over } else { Source::Whole(body) }
            }
            None => Source::Coming(Box::new(Coming { exchange, framing, target })),
        };
        Self { source, live: None, stopping: None }
    }

    /// Ends the body when its session ends. If another registration of that session does so already, that is enough.
    pub(crate) fn end_with(&mut self, live: Live) {
        self.live.get_or_insert(live);
    }

    /// Ends the body, as if it were complete, when the process stops.
    pub(crate) fn end_at(&mut self, stopping: CancellationToken) {
        self.stopping = Some(Box::pin(stopping.cancelled_owned()));
    }

    /// A body that has ended needs its connection no longer.
    fn end(&mut self) {
        if let Source::Coming(coming) = std::mem::replace(&mut self.source, Source::Over) {
            let Coming { exchange, target, .. } = *coming;
            give_back(exchange, &target);
        }
    }
}

fn give_back(exchange: Exchange, target: &Target) {
    if let Some(connection) = exchange.into_reusable() {
        target.pool.give_back(connection);
    }
}

impl Body for ProxyBody {
    type Data = Bytes;
    type Error = ProxyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ProxyError>>> {
        let this = self.get_mut();
        if let Some(live) = &mut this.live
            && live.poll_closed(cx).is_ready()
        {
            this.source = Source::Over;
            return Poll::Ready(Some(Err(ProxyError::SessionEnded)));
        }
        if let Some(stopping) = &mut this.stopping
            && stopping.as_mut().poll(cx).is_ready()
        {
            // It looks complete, so that a page connects again (HTML §9.2.3).
            this.source = Source::Over;
        }
        let coming = match &mut this.source {
            Source::Over => return Poll::Ready(None),
            Source::Whole(body) => {
                let body = std::mem::take(body);
                this.source = Source::Over;
                return Poll::Ready(Some(Ok(Frame::data(body))));
            }
            Source::Coming(coming) => coming,
        };
        match std::task::ready!(coming.exchange.poll_body(&mut coming.framing, cx)) {
            Some(Ok(data)) => {
                if coming.framing.left() == Some(0) {
                    this.end();
                }
                Poll::Ready(Some(Ok(Frame::data(data))))
            }
            Some(Err(error)) => {
                this.source = Source::Over;
                Poll::Ready(Some(Err(error)))
            }
            None => {
                this.end();
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.source, Source::Over)
    }

    fn size_hint(&self) -> SizeHint {
        let left = match &self.source {
            Source::Over => Some(0),
            Source::Whole(body) => Some(body.len() as u64),
            Source::Coming(coming) => coming.framing.left(),
        };
        left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
