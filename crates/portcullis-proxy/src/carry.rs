//! Carrying a permitted request to its upstream and the answer back.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use arc_swap::ArcSwap;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use http_body::Body;
use portcullis_gate::{Destination, InboundBody, LiveStreams, Permit, StreamGuard};
use portcullis_telemetry::Metrics;

use crate::body::{Live, ProxyBody};
use crate::error::{Outcome, ProxyError};
use crate::http1::{Answer, Exchange, RequestHead, Upload};
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
        let mut result = {
            let mut exchange = pin!(self.exchange(permit, &service, request));
            let mut timeout = pin!(tokio::time::sleep(permit.route().policy.timeout));
            poll_fn(|cx| {
                if let Some(live) = &mut upload
                    && live.poll_closed(cx).is_ready()
                {
                    return Poll::Ready(Err(ProxyError::SessionEnded));
                }
                if let Poll::Ready(result) = exchange.as_mut().poll(cx) {
                    return Poll::Ready(result);
                }
                timeout.as_mut().poll(cx).map(|()| Err(ProxyError::Timeout))
            })
            .await
        };
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
        let Destination::Upstream(forwarding) = permit.destination() else {
            unreachable!("carry found an upstream");
        };
        let (mut parts, body) = request.into_parts();
        let switching = tunnel::wanted(&mut parts);
        let (mut connection, target) = connect(service, switching.is_some()).await?;
        let buffer = std::mem::take(&mut connection.write);
        let mut head = RequestHead::new(buffer, &parts.method, &self::target(permit, forwarding, &parts.uri)?);
        headers::for_upstream(&mut head, &parts.headers, permit, forwarding, &target.authority);
        if switching.is_some() {
            tunnel::ask(&mut head);
        }
        let upload = Upload::new(head, body, says_empty(&parts));
        let idempotent = is_idempotent(&parts.method);
        let mut exchange = Exchange::new(connection, upload, parts.method);
        let mut answer = exchange.answer().await;
        // Should the target have closed the connection just as we wrote, it is asked once more.
        if matches!(answer, Err(ProxyError::Broken(_))) && exchange.may_repeat(idempotent) {
            exchange.repeat_on(Connection::open(&target).await?);
            answer = exchange.answer().await;
        }
        let answer = answer?;
        let live = || permit.principal().map(|principal| self.streams.register(&principal.session));
        match (switching, answer.status == StatusCode::SWITCHING_PROTOCOLS) {
            (None, false) => Ok(self.plain(answer, exchange, target, live)),
            (None, true) => Err(ProxyError::UnexpectedUpgrade),
            // What is left of a body would be read as the new protocol.
            (Some(_), true) if !exchange.is_written() => Err(ProxyError::UnexpectedUpgrade),
            (Some(client), true) => {
                let ending = Ending { session: live(), stopping: self.streams.stopping().clone() };
                Ok(tunnel::open(exchange, answer, client, ending))
            }
            // It ends with the session, however short: or asking for an upgrade would hide a stream. What the upstream
            // makes of its connection from here on is not for us to guess.
            (Some(_), false) => {
                exchange.keep_no_connection();
                let mut response = self.plain(answer, exchange, target, || None);
                if let Some(session) = live() {
                    response.body_mut().end_with(Live::new(session));
                }
                Ok(response)
            }
        }
    }

    /// An answer in plain HTTP. One of unknown length may go on for hours: it ends with what `live` registers.
    fn plain(
        &self,
        answer: Answer,
        exchange: Exchange,
        target: Arc<Target>,
        live: impl FnOnce() -> Option<StreamGuard>,
    ) -> Response<ProxyBody> {
        let Answer { status, reason, headers, framing, .. } = answer;
        let endless = framing.left().is_none();
        let mut body = ProxyBody::new(exchange, framing, target);
        if endless && let Some(session) = live() {
            body.end_with(Live::new(session));
        }
        // A page follows it for as long as it is open: when the process stops it is told to ask elsewhere.
        if endless && is_event_stream(&headers) {
            body.end_at(self.streams.stopping().clone());
        }
        let mut response = Response::new(body);
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        if let Some(reason) = reason {
            response.extensions_mut().insert(reason);
        }
        response
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
        if let Some(connection) = if fresh { None } else { target.pool.take() } {
            return Ok((connection, Arc::clone(target)));
        }
        // Nothing was sent yet, so the next target may be tried.
        match Connection::open(target).await {
            Ok(connection) => return Ok((connection, Arc::clone(target))),
            Err(error) => failed = Some(error),
        }
    }
    Err(failed.unwrap_or_else(|| ProxyError::Connect(std::io::Error::other("the upstream has no targets"))))
}

/// Whether a request without a body says so: where one is expected, and where the client did.
fn says_empty(parts: &Parts) -> bool {
    matches!(parts.method, Method::POST | Method::PUT | Method::PATCH) || parts.headers.contains_key(CONTENT_LENGTH)
}

fn is_event_stream(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    kind.is_some_and(|kind| kind.get(..17).is_some_and(|kind| kind.eq_ignore_ascii_case("text/event-stream")))
}

/// Methods whose repetition changes nothing (RFC 9110 §9.2.2).
fn is_idempotent(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE | Method::TRACE)
}
