//! The right to reach a destination.

use std::net::IpAddr;
use std::sync::Arc;

use http::HeaderMap;

use crate::client_address::Origination;
use crate::config::GateConfig;
use crate::cookies::{Carried, Cookies};
use crate::credential::{Credential, Principal};
use crate::origin::origin_allowed;
use crate::request_id::{RequestId, TraceContext};
use crate::route_table::{Destination, Route};

/// Proof that a request passed every phase of the gate. Destinations take one;
/// nothing outside this crate can make one.
///
/// ```compile_fail
/// let permit = portcullis_gate::Permit { };
/// ```
pub struct Permit {
    pub(crate) config: Arc<GateConfig>,
    pub(crate) route: Arc<Route>,
    pub(crate) parameters: Vec<(Box<str>, Box<str>)>,
    pub(crate) request_id: RequestId,
    pub(crate) trace: TraceContext,
    pub(crate) from: Origination,
    pub(crate) path: Box<str>,
    pub(crate) query: Option<Box<str>>,
    pub(crate) cookies: Cookies,
    pub(crate) credential: Credential,
    pub(crate) csrf_session: Option<Box<str>>,
}

impl Permit {
    /// Where the request goes.
    pub fn destination(&self) -> &Destination {
        &self.route.destination
    }

    /// The route it matched.
    pub fn route(&self) -> &Route {
        &self.route
    }

    /// A parameter of the route's template.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(known, _)| **known == *name).map(|(_, value)| &**value)
    }

    /// Our name for the request.
    pub fn request_id(&self) -> RequestId {
        self.request_id
    }

    /// The trace it belongs to.
    pub fn trace(&self) -> &TraceContext {
        &self.trace
    }

    /// The client's address.
    pub fn client_ip(&self) -> IpAddr {
        self.from.client
    }

    /// Where the request comes from.
    pub fn origination(&self) -> &Origination {
        &self.from
    }

    /// The normalised, canonical path: what was matched is what an upstream gets.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The query as an upstream may see it, without `_csrf`.
    pub fn query(&self) -> Option<&str> {
        self.query.as_deref()
    }

    /// Who calls, if anybody is signed in.
    pub fn principal(&self) -> Option<&Principal> {
        match &self.credential {
            Credential::Good(principal) => Some(principal),
            Credential::None | Credential::Two | Credential::Bad | Credential::Unknown => None,
        }
    }

    /// Whether a credential was sent at all, good or bad.
    pub fn presented_credential(&self) -> bool {
        !matches!(self.credential, Credential::None)
    }

    /// Whether the request carries the session cookie, good or bad.
    pub fn has_session_cookie(&self) -> bool {
        self.cookies.session != Carried::No
    }

    /// The refresh token in the cookie.
    pub fn refresh_cookie(&self) -> Option<&str> {
        self.cookies.refresh.value()
    }

    /// Whether the request carries an `Origin` that is ours or allowed: what a
    /// sign-in or a refresh by cookie needs (contract §5).
    pub fn origin_allowed(&self, headers: &HeaderMap) -> bool {
        origin_allowed(headers, &self.config, self.route.cors.as_ref().unwrap_or(&self.config.cors), &self.from)
    }
}

impl std::fmt::Debug for Permit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Permit({} {})", self.request_id, self.route.template)
    }
}
