//! An answer's body on its way back: streamed, while its connection is driven
//! by whoever reads it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use portcullis_gate::{InboundBody, StreamGuard};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::error::ProxyError;
use crate::pool::Connection;
use crate::upstream::Target;

/// An upstream's body.
pub struct ProxyBody {
    body: Option<Incoming>,
    /// The connection the body comes from, until it is given back.
    connection: Option<(Connection, Arc<Target>)>,
    live: Option<Live>,
    /// Ends an event stream when the process stops.
    stopping: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
    /// Keeps a connection open that has a task of its own.
    _sender: Option<SendRequest<InboundBody>>,
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
        Self { body: None, connection: None, live: None, stopping: None, _sender: None }
    }

    pub(crate) fn new(
        body: Incoming,
        connection: Connection,
        target: Arc<Target>,
        live: Option<Live>,
        stopping: Option<CancellationToken>,
    ) -> Self {
        let stopping = stopping.map(|token| Box::pin(token.cancelled_owned()));
        Self { body: Some(body), connection: Some((connection, target)), live, stopping, _sender: None }
    }

    /// A body whose connection is driven by another task.
    pub(crate) fn driven_elsewhere(body: Incoming, sender: SendRequest<InboundBody>, live: Option<Live>) -> Self {
        Self { body: Some(body), connection: None, live, stopping: None, _sender: Some(sender) }
    }

    /// Ends the body when `upload` ends. Both are of one session, so one registration is enough.
    pub(crate) fn end_with(&mut self, upload: Live) {
        self.live.get_or_insert(upload);
    }

    /// A body that has ended needs its connection no longer.
    pub(crate) fn release_if_done(&mut self, cx: &mut Context<'_>) {
        if self.is_end_stream()
            && let Some((connection, target)) = self.connection.take()
        {
            target.pool.give_back(connection, cx);
        }
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
            this.connection = None;
            return Poll::Ready(Some(Err(ProxyError::SessionEnded)));
        }
        if let Some(stopping) = &mut this.stopping
            && stopping.as_mut().poll(cx).is_ready()
        {
            // It looks complete, so that a page connects again (HTML §9.2.3).
            (this.body, this.connection) = (None, None);
        }
        let Some(body) = &mut this.body else { return Poll::Ready(None) };
        let mut polled = Pin::new(&mut *body).poll_frame(cx);
        if polled.is_pending()
            && let Some((connection, _)) = &mut this.connection
        {
            // The frame may be waiting in the socket: read, then look again. A
            // connection that has closed has said so to the body.
            let _ = connection.driver.drive(cx);
            polled = Pin::new(body).poll_frame(cx);
        }
        match polled {
            Poll::Ready(Some(Ok(frame))) => {
                this.release_if_done(cx);
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                this.connection = None;
                Poll::Ready(Some(Err(ProxyError::Broken(error))))
            }
            Poll::Ready(None) => {
                this.body = None;
                this.release_if_done(cx);
                Poll::Ready(None)
            }
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}
