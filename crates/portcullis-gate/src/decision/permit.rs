//! The permit: the right to reach a destination.

use std::net::IpAddr;
use std::sync::Arc;

use http::HeaderMap;

use crate::credential::{Credential, Principal};
use crate::csrf::check::pre_session;
use crate::csrf::same_site::SiteRules;
use crate::decision::verdict::Admission;
use crate::request::client_address::RequestSource;
use crate::request::cookies::CookieValue;
use crate::request::propagation::Propagation;
use crate::request::request_id::RequestId;
use crate::request::trace_context::TraceContext;
use crate::routes::route::{Destination, Route};

/// Proof that a request passed every phase of the gate. A destination takes one, and only the gate makes one.
///
/// ```compile_fail
/// let permit = portcullis_gate::Permit { };
/// ```
pub struct Permit(pub(crate) Box<Admission>);

impl Permit {
    /// Returns where the request goes.
    pub fn destination(&self) -> &Destination {
        &self.0.route.destination
    }

    /// Returns the route that the request matched.
    pub fn route(&self) -> &Route {
        &self.0.route
    }

    /// Returns the route alone, once the destination needs the permit no more.
    pub fn into_route(self) -> Arc<Route> {
        self.0.route
    }

    /// Returns a parameter of the route's template. Only built-in endpoints have parameters.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.0.parameters.iter().find(|(known, _)| **known == *name).map(|(_, value)| &**value)
    }

    /// Returns the id of the request.
    pub fn request_id(&self) -> RequestId {
        self.0.request_id
    }

    /// Returns the trace that the request belongs to.
    pub fn trace(&self) -> &TraceContext {
        &self.0.trace
    }

    /// Returns how requests name their trace.
    pub fn propagation(&self) -> Propagation {
        self.0.config.propagation
    }

    /// Returns the client's address.
    pub fn client_ip(&self) -> IpAddr {
        self.0.source.client
    }

    /// Returns the client's address, scheme and host, and the peer's address.
    pub fn source(&self) -> &RequestSource {
        &self.0.source
    }

    /// Returns the normalised, canonical path, which the route was matched on and an upstream gets.
    pub fn path(&self) -> &str {
        &self.0.path
    }

    /// Returns the query without `_csrf`, as an upstream may see it.
    pub fn query(&self) -> Option<&str> {
        self.0.query.as_deref()
    }

    /// Returns the authenticated caller, if the request presents a valid credential.
    pub fn principal(&self) -> Option<&Principal> {
        self.0.credential.principal()
    }

    /// Whether the request presents a credential at all, valid or not.
    pub fn presented_credential(&self) -> bool {
        !matches!(self.0.credential, Credential::None)
    }

    /// Whether the request carries the session cookie, valid or not.
    pub fn has_session_cookie(&self) -> bool {
        self.0.cookies.session != CookieValue::Absent
    }

    /// Returns the refresh token in the cookie.
    pub fn refresh_cookie(&self) -> Option<&str> {
        self.0.cookies.refresh.value()
    }

    /// Whether the request has an `Origin` that is ours or allowed. A sign-in or a refresh by cookie needs one
    /// (docs/contract.md, "CSRF").
    pub fn origin_allowed(&self, headers: &HeaderMap) -> bool {
        let public_origin = self.0.config.public_origin.as_ref();
        let allowed = self.0.route.allowed_origins.as_ref().unwrap_or(&self.0.config.allowed_origins);
        SiteRules { public_origin, allowed, source: &self.0.source }.allow_origin_of(headers)
    }

    /// Returns what the request's CSRF token must be bound to: its session or its pre-session.
    pub(crate) fn csrf_identifier(&self) -> Option<&str> {
        self.0.csrf_session.as_deref().or_else(|| pre_session(&self.0.cookies))
    }
}

impl std::fmt::Debug for Permit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Permit({} {})", self.0.request_id, self.0.route.template)
    }
}
