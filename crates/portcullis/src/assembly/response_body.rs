//! The body of every response: complete from a built-in endpoint, or streamed from an upstream.

use std::error::Error;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use portcullis_api::ReplyBody;
use portcullis_gate::{AccessRecord, Route};
use portcullis_proxy::{ProxyBody, ProxyError};
use portcullis_telemetry::Errors;
use portcullis_telemetry::errors::catch_panic;

pub(crate) struct FrontBody {
    content: Content,
    /// Writes a line of the access log and ends the request's span when it is dropped with the body. It sees what the body
    /// passes on.
    record: Option<AccessRecord>,
}

enum Content {
    BuiltIn(ReplyBody),
    /// `route` and `errors` are for a panic while the body is streamed. hyper moves this value several times for each
    /// response.
    Upstream {
        body: ProxyBody,
        route: Arc<Route>,
        errors: Errors,
    },
}

/// Why a body cannot be passed on to its end.
type BodyError = Box<dyn Error + Send + Sync>;

impl FrontBody {
    pub(crate) fn built_in(body: ReplyBody) -> Self {
        Self { content: Content::BuiltIn(body), record: None }
    }

    pub(crate) fn upstream(body: ProxyBody, route: Arc<Route>, errors: &Errors) -> Self {
        Self { content: Content::Upstream { body, route, errors: errors.clone() }, record: None }
    }

    /// Shows the request in the access log, and ends its span, when the body has ended or was broken off.
    pub(crate) fn show_at_end(&mut self, record: Option<AccessRecord>) {
        self.record = record;
        if let Some(record) = &mut self.record
            && self.content.is_end_stream()
        {
            record.complete();
        }
    }
}

impl Body for FrontBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let Self { content, record } = self.get_mut();
        let polled = content.poll_frame(cx);
        if let Some(record) = record {
            if let Poll::Ready(Some(Ok(frame))) = &polled {
                record.sent(frame.data_ref().map_or(0, Bytes::len));
            }
            // A body that is known to have ended is not polled again, and one that failed is not complete.
            let is_end = match &polled {
                Poll::Ready(Some(Ok(_))) => content.is_end_stream(),
                Poll::Ready(None) => true,
                Poll::Ready(Some(Err(error))) => {
                    record.failed(error.downcast_ref().map_or("panic", ProxyError::proxy_status));
                    false
                }
                Poll::Pending => false,
            };
            if is_end {
                record.complete();
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.content.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.content.size_hint()
    }
}

impl Content {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self {
            Self::BuiltIn(body) => Pin::new(body).poll_frame(cx).map_err(|never| match never {}),
            Self::Upstream { body, route, errors } => match catch_panic(|| Pin::new(&mut *body).poll_frame(cx)) {
                Ok(polled) => polled.map_err(Into::into),
                Err(panic) => {
                    let _entered = body.scope().enter();
                    errors.panicked(&panic, Some(&route.template));
                    tracing::error!(
                        panic = panic.message(),
                        "streaming a response panicked; the response was cut off, other requests go on"
                    );
                    Poll::Ready(Some(Err("streaming the response panicked".into())))
                }
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::BuiltIn(body) => body.is_end_stream(),
            Self::Upstream { body, .. } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::BuiltIn(body) => body.size_hint(),
            Self::Upstream { body, .. } => body.size_hint(),
        }
    }
}
