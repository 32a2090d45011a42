//! Handles each request: the gate, then the destination, then the headers and metrics of the response.

use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;

use http::request::Parts;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use hyper::body::Incoming;
use portcullis_api::{ApiError, ErrorContext, Fault, ReplyBody, Services};
use portcullis_edge::{EndsWith, Handler};
use portcullis_gate::{BodyError, Destination, Gate, Malformation, Peer, Refusal, RequestContext, Verdict};
use portcullis_proxy::Proxy;
use portcullis_telemetry::Errors;
use portcullis_telemetry::errors::{Panic, catch_panic_in};

use super::response_body::FrontBody;

/// Handles requests: the gate decides, then a built-in endpoint or an upstream responds.
pub(crate) struct Front {
    pub(crate) gate: Arc<Gate>,
    pub(crate) proxy: Arc<Proxy>,
    pub(crate) services: Arc<Services>,
    pub(crate) errors: Errors,
    /// Whether `/metrics` is here and not on a listener of its own.
    pub(crate) shows_metrics: bool,
    /// Whether a share of the requests is reported to Sentry. Noted here, so that it costs no look into `errors`.
    pub(crate) reports_requests: bool,
}

impl Front {
    fn error_response(&self, error: ApiError, context: ErrorContext<'_>) -> Response<FrontBody> {
        error.into_response(context, &self.services.clock).map(FrontBody::built_in)
    }

    /// Passes a request through the gate to its destination.
    async fn respond(
        &self,
        context: &mut RequestContext,
        client: &Peer,
        parts: &mut Parts,
        body: Incoming,
    ) -> Response<FrontBody> {
        match self.gate.pass(context, client, parts, body).await {
            Verdict::Refused(refusal) => {
                let mut response = self.error_response(ApiError::from(refusal), error_context(context));
                self.report(context, &mut response);
                if context.is_proxied() {
                    name_proxy(&mut response);
                }
                response
            }
            Verdict::Preflight => Response::new(FrontBody::built_in(ReplyBody::default())),
            Verdict::Permitted((permit, body)) => match *permit.destination() {
                Destination::BuiltIn(id) if !self.shows_metrics && portcullis_api::is_metrics(id) => {
                    self.error_response(ApiError::from(Refusal::NotFound), error_context(context))
                }
                Destination::BuiltIn(id) => {
                    let error_context = error_context(context);
                    let headers = std::mem::take(&mut parts.headers);
                    let reply = portcullis_api::respond(&self.services, id, permit, headers, body, error_context);
                    let mut response = reply.await.map(FrontBody::built_in);
                    self.report(context, &mut response);
                    response
                }
                Destination::Upstream(ref forwarding) => {
                    context.upstream_begins(&forwarding.upstream);
                    let forwarded = self.proxy.forward(&permit, parts, body).await;
                    context.upstream_ended();
                    match forwarded {
                        Ok(mut response) => {
                            if let Some(ended) = response.body().right_ended() {
                                response.extensions_mut().insert(EndsWith(ended));
                            }
                            response.map(|body| FrontBody::upstream(body, permit.into_route(), &self.errors))
                        }
                        Err(error) => {
                            let mut response = self.error_response(ApiError::from(error), error_context(context));
                            self.report(context, &mut response);
                            response
                        }
                    }
                }
            },
        }
    }

    /// Records a 5xx that is the gateway's own failure.
    fn report<B>(&self, context: &RequestContext, response: &mut Response<B>) {
        if let Some(Fault(cause)) = response.extensions_mut().remove() {
            self.errors.failed_request(&cause, context.route());
        }
    }

    /// Reports a request to Sentry, if it is of the share that is reported.
    fn report_handled(&self, context: &RequestContext, status: StatusCode) {
        if self.errors.samples_request(context.request_id().as_str())
            && let Some(request) = context.handled(status.as_u16())
        {
            self.errors.handled_request(&request);
        }
    }

    /// Records and logs a panic, and returns the 500 that the client gets.
    fn panic_response(&self, panic: &Panic, context: &RequestContext) -> Response<FrontBody> {
        self.errors.panicked(panic, Some(context.route()));
        tracing::error!(
            path = context.raw_path(),
            panic = panic.message(),
            "handling a request panicked; its client got a 500, other requests go on"
        );
        self.error_response(ApiError::internal(), error_context(context))
    }
}

/// Adds `Proxy-Status` (RFC 9209) to the gate's own 408 and 503 on a route to an upstream, which did not cause them.
fn name_proxy<B>(response: &mut Response<B>) {
    let status = match response.status() {
        StatusCode::REQUEST_TIMEOUT => HeaderValue::from_static("portcullis; error=http_request_error"),
        StatusCode::SERVICE_UNAVAILABLE => HeaderValue::from_static("portcullis; error=proxy_internal_error"),
        _ => return,
    };
    response.headers_mut().insert(HeaderName::from_static("proxy-status"), status);
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

    /// Every log line that is written while the request is handled carries its ids. A panic becomes a 500 with the headers
    /// and metrics of what was known of the request by then.
    async fn handle(&self, client: &Peer, request: Request<Incoming>) -> Response<FrontBody> {
        let mut context = self.gate.begin(client, &request);
        let scope = context.scope();
        let (mut parts, body) = request.into_parts();
        let responded = {
            let response = pin!(Some(self.respond(&mut context, client, &mut parts, body)));
            catch_panic_in(pin!(scope.drive(response))).await
        };
        let mut response = responded.unwrap_or_else(|panic| scope.run(|| self.panic_response(&panic, &context)));
        if self.reports_requests {
            self.report_handled(&context, response.status());
        }
        let record = self.gate.finish(&mut context, &mut response);
        response.body_mut().show_at_end(record);
        response
    }

    fn respond_to_parse_error(&self, client: &Peer, status: StatusCode) -> Response<FrontBody> {
        let error = match status {
            StatusCode::REQUEST_TIMEOUT => ApiError::from(BodyError::TooSlow),
            StatusCode::URI_TOO_LONG => ApiError::from(Refusal::UrlTooLong),
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => ApiError::from(Refusal::HeadTooLarge),
            _ => ApiError::from(Refusal::Malformed(Malformation::Head)),
        };
        let mut context = self.gate.unparsed_request(client);
        let error_context =
            ErrorContext { path: "", request_id: context.request_id().as_str(), prefers_problem: false };
        let mut response = context.scope().run(|| self.error_response(error, error_context));
        let record = self.gate.finish(&mut context, &mut response);
        response.body_mut().show_at_end(record);
        response
    }

    fn drain_ends(&self) {
        portcullis_gate::cut_off_requests();
    }

    fn trusts(&self, peer: IpAddr) -> bool {
        self.gate.is_trusted_proxy(peer)
    }
}
