//! The outcome of the phases.

use std::sync::Arc;

use crate::credential::Credential;
use crate::decision::refusal::Refusal;
use crate::request::body::InboundBody;
use crate::request::client_address::RequestSource;
use crate::request::cookies::Cookies;
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
#[expect(clippy::large_enum_variant, reason = "a box would be one more allocation for every request")]
pub(crate) enum Decision {
    Permitted(Admission),
    Preflight,
}

/// What the phases found out about a request that may pass. It opens nothing: a destination takes a [`Permit`].
pub(crate) struct Admission {
    pub(crate) route: Arc<Route>,
    pub(crate) parameters: Vec<(Box<str>, Box<str>)>,
    pub(crate) path: Box<str>,
    pub(crate) query: Option<Box<str>>,
    pub(crate) source: RequestSource,
    pub(crate) cookies: Cookies,
    pub(crate) credential: Credential,
    /// The id of the session that the CSRF token is bound to.
    pub(crate) csrf_session: Option<Box<str>>,
    pub(crate) body: InboundBody,
}
