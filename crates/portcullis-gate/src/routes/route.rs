//! A route: what it matches, what it requires of a request, and where the request goes.

use std::fmt;
use std::sync::Arc;

use portcullis_model::policy::{Forwarding, Methods, RoutePolicy};

use crate::limits::rules::RouteLimits;
use crate::request::origin::AllowedOrigins;
use crate::response::cors::RouteLists;

/// The index of a built-in endpoint in the API's table of endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndpointId(pub u16);

/// Where a permitted request goes.
#[derive(Clone, Debug)]
pub enum Destination {
    /// An endpoint of Portcullis itself.
    BuiltIn(EndpointId),
    /// A service behind the gateway.
    Upstream(Arc<Forwarding>),
}

impl Destination {
    /// Whether both are one service behind the gateway.
    pub(crate) fn is_same_upstream(&self, other: &Self) -> bool {
        matches!((self, other), (Self::Upstream(one), Self::Upstream(other)) if one.upstream == other.upstream)
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BuiltIn(_) => f.write_str("a built-in endpoint"),
            Self::Upstream(forwarding) => write!(f, "the upstream {}", forwarding.upstream),
        }
    }
}

/// A route as settings or the built-in API describe it.
#[derive(Clone, Debug)]
pub struct RouteSpec {
    /// The path template, such as `/api/v1/users/{id}`. A final `/{*rest}` also matches the path without it.
    pub template: String,
    /// The methods that the route serves.
    pub methods: Methods,
    /// What the route requires of a request.
    pub policy: RoutePolicy,
    /// Where requests go.
    pub destination: Destination,
}

/// A route in the table.
#[derive(Debug)]
pub struct Route {
    /// The path template, which is also the route's name in metrics and logs.
    pub template: Arc<str>,
    /// What the route requires of a request.
    pub policy: RoutePolicy,
    /// Where requests go.
    pub destination: Destination,
    pub(crate) limits: RouteLimits,
    /// The route's own allowed origins, in place of the ones for all routes.
    pub(crate) allowed_origins: Option<AllowedOrigins>,
    /// The route's CORS lists, if they are longer than those of the gateway.
    pub(crate) cors_lists: Option<RouteLists>,
}

impl Route {
    pub(crate) fn new(
        template: &Arc<str>,
        methods: &Methods,
        policy: RoutePolicy,
        destination: Destination,
    ) -> Arc<Self> {
        let allowed_origins = policy.allowed_origins.as_ref();
        Arc::new(Self {
            template: Arc::clone(template),
            limits: RouteLimits::new(&policy.limits, stable_hash(template, methods)),
            allowed_origins: allowed_origins.map(|origins| AllowedOrigins::new(origins.iter().cloned())),
            cors_lists: RouteLists::of(&policy.cors),
            policy,
            destination,
        })
    }
}

/// FNV-1a over template and methods, so that a route keeps its rate limit counts when the configuration is swapped.
fn stable_hash(template: &str, methods: &Methods) -> u64 {
    let methods = match methods {
        Methods::Standard => String::new(),
        Methods::Only(names) => names.join(","),
    };
    template
        .bytes()
        .chain([0])
        .chain(methods.bytes())
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Why a route table cannot be built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// Two routes match the same request.
    #[error("routes {first:?} and {second:?} collide")]
    Collision {
        /// The template of the earlier route.
        first: String,
        /// The template of the later route.
        second: String,
    },
    /// A template cannot be read, or a method of the route is invalid.
    #[error("the path {template:?} is not a route template: {reason}")]
    Template {
        /// The template as it was given.
        template: String,
        /// What is wrong with it.
        reason: String,
    },
}
