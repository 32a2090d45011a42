//! The end of a response: the line of the access log that shows it, and the span of its request.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use http::{Method, Uri};
use portcullis_model::UserId;
use portcullis_telemetry::traces::Span;
use portcullis_telemetry::{AccessLine, RequestScope, RouteMetrics};

use crate::request::request_id::RequestId;
use crate::request::server_span;

/// Which requests the access log shows (`log.access`).
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum AccessLog {
    /// None. Nothing is noted for it.
    Off,
    /// Those with a status of 5xx, and those whose response's head took longer than `slow`.
    Errors {
        /// The longest time that is not slow (`log.slow`).
        slow: Duration,
    },
    /// All.
    All,
    /// This share of them, from 0 to 1.
    Sample(f64),
}

impl AccessLog {
    /// Whether it shows a request. The status is that of the response, whose head took so long.
    pub(crate) fn shows(self, id: &RequestId, status: u16, until_head: Duration) -> bool {
        match self {
            Self::Off => false,
            Self::Errors { slow } => status >= 500 || until_head > slow,
            Self::All => true,
            Self::Sample(share) => id.fraction() < share,
        }
    }
}

/// What the access log, and the span of a recorded request, will show of a response that has begun. It writes the line
/// and ends the span when it is dropped: when the response has ended or was broken off.
pub struct AccessRecord(Box<Shown>);

/// The parts of a record, so that the record itself is as small as a pointer.
pub(crate) struct Shown {
    /// Whether the access log shows the request.
    pub(crate) has_line: bool,
    /// The span of the request, if it is recorded.
    pub(crate) span: Option<Span>,
    /// Whether the client ends the response, as it does with an event stream.
    pub(crate) is_open_ended: bool,
    pub(crate) scope: RequestScope,
    /// `None` for bytes that were no request.
    pub(crate) target: Option<(Method, Uri)>,
    pub(crate) route: Arc<RouteMetrics>,
    pub(crate) status: u16,
    pub(crate) begun: Instant,
    pub(crate) upstream: Option<(Arc<str>, Duration)>,
    pub(crate) user: Option<UserId>,
    pub(crate) client: IpAddr,
    pub(crate) received: Option<ReceivedBytes>,
    /// Bytes of the response's body so far.
    pub(crate) sent: u64,
    pub(crate) is_complete: bool,
}

/// Counts the bytes of a request's body.
pub(crate) type ReceivedBytes = Arc<AtomicU64>;

impl AccessRecord {
    pub(crate) fn new(shown: Shown) -> Self {
        Self(Box::new(shown))
    }

    /// Notes that a part of the response's body was passed to the connection.
    pub fn sent(&mut self, bytes: usize) {
        self.0.sent += bytes as u64;
    }

    /// Notes that the response is complete. One that is dropped before was broken off.
    pub fn complete(&mut self) {
        self.0.is_complete = true;
    }

    /// Whether the request is recorded, so that its span ends with the response.
    pub(crate) fn has_span(&self) -> bool {
        self.0.span.is_some()
    }

    /// Notes that the client ends the response, so that its end is no failure.
    pub(crate) fn is_ended_by_client(&mut self) {
        self.0.is_open_ended = true;
    }

    /// Notes why the response cannot be completed: a value of `error.type`.
    pub fn failed(&mut self, kind: &'static str) {
        if let Some(span) = &mut self.0.span {
            span.fail(kind);
        }
    }
}

impl Shown {
    fn write_line(&self, received: u64) {
        let mut user_text = [0; UserId::TEXT_BYTES];
        AccessLine {
            scope: &self.scope,
            method: self.target.as_ref().map(|(method, _)| method.as_str()),
            route: self.route.template(),
            path: self.target.as_ref().map(|(_, uri)| uri.path()),
            status: self.status,
            duration: self.begun.elapsed(),
            upstream: self.upstream.as_ref().map(|(name, duration)| (&**name, *duration)),
            user: self.user.as_ref().map(|user| user.write_to(&mut user_text)),
            client: self.client,
            bytes_in: received,
            bytes_out: self.sent,
            is_aborted: !self.is_complete,
        }
        .write();
    }
}

impl Drop for AccessRecord {
    fn drop(&mut self) {
        let shown = &mut *self.0;
        let received = shown.received.as_ref().map(|received| received.load(Ordering::Relaxed));
        if shown.has_line {
            shown.write_line(received.unwrap_or(0));
        }
        if let Some(span) = shown.span.take() {
            let is_cut_off = !shown.is_complete && !shown.is_open_ended;
            server_span::end(span, received, shown.sent, is_cut_off);
        }
    }
}

/// Holds the record of a request that became a tunnel until the tunnel has ended. The response's extensions and the tunnel
/// share it, and the last of them writes the line.
#[derive(Default)]
pub struct TunnelRecord {
    record: OnceLock<AccessRecord>,
    received: AtomicU64,
    sent: AtomicU64,
    is_cut_off: AtomicBool,
}

impl TunnelRecord {
    /// Notes how many bytes were copied from the client and to it, in all. Called when the tunnel has ended.
    pub fn copied(&self, received: u64, sent: u64) {
        self.received.store(received, Ordering::Relaxed);
        self.sent.store(sent, Ordering::Relaxed);
    }

    /// Notes that a connection of the tunnel broke.
    pub fn cut_off(&self) {
        self.is_cut_off.store(true, Ordering::Relaxed);
    }

    pub(crate) fn hold(&self, record: AccessRecord) {
        // There is one response to a request.
        let _ = self.record.set(record);
    }
}

impl Drop for TunnelRecord {
    fn drop(&mut self) {
        if let Some(record) = self.record.get_mut() {
            let received = AtomicU64::new(self.received.load(Ordering::Relaxed));
            record.0.received = Some(Arc::new(received));
            record.0.sent = self.sent.load(Ordering::Relaxed);
            if self.is_cut_off.load(Ordering::Relaxed) {
                record.failed(server_span::CUT_OFF);
            }
            record.complete();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::request_id::RequestIds;
    use portcullis_model::Random;

    #[test]
    fn errors_are_5xx_and_slow_responses() {
        let (id, _) = RequestIds::new(&Random::system()).next();
        let slow = Duration::from_secs(1);
        let shows = |status, until_head| AccessLog::Errors { slow }.shows(&id, status, until_head);
        assert!(shows(500, Duration::ZERO) && shows(599, Duration::ZERO));
        assert!(!shows(200, slow) && !shows(499, slow));
        assert!(shows(200, slow + Duration::from_nanos(1)) && shows(404, slow * 2));
    }

    #[test]
    fn off_shows_nothing_and_all_everything() {
        let (id, _) = RequestIds::new(&Random::system()).next();
        assert!(!AccessLog::Off.shows(&id, 500, Duration::MAX));
        assert!(AccessLog::All.shows(&id, 200, Duration::ZERO));
    }

    #[test]
    fn a_sample_shows_its_share() {
        let ids = RequestIds::new(&Random::system());
        let shown =
            |share| (0..20_000).filter(|_| AccessLog::Sample(share).shows(&ids.next().0, 200, Duration::ZERO)).count();
        assert_eq!((shown(0.0), shown(1.0)), (0, 20_000));
        // Ten standard deviations of the binomial distribution.
        assert!((1576..=2424).contains(&shown(0.1)), "{}", shown(0.1));
    }
}
