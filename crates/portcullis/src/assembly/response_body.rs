//! The body of every response: complete from a built-in endpoint, or streamed from an upstream.

use std::error::Error;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use portcullis_api::ReplyBody;
use portcullis_edge::Panic;
use portcullis_gate::RequestId;
use portcullis_proxy::ProxyBody;
use portcullis_telemetry::{Metrics, RequestScope};

pub(crate) enum FrontBody {
    BuiltIn(ReplyBody),
    Upstream { body: ProxyBody, request_id: RequestId, metrics: Metrics },
}

impl FrontBody {
    /// A body from an upstream. `request_id` and `metrics` record a panic while it is streamed.
    pub(crate) fn upstream(body: ProxyBody, request_id: RequestId, metrics: &Metrics) -> Self {
        Self::Upstream { body, request_id, metrics: metrics.clone() }
    }
}

impl Body for FrontBody {
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match self.get_mut() {
            Self::BuiltIn(body) => Pin::new(body).poll_frame(cx).map_err(|never| match never {}),
            Self::Upstream { body, request_id, metrics } => {
                match catch_unwind(AssertUnwindSafe(|| Pin::new(body).poll_frame(cx))) {
                    Ok(polled) => polled.map_err(Into::into),
                    Err(payload) => {
                        metrics.panic();
                        let _entered = RequestScope::new(request_id.as_bytes(), None).enter();
                        tracing::error!(
                            panic = Panic::from_payload(&*payload).message(),
                            "streaming a response panicked; the response was cut off, other requests go on"
                        );
                        Poll::Ready(Some(Err("streaming the response panicked".into())))
                    }
                }
            }
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
