//! The dry run of a request, for `explain` (SR-46): the same phases without their effects. Nothing is counted, no
//! session is touched, and no permit is made.

use std::net::IpAddr;
use std::sync::Arc;

use http::header::HeaderMap;
use http::{Method, Uri};
use portcullis_model::SessionState;
use portcullis_telemetry::{InFlight, RouteMetrics};

use crate::credential::{Credential, CredentialKind, Principal};
use crate::decision::description::describe_route;
use crate::decision::effects::Effects;
use crate::decision::phase::Phase;
use crate::decision::verdict::Verdict;
use crate::limits::limiter::Counting;
use crate::request::client_address::RequestSource;
use crate::routes::route::Route;

/// A request to explain. It has no body.
#[derive(Debug)]
pub struct DryRun {
    /// The request's method.
    pub method: Method,
    /// The request's target, of which path and query count.
    pub uri: Uri,
    /// The request's headers, credentials included.
    pub headers: HeaderMap,
    /// The address that the request would come from.
    pub peer: IpAddr,
    /// The caller of the request.
    pub caller: DryRunCaller,
}

/// The caller that a dry run assumes.
#[derive(Clone, Debug)]
pub enum DryRunCaller {
    /// The caller that the headers' credential belongs to.
    FromHeaders,
    /// An anonymous caller, whatever the headers hold.
    Anonymous,
    /// A user who has just signed in and sends a bearer token.
    SignedIn(Arc<SessionState>),
}

impl DryRunCaller {
    /// Returns the credential that replaces the headers' one.
    pub(crate) fn assumed_credential(&self) -> Option<Credential> {
        match self {
            Self::FromHeaders => None,
            Self::Anonymous => Some(Credential::None),
            Self::SignedIn(session) => {
                let (session, kind) = (Arc::clone(session), CredentialKind::Bearer);
                Some(Credential::Valid(Principal { session, kind, key: None }))
            }
        }
    }
}

/// The result of a dry run.
#[derive(Debug)]
pub struct Explanation {
    /// The route that the request matches.
    pub route: Option<Arc<Route>>,
    /// The version of the API that the response would name.
    pub version: Option<String>,
    /// What each phase found, up to the one that ended the request.
    pub steps: Vec<Step>,
    /// The verdict that the request itself would get.
    pub verdict: Verdict<()>,
}

/// One phase of a dry run.
#[derive(Debug, PartialEq, Eq)]
pub struct Step {
    /// The phase that was entered.
    pub phase: Phase,
    /// What the phase found, in words.
    pub notes: Vec<String>,
}

/// The effects of a dry run: it only peeks at limits, and writes down what the phases find.
#[derive(Default)]
pub(crate) struct DryRunEffects {
    pub(crate) route: Option<Arc<Route>>,
    pub(crate) steps: Vec<Step>,
}

impl Effects for DryRunEffects {
    fn enter(&mut self, phase: Phase) {
        self.steps.push(Step { phase, notes: Vec::new() });
    }

    fn note(&mut self, text: impl FnOnce() -> String) {
        if let Some(step) = self.steps.last_mut() {
            step.notes.push(text());
        }
    }

    fn route_matched(&mut self, route: &Arc<Route>) {
        self.route = Some(Arc::clone(route));
        self.note(|| describe_route(route));
    }

    fn request_begins(&mut self, _metrics: &Arc<RouteMetrics>, _method: &Method) -> Option<InFlight> {
        None
    }

    fn source_found(&mut self, _source: &RequestSource, _headers: &HeaderMap) {}

    fn counting(&self) -> Counting {
        Counting::Peek
    }

    fn session_used(&mut self, _session: &SessionState, _now: i64) {}

    fn csrf_reported(&mut self, _route: &str, _reason: &'static str) {}
}
