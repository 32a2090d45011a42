//! The phases and their names.

/// A phase of the gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Gives the request its id.
    Identify,
    /// Checks lengths, `Host`, the size of head and target, and expectations.
    Framing,
    /// Normalises the path.
    Path,
    /// Finds the route by path and method.
    Route,
    /// Compares the declared length of the body with the route's limit.
    Size,
    /// Checks that the requested version of the API is served.
    Version,
    /// Decides which origins may read the response, and answers preflights.
    Cors,
    /// Counts the request against the limits that do not need the caller.
    AddressLimits,
    /// Finds the principal of the presented credential.
    Classify,
    /// Counts the request against the limits that need the caller.
    CallerLimits,
    /// Checks the CSRF token pair and the origin of a request by cookie.
    Csrf,
    /// Checks credential, network, role, permissions, e-mail address and database.
    Authorise,
}

impl Phase {
    /// All phases, in the order in which a request passes them.
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

    /// Returns the name in `explain`, in docs/gate.md and in the refusal log.
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
