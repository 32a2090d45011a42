//! An error in Sentry's protocol. It has no request, no user and no machine: nothing that was not scrubbed.

use std::borrow::Cow;
use std::time::UNIX_EPOCH;

use sentry_types::protocol::v7::{
    ClientSdkInfo, Context, Envelope, Event, Exception, Mechanism, Stacktrace, TraceContext,
};

use super::backtrace::frames;
use super::image::debug_meta;
use super::{Report, SentryOptions};
use crate::errors::FaultKind;

/// Returns the envelope with a report.
pub(super) fn envelope(report: Report, options: &SentryOptions) -> Vec<u8> {
    let mut bytes = Vec::new();
    let envelope = Envelope::from(event(report, options));
    // Writing to memory does not fail.
    let _ = envelope.to_writer(&mut bytes);
    bytes
}

fn event(report: Report, options: &SentryOptions) -> Event<'static> {
    let Report { fault, group, unsent, backtrace } = report;
    let ty = match fault.kind {
        FaultKind::Panic => "Panic",
        FaultKind::Request => "Failed request",
        FaultKind::Job => "Failed job",
    };
    let stacktrace = backtrace.and_then(|backtrace| Stacktrace::from_frames_reversed(frames(&backtrace)));
    let debug_meta = if stacktrace.is_some() { Cow::Owned(debug_meta()) } else { Cow::default() };
    let mechanism = Mechanism { ty: "generic".to_owned(), handled: Some(true), ..Mechanism::default() };
    let value = fault.message;
    let exception = Exception {
        ty: ty.to_owned(),
        value: Some(value),
        stacktrace,
        mechanism: Some(mechanism),
        ..Exception::default()
    };
    let mut event = Event {
        platform: Cow::Borrowed("native"),
        timestamp: UNIX_EPOCH + fault.at,
        transaction: fault.route,
        release: Some(Cow::Owned(options.release.clone())),
        environment: Some(Cow::Owned(options.environment.clone())),
        fingerprint: Cow::Owned(vec![Cow::Owned(group)]),
        exception: vec![exception].into(),
        debug_meta,
        sdk: Some(Cow::Owned(sdk())),
        ..Event::default()
    };
    event.tags.insert("kind".to_owned(), fault.kind.as_str().to_owned());
    event.tags.extend(fault.request_id.map(|id| ("request_id".to_owned(), id)));
    event.tags.extend(fault.location.map(|place| ("place".to_owned(), place)));
    if unsent > 0 {
        event.extra.insert("errors_not_sent_before".to_owned(), unsent.into());
    }
    if let Some(trace_id) = fault.trace_id.and_then(|id| id.parse().ok()) {
        let context = TraceContext { trace_id, ..TraceContext::default() };
        event.contexts.insert("trace".to_owned(), Context::from(context));
    }
    event
}

/// The program that sends the events, as the protocol wants it.
pub(super) fn sdk() -> ClientSdkInfo {
    let version = env!("CARGO_PKG_VERSION").to_owned();
    ClientSdkInfo { name: "portcullis".to_owned(), version, integrations: Vec::new(), packages: Vec::new() }
}
