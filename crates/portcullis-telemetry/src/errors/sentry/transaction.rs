//! A request as a transaction of Sentry's protocol. It has no path, no query, no header, no user and no machine.

use std::borrow::Cow;
use std::time::{Duration, UNIX_EPOCH};

use sentry_types::protocol::v7::{self as protocol, Context, Envelope, SpanStatus, TraceContext};

use super::SentryOptions;
use super::event::sdk;
use crate::RequestScope;
use crate::traces::SpanId;

/// A request that was handled, until the head of its response.
#[derive(Clone, Copy, Debug)]
pub struct HandledRequest<'a> {
    /// The ids that its log lines have.
    pub scope: &'a RequestScope,
    /// The id of the gateway's span, which its upstream was told.
    pub span_id: SpanId,
    /// One of the methods that metrics name.
    pub method: &'static str,
    /// The template of the route.
    pub route: &'a str,
    /// The status of the response.
    pub status: u16,
    /// How long it took.
    pub took: Duration,
}

/// A request that waits to be delivered.
#[derive(Clone, Debug)]
pub(in crate::errors) struct Transaction {
    name: String,
    method: &'static str,
    status: u16,
    scope: RequestScope,
    span_id: SpanId,
    /// Since 1970.
    begun: Duration,
    took: Duration,
}

impl Transaction {
    /// `now` is the time since 1970.
    pub(in crate::errors) fn new(request: &HandledRequest<'_>, now: Duration) -> Self {
        let HandledRequest { scope, span_id, method, route, status, took } = *request;
        let scope = scope.clone();
        Self { name: route.to_owned(), method, status, scope, span_id, begun: now.saturating_sub(took), took }
    }

    /// Returns the envelope with the transaction.
    pub(super) fn envelope(self, options: &SentryOptions) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut envelope = Envelope::new();
        envelope.add_item(self.into_protocol(options));
        // Writing to memory does not fail.
        let _ = envelope.to_writer(&mut bytes);
        bytes
    }

    fn into_protocol(self, options: &SentryOptions) -> protocol::Transaction<'static> {
        let mut transaction = protocol::Transaction {
            name: Some(self.name),
            release: Some(Cow::Owned(options.release.clone())),
            environment: Some(Cow::Owned(options.environment.clone())),
            sdk: Some(Cow::Owned(sdk())),
            platform: Cow::Borrowed("native"),
            timestamp: Some(UNIX_EPOCH + self.begun + self.took),
            start_timestamp: UNIX_EPOCH + self.begun,
            ..protocol::Transaction::default()
        };
        let context = TraceContext {
            trace_id: self.scope.trace_id().and_then(|id| id.parse().ok()).unwrap_or_default(),
            span_id: std::str::from_utf8(&self.span_id.digits())
                .ok()
                .and_then(|id| id.parse().ok())
                .unwrap_or_default(),
            op: Some("http.server".to_owned()),
            status: status(self.status),
            ..TraceContext::default()
        };
        transaction.contexts.insert("trace".to_owned(), Context::from(context));
        let tags = [("http.request.method", self.method.to_owned()), ("http.status_code", self.status.to_string())];
        transaction.tags.extend(tags.map(|(key, value)| (key.to_owned(), value)));
        transaction.tags.extend(self.scope.request_id().map(|id| ("request_id".to_owned(), id.to_owned())));
        transaction
    }
}

/// The status of a span for one of HTTP, as Sentry's SDKs have it. `None` for a status that says nothing of success.
fn status(status: u16) -> Option<SpanStatus> {
    Some(match status {
        200..400 => SpanStatus::Ok,
        401 => SpanStatus::Unauthenticated,
        403 => SpanStatus::PermissionDenied,
        404 => SpanStatus::NotFound,
        409 => SpanStatus::AlreadyExists,
        429 => SpanStatus::ResourceExhausted,
        499 => SpanStatus::Cancelled,
        400..500 => SpanStatus::InvalidArgument,
        501 => SpanStatus::Unimplemented,
        503 => SpanStatus::Unavailable,
        504 => SpanStatus::DeadlineExceeded,
        500..600 => SpanStatus::InternalError,
        _ => return None,
    })
}
