//! The outcome of the phases.

use std::sync::Arc;

use http::Method;

use crate::config::GateConfig;
use crate::credential::Credential;
use crate::decision::refusal::Refusal;
use crate::request::body::InboundBody;
use crate::request::client_address::RequestSource;
use crate::request::cookies::Cookies;
use crate::request::request_id::RequestId;
use crate::request::trace_context::TraceContext;
use crate::routes::route::Route;

/// The gate's decision on a request.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict<P> {
    /// The request may go to its destination.
    Permitted(P),
    /// The request is a CORS preflight. The response is an empty 204, to which [`Gate::finish`](crate::Gate::finish)
    /// adds the headers that the browser asks for.
    Preflight,
    /// The request goes no further.
    Refused(Refusal),
}

/// The result of the phases, unless a request is refused.
pub(crate) enum Decision {
    Permitted(Box<Admission>, InboundBody),
    Preflight,
}

/// What the phases found out about a request that may pass. It opens nothing: a destination takes a [`Permit`](crate::Permit). It is boxed
/// once, because it is moved several times between the phases and the destination.
pub(crate) struct Admission {
    pub(crate) config: Arc<GateConfig>,
    pub(crate) route: Arc<Route>,
    pub(crate) method: Method,
    pub(crate) parameters: Vec<(Box<str>, Box<str>)>,
    pub(crate) request_id: RequestId,
    pub(crate) trace: TraceContext,
    pub(crate) source: RequestSource,
    pub(crate) path: Box<str>,
    pub(crate) query: Option<Box<str>>,
    pub(crate) cookies: Cookies,
    pub(crate) credential: Credential,
    /// The id of the session that the CSRF token is bound to.
    pub(crate) csrf_session: Option<Box<str>>,
}
