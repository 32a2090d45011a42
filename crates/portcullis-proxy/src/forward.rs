//! Forwarding a permitted request to its upstream, and the response back.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use arc_swap::ArcSwap;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue};
use http::request::Parts;
use http::{Method, Response, StatusCode};
use http_body::Body;
use portcullis_gate::{Destination, InboundBody, LiveStreams, Permit, StreamGuard};
use portcullis_model::RoutePolicy;
use portcullis_telemetry::Metrics;

use crate::attempt_span::Attempt;
use crate::body::{LiveStream, Origin, ProxyBody};
use crate::error::{Outcome, ProxyError};
use crate::headers::to_upstream;
use crate::http1::{Exchange, RequestHead, ResponseHead, Upload};
use crate::request_target::request_target;
use crate::tunnel::{self, TunnelEnd};
use crate::upstreams::{ActiveUpstream, Reuse, SlotKind, Upstream, Upstreams};

/// Uploads and responses above this size, in bytes, and those of unknown size end with the session and the right that they
/// stand on.
const LONG_TRANSFER: u64 = 1 << 20;

/// The data plane: forwards requests to upstreams.
pub struct Proxy {
    upstreams: ArcSwap<Upstreams>,
    streams: Arc<LiveStreams>,
    send_timeout: Duration,
}

/// The parts of the data plane.
pub struct ProxyParts {
    /// The registry of live streams, which end with their sessions.
    pub streams: Arc<LiveStreams>,
    /// How long a side of a tunnel may read nothing (`server.send_timeout`).
    pub send_timeout: Duration,
    /// The upstreams of the settings.
    pub upstreams: Upstreams,
}

impl Proxy {
    /// Makes a data plane for these upstreams.
    pub fn new(parts: ProxyParts) -> Self {
        let ProxyParts { streams, send_timeout, upstreams } = parts;
        Self { upstreams: ArcSwap::from_pointee(upstreams), streams, send_timeout }
    }

    /// Replaces the upstreams from the next request on. Those that did not change keep their connections.
    pub fn swap(&self, upstreams: Vec<Upstream>, metrics: &Metrics) {
        self.upstreams.store(Arc::new(self.upstreams.load().replaced_by(upstreams, metrics)));
    }

    /// The name of each upstream, and `healthy`, `unhealthy` or `unknown` by its latest request.
    pub fn status(&self) -> Vec<(String, &'static str)> {
        self.upstreams.load().status()
    }

    /// Forwards a request. Both bodies are streamed. Of the head only what asks for an upgrade is taken.
    pub async fn forward(
        &self,
        permit: &Permit,
        parts: &mut Parts,
        body: InboundBody,
    ) -> Result<Response<ProxyBody>, ProxyError> {
        let Destination::Upstream(forwarding) = permit.destination() else {
            return Err(ProxyError::UnknownUpstream("a built-in endpoint".to_owned()));
        };
        let upstream = {
            let upstreams = self.upstreams.load();
            upstreams.find(&forwarding.upstream).cloned()
        };
        let upstream = upstream.ok_or_else(|| ProxyError::UnknownUpstream(forwarding.upstream.to_string()))?;
        let mut upload = self.register_upload(permit, &body);
        let mut result = {
            let mut exchange = pin!(self.exchange(permit, &upstream, parts, body));
            poll_fn(|cx| {
                if let Some(stream) = &mut upload
                    && let Poll::Ready(error) = stream.poll_ended(cx)
                {
                    return Poll::Ready(Err(error));
                }
                exchange.as_mut().poll(cx)
            })
            .await
        };
        if let Err(ProxyError::Overloaded(reason)) = &result {
            upstream.record_refusal(*reason);
        }
        upstream.record(result.as_ref().map_or_else(ProxyError::outcome, |_| Outcome::Answered));
        if let (Ok(response), Some(upload)) = (&mut result, upload) {
            // The response may have begun before the upload was complete.
            response.body_mut().end_with(upload);
        }
        result
    }

    async fn exchange(
        &self,
        permit: &Permit,
        upstream: &Arc<ActiveUpstream>,
        parts: &mut Parts,
        body: InboundBody,
    ) -> Result<Response<ProxyBody>, ProxyError> {
        let Destination::Upstream(forwarding) = permit.destination() else {
            unreachable!("forward found an upstream");
        };
        let upgrade = tunnel::take_upgrade(parts);
        let is_idempotent = is_idempotent(&parts.method);
        let reuse = match &upgrade {
            Some(_) => Reuse::Never,
            None if is_idempotent && body.is_end_stream() => Reuse::Any,
            None => Reuse::Recent,
        };
        // A handshake counts as the tunnel that it asks for.
        let kind = if upgrade.is_some() { SlotKind::Stream } else { SlotKind::Request };
        let mut attempt = Attempt::begin(&parts.method, &forwarding.upstream, 0);
        let (mut connection, target) = match upstream.connect_at_once(reuse, kind) {
            Some(connected) => connected,
            None => attempt.note(Box::pin(upstream.connect(None, reuse, kind)).await)?,
        };
        attempt.set_target(&target, permit.path());
        let buffer = std::mem::take(&mut connection.write);
        let mut head = RequestHead::new(buffer, &parts.method, &request_target(permit, forwarding, &parts.uri)?);
        to_upstream::write_headers(&mut head, parts, permit, forwarding, &target.authority, attempt.id());
        if upgrade.is_some() {
            tunnel::add_upgrade_fields(&mut head);
        }
        let upload = Upload::new(head, body, announces_empty_body(parts));
        let policy = &permit.route().policy;
        let mut origin = Origin { upstream: Arc::clone(upstream), target };
        let mut exchange = Exchange::new(connection, upload, parts.method.clone());
        let head = match attempt.note(exchange.response(policy.timeout).await) {
            // A new connection, because whatever closed this one may have closed the idle ones too.
            Err(error) if exchange.may_repeat(&error, is_idempotent) => {
                tracing::debug!(error = &error as &dyn std::error::Error, "a request is repeated");
                let (mut upload, method) = exchange.into_request();
                attempt = Attempt::begin(&method, &forwarding.upstream, 1);
                let connected = Box::pin(upstream.connect(Some(&origin.target), Reuse::Never, kind)).await;
                let (connection, target) = attempt.note(connected)?;
                attempt.set_target(&target, permit.path());
                upload.rewind(&target.authority);
                if let Some(span) = attempt.id() {
                    upload.continue_in(span, permit.propagation());
                }
                exchange = Exchange::new(connection, upload, method);
                origin.target = target;
                attempt.note(exchange.response(policy.timeout).await)?
            }
            head => head?,
        };
        attempt.answered(head.status);
        if upgrade.is_none() && head.framing.left().is_none() && is_event_stream(content_type(&head.headers)) {
            let slot = Box::pin(origin.target.capacity.slot(SlotKind::Stream)).await;
            exchange.becomes_stream(slot.map_err(ProxyError::Overloaded)?);
        }
        let live = || self.streams.register(permit);
        match (upgrade, head.status == StatusCode::SWITCHING_PROTOCOLS) {
            (None, false) => Ok(self.response(head, exchange, origin, policy, live)),
            (None, true) => Err(ProxyError::UnexpectedUpgrade),
            // The rest of a body would be read as the new protocol.
            (Some(_), true) if !exchange.is_written() => Err(ProxyError::UnexpectedUpgrade),
            (Some(client), true) => {
                let end = TunnelEnd {
                    stream: live(),
                    stopping: self.streams.stopping().clone(),
                    stall: self.send_timeout,
                    idle: policy.stream_idle_timeout,
                };
                Ok(tunnel::open(exchange, head, client, end))
            }
            // The response is registered even if it is short, or a refused upgrade would hide a stream. The connection is
            // not used again, because the upstream may have switched all the same.
            (Some(_), false) => {
                exchange.forbid_reuse();
                let mut response = self.response(head, exchange, origin, policy, live);
                response.body_mut().end_with(LiveStream::new(live()));
                Ok(response)
            }
        }
    }

    /// The response without a switch of protocols. One that is long or of unknown length may go on for hours, so it ends
    /// with the session and the right that it stands on.
    fn response(
        &self,
        head: ResponseHead,
        exchange: Exchange,
        origin: Origin,
        policy: &RoutePolicy,
        live: impl FnOnce() -> StreamGuard,
    ) -> Response<ProxyBody> {
        let ResponseHead { status, reason, headers, framing, .. } = head;
        let endless = framing.left().is_none();
        let is_long = framing.left().is_none_or(|bytes| bytes > LONG_TRANSFER);
        let content_type = content_type(&headers);
        let is_stream = is_event_stream(content_type);
        let idle_timeout =
            if is_stream || is_grpc(content_type) { policy.stream_idle_timeout } else { policy.body_idle_timeout };
        let mut body = ProxyBody::new(exchange, framing, idle_timeout, origin);
        if is_long && body.is_streaming() {
            body.end_with(LiveStream::new(live()));
        }
        // An event stream stays open as long as its page. When the process stops, the page must connect elsewhere.
        if endless && is_stream {
            body.end_at_stop(self.streams.stopping().clone());
        }
        let mut response = Response::new(body);
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        if let Some(reason) = reason {
            response.extensions_mut().insert(reason);
        }
        response
    }

    fn register_upload(&self, permit: &Permit, body: &InboundBody) -> Option<LiveStream> {
        let is_long = body.size_hint().exact().is_none_or(|bytes| bytes > LONG_TRANSFER);
        is_long.then(|| LiveStream::new(self.streams.register(permit)))
    }
}

/// Whether a request without a body needs `Content-Length: 0`: its method expects a body, or the client sent the field.
fn announces_empty_body(parts: &Parts) -> bool {
    matches!(parts.method, Method::POST | Method::PUT | Method::PATCH) || parts.headers.contains_key(CONTENT_LENGTH)
}

fn content_type(headers: &HeaderMap) -> &[u8] {
    headers.get(CONTENT_TYPE).map_or(&[], HeaderValue::as_bytes)
}

fn is_event_stream(content_type: &[u8]) -> bool {
    begins(content_type, b"text/event-stream")
}

/// Whether the body is gRPC, gRPC-Web, or gRPC with a named encoding.
fn is_grpc(content_type: &[u8]) -> bool {
    begins(content_type, b"application/grpc")
}

fn begins(content_type: &[u8], begin: &[u8]) -> bool {
    content_type.get(..begin.len()).is_some_and(|kind| kind.eq_ignore_ascii_case(begin))
}

/// Whether repeating the request changes nothing (RFC 9110 §9.2.2).
fn is_idempotent(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE | Method::TRACE)
}
