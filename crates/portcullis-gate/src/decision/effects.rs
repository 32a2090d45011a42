//! What the phases do beside deciding. A live request and a dry run pass the same phases and differ only here.

use std::sync::Arc;

use http::{HeaderMap, Method};
use portcullis_model::SessionState;
use portcullis_telemetry::{InFlight, Metrics, RouteMetrics};

use crate::decision::phase::Phase;
use crate::limits::limiter::Counting;
use crate::request::client_address::RequestSource;
use crate::request::untrusted_forwarder::UntrustedForwarder;
use crate::routes::route::Route;

/// The effects of deciding on a request.
pub(crate) trait Effects {
    /// A phase begins.
    fn enter(&mut self, phase: Phase);

    /// The phase has found something. The text is made only if it is kept.
    fn note(&mut self, text: impl FnOnce() -> String);

    /// The route was found.
    fn route_matched(&mut self, route: &Arc<Route>);

    /// Counts the request as in progress on a route.
    fn request_begins(&mut self, metrics: &Arc<RouteMetrics>, method: &Method) -> Option<InFlight>;

    /// Warns if the request was forwarded by a proxy that is not trusted.
    fn source_found(&mut self, source: &RequestSource, headers: &HeaderMap);

    /// Whether rate limits count the request, or only tell what counting it would do.
    fn counting(&self) -> Counting;

    /// Records that a session was used at `now`, in Unix seconds.
    fn session_used(&mut self, session: &SessionState, now: i64);

    /// Counts and logs a request that `csrf.mode = "report"` lets pass.
    fn csrf_reported(&mut self, route: &str, reason: &'static str);
}

/// The effects of a request that is served.
pub(crate) struct LiveEffects<'g> {
    pub(crate) metrics: &'g Metrics,
    pub(crate) forwarder: &'g UntrustedForwarder,
    /// The phase that the request is in, or was refused in.
    pub(crate) phase: Phase,
}

impl Effects for LiveEffects<'_> {
    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
    }

    fn note(&mut self, _text: impl FnOnce() -> String) {}

    fn route_matched(&mut self, _route: &Arc<Route>) {}

    fn request_begins(&mut self, metrics: &Arc<RouteMetrics>, method: &Method) -> Option<InFlight> {
        Some(metrics.begin(method))
    }

    fn source_found(&mut self, source: &RequestSource, headers: &HeaderMap) {
        self.forwarder.notice(source, headers);
    }

    fn counting(&self) -> Counting {
        Counting::Take
    }

    fn session_used(&mut self, session: &SessionState, now: i64) {
        session.touch(now);
    }

    fn csrf_reported(&mut self, route: &str, reason: &'static str) {
        self.metrics.csrf_report(reason);
        tracing::info!(route, reason, "csrf.mode = \"always\" would refuse this request");
    }
}
