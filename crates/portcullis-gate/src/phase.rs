//! The names of the phases, for people.

use std::sync::Arc;

use crate::route_table::Route;

/// A phase of the gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The request id.
    Identify,
    /// Lengths and the size of the target.
    Framing,
    /// One spelling of the path.
    Path,
    /// The route by path and method.
    Route,
    /// The declared length against the route's limit.
    Size,
    /// The version of the API.
    Version,
    /// Preflights are answered here.
    Cors,
    /// Limits that need not know who calls.
    AddressLimits,
    /// Who calls.
    Classify,
    /// Limits that need to know who calls.
    CallerLimits,
    /// The token pair and where the request comes from.
    Csrf,
    /// Credential, network, role, permissions.
    Authorise,
}

impl Phase {
    /// All of them, in their order.
    pub const ALL: [Self; 12] = [
        Self::Identify,
        Self::Framing,
        Self::Path,
        Self::Route,
        Self::Size,
        Self::Version,
        Self::Cors,
        Self::AddressLimits,
        Self::Classify,
        Self::CallerLimits,
        Self::Csrf,
        Self::Authorise,
    ];

    /// The name in `explain`, in docs/gate.md and in the list of refusals.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Identify => "identify",
            Self::Framing => "framing",
            Self::Path => "path",
            Self::Route => "route",
            Self::Size => "size",
            Self::Version => "version",
            Self::Cors => "cors",
            Self::AddressLimits => "address limits",
            Self::Classify => "classify",
            Self::CallerLimits => "caller limits",
            Self::Csrf => "csrf",
            Self::Authorise => "authorise",
        }
    }
}

/// Who watches a request go by: nobody, or [`explain`](crate::Gate::explain).
pub(crate) trait Watch {
    /// Whether this is a rehearsal: then nothing is counted, touched or logged.
    const REHEARSAL: bool;

    /// A phase begins.
    fn enter(&mut self, phase: Phase);

    /// The route was found.
    fn matched(&mut self, _route: &Arc<Route>) {}

    /// What the phase found. The text is made only for somebody who reads it.
    fn note(&mut self, text: impl FnOnce() -> String);
}

/// A request that is really served.
pub(crate) struct Nobody {
    /// Where it was refused, if it was.
    pub(crate) phase: Phase,
}

impl Watch for Nobody {
    const REHEARSAL: bool = false;

    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
    }

    fn note(&mut self, _text: impl FnOnce() -> String) {}
}
