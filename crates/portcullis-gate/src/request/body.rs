//! A request's body on its way through the gate. It is streamed, except that a small form is read whole when the CSRF
//! token may be in it.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use portcullis_model::policy::BodyLimit;
use tokio::time::{Instant, Sleep};

use crate::access_log::ReceivedBytes;

/// A request body that ends with an error at the route's limit, or when the client pauses for too long.
#[derive(Debug)]
pub struct InboundBody {
    source: Source,
    /// Bytes that may still arrive; `None` without a limit.
    left: Option<u64>,
    /// How long the client may pause (`server.body_timeout`).
    timeout: Duration,
    /// The timer of a pause. Allocated at the first pause, because most bodies have none.
    pause: Option<Pin<Box<Sleep>>>,
    /// Counts the bytes that have arrived, for the access log.
    received: Option<ReceivedBytes>,
    /// Whether a pause has begun. It begins when the destination asks for bytes and there are none: the time in which the
    /// destination does not ask is not the client's.
    is_paused: bool,
}

#[derive(Debug)]
enum Source {
    Empty,
    Stream(Incoming),
    /// A body that was read whole, and is passed on unchanged.
    Whole(Option<Bytes>),
}

/// Why a body could not be read to its end.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The body is longer than the route allows.
    #[error("the request body is larger than the route allows")]
    TooLarge,
    /// The client paused for too long.
    #[error("the request body did not arrive in time")]
    TooSlow,
    /// The client closed the connection or broke the framing.
    #[error("the request body ended before it was complete")]
    Transport(#[source] hyper::Error),
}

impl InboundBody {
    pub(crate) fn new(body: Incoming, limit: BodyLimit, timeout: Duration) -> Self {
        let left = match limit {
            BodyLimit::Bytes(bytes) => Some(bytes),
            BodyLimit::Unlimited => None,
        };
        let source = if body.is_end_stream() { Source::Empty } else { Source::Stream(body) };
        Self { source, left, timeout, pause: None, received: None, is_paused: false }
    }

    /// Counts the bytes that arrive from now on; `None` if there will be none.
    pub(crate) fn count(&mut self) -> Option<ReceivedBytes> {
        self.received = matches!(self.source, Source::Stream(_)).then(ReceivedBytes::default);
        self.received.clone()
    }

    /// Returns a body of bytes that have been read already.
    pub fn from_bytes(bytes: Bytes) -> Self {
        Self { source: Source::Whole(Some(bytes)), ..Self::default() }
    }
}

impl Default for InboundBody {
    /// Returns an empty body.
    fn default() -> Self {
        Self {
            source: Source::Empty,
            left: None,
            timeout: Duration::MAX,
            pause: None,
            received: None,
            is_paused: false,
        }
    }
}

impl Body for InboundBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        match &mut this.source {
            Source::Empty => Poll::Ready(None),
            Source::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Source::Stream(body) => {
                let frame = match Pin::new(body).poll_frame(cx) {
                    Poll::Ready(Some(Ok(frame))) => frame,
                    Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(BodyError::Transport(error)))),
                    Poll::Ready(None) => return Poll::Ready(None),
                    Poll::Pending => {
                        let timeout = this.timeout;
                        let is_paused = std::mem::replace(&mut this.is_paused, true);
                        let pause = match &mut this.pause {
                            Some(pause) => {
                                if !is_paused {
                                    pause.as_mut().reset(Instant::now() + timeout);
                                }
                                pause
                            }
                            none => none.insert(Box::pin(tokio::time::sleep(timeout))),
                        };
                        std::task::ready!(pause.as_mut().poll(cx));
                        this.source = Source::Empty;
                        return Poll::Ready(Some(Err(BodyError::TooSlow)));
                    }
                };
                this.is_paused = false;
                if let (Some(received), Some(data)) = (&this.received, frame.data_ref()) {
                    received.fetch_add(data.len() as u64, Ordering::Relaxed);
                }
                if let (Some(left), Some(data)) = (&mut this.left, frame.data_ref()) {
                    match left.checked_sub(data.len() as u64) {
                        Some(rest) => *left = rest,
                        None => {
                            this.source = Source::Empty;
                            return Poll::Ready(Some(Err(BodyError::TooLarge)));
                        }
                    }
                }
                Poll::Ready(Some(Ok(frame)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Empty => true,
            Source::Whole(bytes) => bytes.is_none(),
            Source::Stream(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Empty => SizeHint::with_exact(0),
            Source::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Source::Stream(body) => body.size_hint(),
        }
    }
}
