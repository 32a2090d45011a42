//! A request's body on its way through the gate: streamed, and never gathered
//! but for a small `_csrf` form.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use portcullis_model::policy::BodyLimit;
use tokio::time::{Instant, Sleep};

/// A body that stops at the route's limit.
#[derive(Debug)]
pub struct InboundBody {
    source: Source,
    /// Bytes that may still come; `None` without a limit.
    left: Option<u64>,
    /// How long the client may pause.
    patience: Duration,
    /// Runs while nothing comes. Made at the first pause: most bodies have none.
    pause: Option<Pin<Box<Sleep>>>,
}

#[derive(Debug)]
enum Source {
    Empty,
    Stream(Incoming),
    /// Gathered to look for `_csrf`, and passed on unchanged.
    Gathered(Option<Bytes>),
}

/// Why a body could not be read to its end.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// Longer than the route allows.
    #[error("the request body is larger than the route allows")]
    TooLarge,
    /// The client paused for too long.
    #[error("the request body did not come in time")]
    TooSlow,
    /// The client went away or broke the framing.
    #[error("the request body was cut")]
    Transport(#[source] hyper::Error),
}

impl InboundBody {
    pub(crate) fn new(body: Incoming, limit: BodyLimit, patience: Duration) -> Self {
        let left = match limit {
            BodyLimit::Bytes(bytes) => Some(bytes),
            BodyLimit::Unlimited => None,
        };
        let source = if body.is_end_stream() { Source::Empty } else { Source::Stream(body) };
        Self { source, left, patience, pause: None }
    }

    /// One that is whole already.
    pub fn gathered(bytes: Bytes) -> Self {
        Self { source: Source::Gathered(Some(bytes)), ..Self::default() }
    }
}

impl Default for InboundBody {
    /// No body.
    fn default() -> Self {
        Self { source: Source::Empty, left: None, patience: Duration::MAX, pause: None }
    }
}

impl Body for InboundBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        match &mut this.source {
            Source::Empty => Poll::Ready(None),
            Source::Gathered(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Source::Stream(body) => {
                let frame = match Pin::new(body).poll_frame(cx) {
                    Poll::Ready(Some(Ok(frame))) => frame,
                    Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(BodyError::Transport(error)))),
                    Poll::Ready(None) => return Poll::Ready(None),
                    Poll::Pending => {
                        let limit = this.patience;
                        let pause = this.pause.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
                        std::task::ready!(pause.as_mut().poll(cx));
                        this.source = Source::Empty;
                        return Poll::Ready(Some(Err(BodyError::TooSlow)));
                    }
                };
                if let Some(pause) = &mut this.pause {
                    pause.as_mut().reset(Instant::now() + this.patience);
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
            Source::Gathered(bytes) => bytes.is_none(),
            Source::Stream(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Empty => SizeHint::with_exact(0),
            Source::Gathered(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Source::Stream(body) => body.size_hint(),
        }
    }
}
