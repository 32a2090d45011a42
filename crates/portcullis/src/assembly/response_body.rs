//! The body of every response: complete from a built-in endpoint, or streamed from an upstream.

use std::error::Error;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use portcullis_api::ReplyBody;
use portcullis_gate::Route;
use portcullis_proxy::ProxyBody;
use portcullis_telemetry::Errors;
use portcullis_telemetry::errors::catch_panic;

pub(crate) enum FrontBody {
    BuiltIn(ReplyBody),
    /// `route` and `errors` are for a panic while the body is streamed. hyper moves this value several times for each
    /// response.
    Upstream {
        body: ProxyBody,
        route: Arc<Route>,
        errors: Errors,
    },
}

impl FrontBody {
    pub(crate) fn upstream(body: ProxyBody, route: Arc<Route>, errors: &Errors) -> Self {
        Self::Upstream { body, route, errors: errors.clone() }
    }
}

impl Body for FrontBody {
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match self.get_mut() {
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
