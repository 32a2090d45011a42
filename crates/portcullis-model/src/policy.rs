//! What a route asks of a request, whether a built-in endpoint or a proxied one.

use std::collections::BTreeMap;
use std::time::Duration;

use ipnet::IpNet;

use crate::{Limit, Permission, Role};

/// Who may call a route.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AuthRequirement {
    /// Anyone; a bad or expired credential is ignored.
    None,
    /// Anyone; but a credential that is sent must be good.
    Optional,
    /// Only a good credential. The default, so that a forgotten key closes a route.
    #[default]
    Required,
}

/// The largest request body, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyLimit {
    /// At most this many bytes.
    Bytes(u64),
    /// No limit (`max_body = 0`).
    Unlimited,
}

impl BodyLimit {
    /// `0` means no limit.
    pub fn from_setting(bytes: u64) -> Self {
        if bytes == 0 { Self::Unlimited } else { Self::Bytes(bytes) }
    }

    /// Whether a body of this many bytes is too large.
    pub fn exceeded_by(self, bytes: u64) -> bool {
        matches!(self, Self::Bytes(limit) if bytes > limit)
    }
}

impl std::fmt::Display for BodyLimit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Bytes(bytes) => write!(f, "at most {bytes} bytes"),
            Self::Unlimited => f.write_str("any length"),
        }
    }
}

/// The methods a route answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Methods {
    /// Every method.
    Any,
    /// These, upper-case. `GET` implies `HEAD`.
    Only(Vec<String>),
}

/// Permissions a caller must hold, all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MethodPermissions {
    /// For every method.
    pub always: Vec<Permission>,
    /// On top, by method (upper-case).
    pub by_method: BTreeMap<String, Vec<Permission>>,
}

/// Which of the two default limits covers a route (contract §6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitClass {
    /// `limits.auth`: sign-in, registration and the like.
    Auth,
    /// `limits.api`: everything else.
    Api,
    /// Health and metrics: none.
    Exempt,
}

/// Everything the gate asks of a request on a route. [`RoutePolicy::requiring`] gives one that asks for nothing else.
#[derive(Clone, Debug)]
pub struct RoutePolicy {
    /// Who may call.
    pub auth: AuthRequirement,
    /// Whether only somebody who signed in may call: an API key makes no keys and no sessions, and changes no account
    /// of its owner (requirement 43).
    pub signed_in_only: bool,
    /// At least this role.
    pub minimum_role: Option<Role>,
    /// Permissions needed.
    pub permissions: MethodPermissions,
    /// Whether the caller's address must have been confirmed.
    pub verified_email: bool,
    /// How long ago the caller may have signed in at most (RFC 9470).
    pub max_session_age: Option<Duration>,
    /// The networks that clients may call from; empty for all.
    pub networks: Vec<IpNet>,
    /// Whether it is refused while the database cannot be reached: what was revoked since may not be known here.
    pub needs_database: bool,
    /// Whether unsafe methods need a CSRF token.
    pub csrf: CsrfPolicy,
    /// The route's own limits.
    pub limits: Vec<Limit>,
    /// Which default limit applies.
    pub limit_class: LimitClass,
    /// The largest body.
    pub max_body: BodyLimit,
    /// The origins whose pages may read answers, in place of the ones that hold everywhere.
    pub allowed_origins: Option<Vec<String>>,
    /// Whether answers get the headers that tell browsers to be careful.
    pub security_headers: bool,
    /// How long the destination may take to begin its answer.
    pub timeout: Duration,
}

impl RoutePolicy {
    /// Asks for a credential, or for none, and for nothing else; CSRF is checked.
    pub fn requiring(auth: AuthRequirement) -> Self {
        Self {
            auth,
            signed_in_only: false,
            minimum_role: None,
            permissions: MethodPermissions::default(),
            verified_email: false,
            max_session_age: None,
            networks: Vec::new(),
            needs_database: false,
            csrf: CsrfPolicy::Checked,
            limits: Vec::new(),
            limit_class: LimitClass::Api,
            max_body: BodyLimit::Bytes(1 << 20),
            allowed_origins: None,
            security_headers: true,
            timeout: Duration::from_secs(30),
        }
    }
}

/// How CSRF applies to a route (contract §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CsrfPolicy {
    /// Unsafe methods need the token pair.
    Checked,
    /// `/api/auth/*`: exempt, unless the request is authenticated by cookie.
    ExemptUnlessCookie,
    /// `/api/auth/refresh`: exempt even by cookie; the handler checks Origin and content type.
    ExemptWithOriginCheck,
    /// Never checked.
    Exempt,
}

/// Where the process runs; it decides defaults and what is allowed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Environment {
    /// A person's machine. The default: nothing listens beyond loopback.
    #[default]
    Development,
    /// In front of people.
    Production,
    /// Automated tests of whatever stands behind.
    Test,
}

impl Environment {
    /// The word used in settings and answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Development => "development",
            Self::Production => "production",
            Self::Test => "test",
        }
    }
}

/// How a proxied route is carried on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forwarding {
    /// The upstream's name.
    pub upstream: std::sync::Arc<str>,
    /// Taken off the front of the path before the upstream sees it.
    pub strip_prefix: Option<Box<str>>,
    /// Whether the upstream gets the client's credentials too.
    pub forward_authorization: bool,
}
