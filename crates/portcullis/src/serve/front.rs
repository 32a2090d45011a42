//! The way of a request: gate, destination, finish.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use portcullis_api::{Fault, FaultContext, ReplyBody, Services};
use portcullis_gate::{Destination, Gate, Malformation, Passage, Refusal};
use portcullis_proxy::{Proxy, ProxyBody};

/// Everything a request meets.
pub(super) struct Front {
    pub(super) gate: Arc<Gate>,
    pub(super) proxy: Arc<Proxy>,
    pub(super) services: Arc<Services>,
}

impl Front {
    /// Answers what the HTTP parser took for no request, with the status that it chose.
    pub(super) fn answer_to_nothing(&self, status: u16) -> Response<FrontBody> {
        let refusal = match status {
            414 => Refusal::UrlTooLong,
            431 => Refusal::HeadTooLarge,
            _ => Refusal::Malformed(Malformation::Head),
        };
        let context = self.gate.no_request();
        let fault_context =
            FaultContext { path: "", request_id: context.request_id().as_str(), prefers_problem: false };
        let mut response = Fault::from(refusal).into_response(fault_context, &self.services.clock).map(FrontBody::Ours);
        self.gate.finish(context, &mut response);
        response
    }

    /// Answers a request. Every answer, refusals included, passes the gate's `finish`.
    pub(super) async fn handle(&self, peer: SocketAddr, request: Request<Incoming>) -> Response<FrontBody> {
        let Passage { context, verdict } = self.gate.pass(peer, request).await;
        let fault_context = FaultContext {
            path: context.raw_path(),
            request_id: context.request_id().as_str(),
            prefers_problem: context.prefers_problem(),
        };
        let mut response = match verdict {
            Err(refusal) => {
                Fault::from(refusal).into_response(fault_context, &self.services.clock).map(FrontBody::Ours)
            }
            Ok((permit, request)) => match permit.destination() {
                Destination::BuiltIn(id) => {
                    let id = *id;
                    portcullis_api::answer(&self.services, id, permit, request, fault_context)
                        .await
                        .map(FrontBody::Ours)
                }
                Destination::Upstream(_) => match self.proxy.carry(&permit, request).await {
                    Ok(response) => response.map(FrontBody::Theirs),
                    Err(error) => {
                        Fault::from(error).into_response(fault_context, &self.services.clock).map(FrontBody::Ours)
                    }
                },
            },
        };
        self.gate.finish(context, &mut response);
        response
    }
}

/// An answer's body: written here, or streamed from an upstream.
pub(super) enum FrontBody {
    Ours(ReplyBody),
    Theirs(ProxyBody),
}

impl Body for FrontBody {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match self.get_mut() {
            Self::Ours(body) => Pin::new(body).poll_frame(cx).map_err(|never| match never {}),
            Self::Theirs(body) => Pin::new(body).poll_frame(cx).map_err(Into::into),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Ours(body) => body.is_end_stream(),
            Self::Theirs(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Ours(body) => body.size_hint(),
            Self::Theirs(body) => body.size_hint(),
        }
    }
}
