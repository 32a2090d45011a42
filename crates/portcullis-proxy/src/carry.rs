//! Carrying a permitted request to its upstream and the answer back.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use arc_swap::ArcSwap;
use http::header::{CONTENT_TYPE, HeaderMap};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode, Version};
use http_body::Body;
use hyper::body::Incoming;
use portcullis_gate::{Destination, InboundBody, LiveStreams, Permit};
use portcullis_telemetry::Metrics;

use crate::body::{Live, ProxyBody};
use crate::error::{Outcome, ProxyError};
use crate::pool::Connection;
use crate::target::target;
use crate::tunnel::Ending;
use crate::upstream::{Service, Target, Upstream, Upstreams};
use crate::{headers, tunnel};

/// Uploads from this size on, and those of unknown size, are live streams.
const LONG_UPLOAD: u64 = 1 << 20;

/// The data plane.
pub struct Proxy {
    upstreams: ArcSwap<Upstreams>,
    streams: Arc<LiveStreams>,
}

/// What the data plane is made of.
pub struct ProxyParts {
    /// The registry of live streams.
    pub streams: Arc<LiveStreams>,
    /// The services behind the gateway.
    pub upstreams: Upstreams,
}

impl Proxy {
    /// A data plane for these upstreams.
    pub fn new(parts: ProxyParts) -> Self {
        Self { upstreams: ArcSwap::from_pointee(parts.upstreams), streams: parts.streams }
    }

    /// Uses other upstreams from the next request on. Those that did not change keep their connections.
    pub fn swap(&self, upstreams: Vec<Upstream>, metrics: &Metrics) {
        self.upstreams.store(Arc::new(self.upstreams.load().succeeded_by(upstreams, metrics)));
    }

    /// Each upstream's name and how it answered last.
    pub fn status(&self) -> Vec<(String, &'static str)> {
        self.upstreams.load().status()
    }

    /// Carries a request. Nothing is gathered: both bodies stream.
    pub async fn carry(
        &self,
        permit: &Permit,
        request: Request<InboundBody>,
    ) -> Result<Response<ProxyBody>, ProxyError> {
        let Destination::Upstream(forwarding) = permit.destination() else {
            return Err(ProxyError::UnknownUpstream("a built-in endpoint".to_owned()));
        };
        let service = {
            let upstreams = self.upstreams.load();
            upstreams.find(&forwarding.upstream).cloned()
        };
        let service = service.ok_or_else(|| ProxyError::UnknownUpstream(forwarding.upstream.to_string()))?;
        let mut upload = self.register_upload(permit, &request);
        let exchange = self.exchange(permit, &service, request);
        let result = {
            let mut exchange = pin!(tokio::time::timeout(permit.route().policy.timeout, exchange));
            poll_fn(|cx| {
                if let Some(live) = &mut upload
                    && live.poll_closed(cx).is_ready()
                {
                    return Poll::Ready(Ok(Err(ProxyError::SessionEnded)));
                }
                exchange.as_mut().poll(cx)
            })
            .await
        };
        let mut result = result.unwrap_or(Err(ProxyError::Timeout));
        service.record(result.as_ref().map_or_else(ProxyError::outcome, |_| Outcome::Answered));
        if let (Ok(response), Some(upload)) = (&mut result, upload) {
            // The answer may have begun before the upload was through.
            response.body_mut().end_with(upload);
        }
        result
    }

    async fn exchange(
        &self,
        permit: &Permit,
        service: &Service,
        request: Request<InboundBody>,
    ) -> Result<Response<ProxyBody>, ProxyError> {
        let (mut parts, body) = request.into_parts();
        let Destination::Upstream(forwarding) = permit.destination() else {
            unreachable!("carry found an upstream");
        };
        let upgrade = tunnel::wanted(&parts.headers);
        let (connection, target) = connect(service, upgrade.is_some()).await?;
        let uri = self::target(permit, forwarding, &parts.uri)?;
        let outbound = |parts: &Parts, body: InboundBody| {
            let mut outbound = Request::new(body);
            *outbound.method_mut() = parts.method.clone();
            *outbound.uri_mut() = uri.clone();
            *outbound.headers_mut() = headers::for_upstream(&parts.headers, permit, forwarding, &target.authority);
            headers::frame(&mut outbound);
            outbound
        };
        if let Some(protocol) = upgrade {
            let session = permit.principal().map(|principal| self.streams.register(&principal.session));
            let ending = Ending { session, stopping: self.streams.stopping().clone() };
            let mut request = outbound(&parts, body);
            *request.extensions_mut() = std::mem::take(&mut parts.extensions);
            return tunnel::open(request, &protocol, connection, ending).await;
        }
        // Should the target have closed the connection just as we write, it is asked once more.
        let repeatable = connection.reused && body.is_end_stream() && is_idempotent(&parts.method);
        let (response, connection) = match send(connection, outbound(&parts, body)).await {
            Ok(answer) => answer,
            Err(Failed { error, unsent, reused }) => {
                let request = match unsent {
                    Some(unsent) if reused => unsent,
                    None if repeatable => outbound(&parts, InboundBody::default()),
                    _ => return Err(ProxyError::from_exchange(error)),
                };
                let fresh = Connection::open(&target).await?;
                send(fresh, request).await.map_err(|failed| ProxyError::from_exchange(failed.error))?
            }
        };
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return Err(ProxyError::UnexpectedUpgrade);
        }
        Ok(self.answer(permit, response, connection, target).await)
    }

    async fn answer(
        &self,
        permit: &Permit,
        response: Response<Incoming>,
        connection: Connection,
        target: Arc<Target>,
    ) -> Response<ProxyBody> {
        let (mut parts, body) = response.into_parts();
        headers::from_upstream(&mut parts.headers);
        parts.version = Version::HTTP_11;
        // An answer of unknown length may go on for hours: it ends with its session.
        let endless = body.size_hint().exact().is_none();
        let principal = permit.principal().filter(|_| endless);
        let live = principal.map(|principal| Live::new(self.streams.register(&principal.session)));
        // A page follows it for as long as it is open: when the process stops it is told to ask elsewhere.
        let is_events = endless && is_event_stream(&parts.headers);
        let stopping = is_events.then(|| self.streams.stopping().clone());
        let mut body = ProxyBody::new(body, connection, target, live, stopping);
        poll_fn(|cx| {
            body.release_if_done(cx);
            Poll::Ready(())
        })
        .await;
        Response::from_parts(parts, body)
    }

    fn register_upload(&self, permit: &Permit, request: &Request<InboundBody>) -> Option<Live> {
        let long = request.body().size_hint().exact().is_none_or(|bytes| bytes > LONG_UPLOAD);
        let principal = permit.principal().filter(|_| long)?;
        Some(Live::new(self.streams.register(&principal.session)))
    }
}

/// A connection to the first target that has one: an idle one if it can be had.
async fn connect(service: &Service, fresh: bool) -> Result<(Connection, Arc<Target>), ProxyError> {
    let mut failed = None;
    for target in service.in_turn() {
        if !fresh {
            let idle = poll_fn(|cx| Poll::Ready(target.pool.take(cx))).await;
            if let Some(connection) = idle {
                return Ok((connection, Arc::clone(target)));
            }
        }
        // Nothing was sent yet, so the next target may be tried.
        match Connection::open(target).await {
            Ok(connection) => return Ok((connection, Arc::clone(target))),
            Err(error) => failed = Some(error),
        }
    }
    Err(failed.unwrap_or_else(|| ProxyError::Connect(std::io::Error::other("the upstream has no targets"))))
}

/// An exchange that gave no answer.
struct Failed {
    error: hyper::Error,
    /// The request, if not a byte of it was written.
    unsent: Option<Request<InboundBody>>,
    reused: bool,
}

/// Sends a request and waits for the answer's head, driving the connection.
async fn send(
    mut connection: Connection,
    request: Request<InboundBody>,
) -> Result<(Response<Incoming>, Connection), Failed> {
    let reused = connection.reused;
    let result = {
        let mut answer = pin!(connection.sender.try_send_request(request));
        let mut closed = false;
        poll_fn(|cx| {
            if !closed {
                closed = connection.driver.drive(cx).is_ready();
            }
            answer.as_mut().poll(cx)
        })
        .await
    };
    match result {
        Ok(response) => Ok((response, connection)),
        Err(mut failed) => {
            let unsent = failed.take_message();
            Err(Failed { error: failed.into_error(), unsent, reused })
        }
    }
}

fn is_event_stream(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    kind.is_some_and(|kind| kind.get(..17).is_some_and(|kind| kind.eq_ignore_ascii_case("text/event-stream")))
}

/// Methods whose repetition changes nothing (RFC 9110 §9.2.2).
fn is_idempotent(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE | Method::TRACE)
}
