//! The policy of a route: what it requires of a request, for built-in endpoints and proxied routes alike.

use std::collections::BTreeMap;
use std::time::Duration;

use ipnet::IpNet;

use crate::{Limit, Permission, Role};

/// Which credential a route requires.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AuthRequirement {
    /// No credential. A bad or expired one is ignored.
    None,
    /// No credential, but one that is sent must be valid.
    Optional,
    /// A valid credential. This is the default, so that a route without the setting is closed.
    #[default]
    Required,
}

/// The largest request body, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyLimit {
    /// The body may have at most this many bytes.
    Bytes(u64),
    /// The body may have any length (`max_body = 0`).
    Unlimited,
}

impl BodyLimit {
    /// Reads the value of a setting, where `0` means that there is no limit.
    pub fn from_setting(bytes: u64) -> Self {
        if bytes == 0 { Self::Unlimited } else { Self::Bytes(bytes) }
    }

    /// Whether a body of this many bytes is larger than the limit.
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

/// The methods that a route accepts unless it names its own ones.
pub const STANDARD_METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/// The methods that a route accepts. Names of methods are case-sensitive (RFC 9110 §9.1): many upstreams read `post` as
/// `POST`, so it must not reach a route as a method of its own (SR-54).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Methods {
    /// The [`STANDARD_METHODS`] are accepted.
    Standard,
    /// These methods are accepted, written in upper case. `GET` includes `HEAD`.
    Only(Vec<String>),
}

/// The permissions that a caller must have: all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MethodPermissions {
    /// Permissions that every method needs.
    pub always: Vec<Permission>,
    /// Permissions that a method needs besides, by its name in upper case.
    pub by_method: BTreeMap<String, Vec<Permission>>,
}

impl MethodPermissions {
    /// Returns the permissions that a method needs; one may occur twice.
    ///
    /// `HEAD` counts as `GET`. `GET` and `OPTIONS` without an entry need none of the entries. Any other method without
    /// an entry may change something and needs all of them: an operator who protects `DELETE` and forgets `PATCH` must
    /// not open the route (SR-54).
    pub fn required(&self, method: &str) -> impl Iterator<Item = &Permission> {
        let applies = move |name: &str| match method {
            "HEAD" => matches!(name, "GET" | "HEAD"),
            "GET" | "OPTIONS" => name == method,
            _ => name == method || !self.by_method.contains_key(method),
        };
        let entries = self.by_method.iter().filter(move |(name, _)| applies(name));
        self.always.iter().chain(entries.flat_map(|(_, list)| list))
    }
}

/// Which of the two default limits covers a route (`docs/contract.md`, "Rate limits").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitClass {
    /// `limits.auth` covers sign-in, registration and the like.
    Auth,
    /// `limits.api` covers everything else.
    Api,
    /// No default limit covers health checks and metrics.
    Exempt,
}

/// Everything that the gate requires of a request on a route. [`RoutePolicy::requiring`] makes one to start from.
#[derive(Clone, Debug)]
pub struct RoutePolicy {
    /// The credential that is required.
    pub auth: AuthRequirement,
    /// Whether an API key is refused: a key creates no keys and no sessions, and does not change its owner's account
    /// (SR-43).
    pub signed_in_only: bool,
    /// The lowest role that may call.
    pub minimum_role: Option<Role>,
    /// The permissions that the caller must have.
    pub permissions: MethodPermissions,
    /// Whether the caller's e-mail address must be confirmed.
    pub verified_email: bool,
    /// The longest time since the caller signed in (RFC 9470).
    pub max_session_age: Option<Duration>,
    /// The networks that clients may call from. Empty means all networks.
    pub networks: Vec<IpNet>,
    /// Whether requests are refused while the database cannot be reached, because revocations since then may not be known
    /// here.
    pub needs_database: bool,
    /// How unsafe methods are protected against CSRF.
    pub csrf: CsrfPolicy,
    /// The rate limits that the route has besides the default one.
    pub limits: Vec<Limit>,
    /// The default rate limit that covers the route.
    pub limit_class: LimitClass,
    /// Whether the route is served under a version past its sunset too: probes and pages that find their way to another
    /// version must go on.
    pub outlives_versions: bool,
    /// The largest request body that is accepted.
    pub max_body: BodyLimit,
    /// The origins whose pages may read responses (CORS), in place of the gateway's own list.
    pub allowed_origins: Option<Vec<String>>,
    /// Which side answers the CORS questions of browsers.
    pub cors: CorsPolicy,
    /// Whether responses get security headers (CSP, `X-Frame-Options` and the like).
    pub security_headers: bool,
    /// The longest time that the gateway waits for the upstream: until it takes the next bytes of a request, and from the
    /// end of the request to the head of the response.
    pub timeout: Duration,
    /// The longest time between two pieces of a response's body. `None` means no limit.
    pub body_idle_timeout: Option<Duration>,
    /// As [`body_idle_timeout`](Self::body_idle_timeout), for event streams, gRPC and tunnels.
    pub stream_idle_timeout: Option<Duration>,
}

impl RoutePolicy {
    /// A policy that requires this credential and nothing else, except that CSRF is checked.
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
            outlives_versions: false,
            max_body: BodyLimit::Bytes(1 << 20),
            allowed_origins: None,
            cors: CorsPolicy::default(),
            security_headers: true,
            timeout: Duration::from_secs(30),
            body_idle_timeout: Some(Duration::from_secs(60)),
            stream_idle_timeout: None,
        }
    }

    /// Whether a request may fail a requirement of this policy and meet the other one. Limits are no requirements.
    pub fn asks_more_than(&self, other: &Self) -> bool {
        let rank = |auth| match auth {
            AuthRequirement::None => 0,
            AuthRequirement::Optional => 1,
            AuthRequirement::Required => 2,
        };
        let asks_age = match (self.max_session_age, other.max_session_age) {
            (Some(most), Some(other)) => most < other,
            (most, None) => most.is_some(),
            (None, Some(_)) => false,
        };
        let has_permissions = !self.permissions.always.is_empty() || !self.permissions.by_method.is_empty();
        rank(self.auth) > rank(other.auth)
            || self.minimum_role > other.minimum_role
            || (has_permissions && self.permissions != other.permissions)
            || (!self.networks.is_empty() && self.networks != other.networks)
            || (self.csrf == CsrfPolicy::Checked && other.csrf != CsrfPolicy::Checked)
            || (self.signed_in_only && !other.signed_in_only)
            || (self.verified_email && !other.verified_email)
            || (self.needs_database && !other.needs_database)
            || asks_age
    }
}

/// Which side answers the CORS questions of browsers (`docs/contract.md`, "CORS").
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CorsPolicy {
    /// The gateway answers, and an upstream's own answers are removed.
    Gateway {
        /// Request headers that pages may send, besides the gateway's.
        request_headers: Vec<String>,
        /// Response headers that pages may read, besides the gateway's.
        expose_headers: Vec<String>,
    },
    /// The upstream answers, preflights included.
    Upstream,
}

impl Default for CorsPolicy {
    fn default() -> Self {
        Self::Gateway { request_headers: Vec::new(), expose_headers: Vec::new() }
    }
}

/// How a route is protected against CSRF (`docs/contract.md`, "CSRF").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CsrfPolicy {
    /// Unsafe methods need the CSRF cookie and the same token in the request.
    Checked,
    /// Exempt unless a cookie authenticates the request, as for `/api/auth/*`.
    ExemptUnlessCookie,
    /// Exempt even by cookie, as for `/api/auth/refresh`: the handler checks the origin and the content type.
    ExemptWithOriginCheck,
    /// Exempt in every case.
    Exempt,
}

/// The environment that the process runs in. It decides defaults and what is allowed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Environment {
    /// A developer's machine. This is the default: the gateway listens on loopback only.
    #[default]
    Development,
    /// A deployment that users reach.
    Production,
    /// Automated tests of the services behind the gateway.
    Test,
}

impl Environment {
    /// The word in settings and responses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Development => "development",
            Self::Production => "production",
            Self::Test => "test",
        }
    }
}

/// How requests of a proxied route are forwarded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forwarding {
    /// The name of the upstream in the settings.
    pub upstream: std::sync::Arc<str>,
    /// A prefix that is removed from the path before the upstream sees it.
    pub strip_prefix: Option<Box<str>>,
    /// Whether the upstream gets the client's credentials.
    pub forward_authorization: bool,
    /// Whether the upstream gets the header of a POST that asks for another method (`X-HTTP-Method-Override` and the like).
    pub method_override: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_asks_more_where_one_requirement_is_stricter() {
        let open = RoutePolicy::requiring(AuthRequirement::None);
        let closed = RoutePolicy::requiring(AuthRequirement::Required);
        assert!(closed.asks_more_than(&open) && !open.asks_more_than(&closed) && !closed.asks_more_than(&closed));
        let view = Permission::from(Permission::USER_VIEW);
        let by_method = BTreeMap::from([("POST".to_owned(), vec![view.clone()])]);
        for stricter in [
            RoutePolicy { minimum_role: Some(Role::Viewer), ..closed.clone() },
            RoutePolicy { signed_in_only: true, ..closed.clone() },
            RoutePolicy { verified_email: true, ..closed.clone() },
            RoutePolicy { needs_database: true, ..closed.clone() },
            RoutePolicy { max_session_age: Some(Duration::from_secs(9)), ..closed.clone() },
            RoutePolicy { networks: vec!["10.0.0.0/8".parse().expect("a net")], ..closed.clone() },
            RoutePolicy {
                permissions: MethodPermissions { always: vec![view], ..Default::default() },
                ..closed.clone()
            },
            RoutePolicy { permissions: MethodPermissions { by_method, ..Default::default() }, ..closed.clone() },
        ] {
            assert!(stricter.asks_more_than(&closed) && !closed.asks_more_than(&stricter), "{stricter:?}");
        }
        let unchecked = RoutePolicy { csrf: CsrfPolicy::Exempt, ..closed.clone() };
        assert!(closed.asks_more_than(&unchecked) && !unchecked.asks_more_than(&closed));
    }
}
