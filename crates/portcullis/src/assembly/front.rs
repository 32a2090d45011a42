//! Handles each request: the gate, then the destination, then the headers and metrics of the response.

use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;

use http::{Request, Response, StatusCode, Uri};
use hyper::body::Incoming;
use portcullis_api::{ApiError, ErrorContext, ReplyBody, Services};
use portcullis_edge::{Handler, Panic, catch_panic};
use portcullis_gate::{
    Destination, Gate, GateOutcome, InboundBody, Malformation, Permit, Refusal, RequestContext, RequestId, Verdict,
};
use portcullis_proxy::Proxy;
use portcullis_telemetry::RequestScope;

use super::response_body::FrontBody;

/// Handles requests: the gate decides, then a built-in endpoint or an upstream responds.
pub(crate) struct Front {
    pub(crate) gate: Arc<Gate>,
    pub(crate) proxy: Arc<Proxy>,
    pub(crate) services: Arc<Services>,
}

impl Front {
    fn error_response(&self, error: ApiError, context: ErrorContext<'_>) -> Response<FrontBody> {
        error.into_response(context, &self.services.clock).map(FrontBody::BuiltIn)
    }

    async fn respond(
        &self,
        permit: Permit,
        request: Request<InboundBody>,
        context: &RequestContext,
    ) -> Response<FrontBody> {
        match permit.destination() {
            Destination::BuiltIn(id) => {
                let id = *id;
                let error_context = error_context(context);
                portcullis_api::respond(&self.services, id, permit, request, error_context)
                    .await
                    .map(FrontBody::BuiltIn)
            }
            Destination::Upstream(_) => match self.proxy.forward(&permit, request).await {
                Ok(response) => {
                    response.map(|body| FrontBody::upstream(body, *context.request_id(), &self.services.metrics))
                }
                Err(error) => self.error_response(ApiError::from(error), error_context(context)),
            },
        }
    }

    /// Passes a request through the gate to its destination.
    async fn handle_identified(
        &self,
        client: SocketAddr,
        id: RequestId,
        request: Request<Incoming>,
    ) -> Response<FrontBody> {
        let GateOutcome { context, verdict } = self.gate.pass(client, id, request).await;
        let mut response = match verdict {
            Verdict::Refused(refusal) => self.error_response(ApiError::from(refusal), error_context(&context)),
            Verdict::Preflight => Response::new(FrontBody::BuiltIn(ReplyBody::default())),
            Verdict::Permitted((permit, request)) => {
                // Caught here rather than by the edge, so that the 500 gets the route's headers and metrics.
                match catch_panic(pin!(self.respond(permit, request, &context))).await {
                    Ok(response) => response,
                    Err(panic) => self.panic_response(&panic, error_context(&context)),
                }
            }
        };
        self.gate.finish(context, &mut response);
        response
    }

    /// Counts and logs a panic, and returns the 500 that the client gets.
    fn panic_response(&self, panic: &Panic, context: ErrorContext<'_>) -> Response<FrontBody> {
        self.services.metrics.panic();
        tracing::error!(
            path = context.path,
            panic = panic.message(),
            "handling a request panicked; its client got a 500, other requests go on"
        );
        self.error_response(ApiError::internal(), context)
    }
}

fn error_context(context: &RequestContext) -> ErrorContext<'_> {
    ErrorContext {
        path: context.raw_path(),
        request_id: context.request_id().as_str(),
        prefers_problem: context.prefers_problem(),
    }
}

impl Handler for Front {
    type Body = FrontBody;

    /// Every log line that is written while the request is handled carries its id.
    fn handle(
        &self,
        client: SocketAddr,
        request: Request<Incoming>,
    ) -> impl Future<Output = Response<FrontBody>> + Send {
        let (id, scope) = self.gate.identify(request.headers());
        scope.wrap(self.handle_identified(client, id, request))
    }

    fn respond_to_parse_error(&self, status: StatusCode) -> Response<FrontBody> {
        let refusal = match status {
            StatusCode::URI_TOO_LONG => Refusal::UrlTooLong,
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => Refusal::HeadTooLarge,
            _ => Refusal::Malformed(Malformation::Head),
        };
        let context = self.gate.unparsed_request();
        let error_context =
            ErrorContext { path: "", request_id: context.request_id().as_str(), prefers_problem: false };
        let mut response = self.error_response(ApiError::from(refusal), error_context);
        self.gate.finish(context, &mut response);
        response
    }

    fn respond_to_panic(&self, uri: &Uri, panic: &Panic) -> Response<FrontBody> {
        let context = self.gate.unparsed_request();
        let error_context =
            ErrorContext { path: uri.path(), request_id: context.request_id().as_str(), prefers_problem: false };
        let scope = RequestScope::new(context.request_id().as_bytes(), None);
        let mut response = scope.run(|| self.panic_response(panic, error_context));
        self.gate.finish(context, &mut response);
        response
    }

    fn trusts(&self, peer: IpAddr) -> bool {
        self.gate.is_trusted_proxy(peer)
    }
}
