//! The gate's configuration: one value, which is swapped as a whole.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use portcullis_model::Limit;
use portcullis_model::policy::Environment;

use crate::access_log::AccessLog;
use crate::csrf::config::CsrfConfig;
use crate::limits::inspection::PlacedRule;
use crate::limits::rules::Limits;
use crate::request::origin::{AllowedOrigins, Origin};
use crate::request::propagation::Propagation;
use crate::response::security_headers::SecurityHeaders;
use crate::routes::table::RouteTable;
use crate::routes::versions::Versions;

/// One configuration of the gate. A request is decided by one configuration from beginning to end, even when it is
/// swapped meanwhile.
pub struct GateConfig {
    /// The built-in endpoints and the proxied routes.
    pub routes: RouteTable,
    /// The API versions that are served.
    pub versions: Versions,
    /// The origins whose pages may read responses.
    pub allowed_origins: AllowedOrigins,
    /// The security headers of responses.
    pub security_headers: SecurityHeaders,
    /// The CSRF rules.
    pub csrf: CsrfConfig,
    /// The rate limits for all routes.
    pub limits: Limits,
    /// How long a client may pause within a body (`server.body_timeout`).
    pub body_timeout: Duration,
    /// The networks of proxies whose `X-Forwarded-*` headers are believed (`server.trusted_proxies`).
    pub trusted_proxies: Vec<IpNet>,
    /// Whether every client decides if its requests' traces are recorded, not only a trusted proxy
    /// (`tracing.trust_incoming`).
    pub trust_incoming_traces: bool,
    /// How requests name their trace (`OTEL_PROPAGATORS`).
    pub propagation: Propagation,
    /// The environment, which decides the names of cookies.
    pub environment: Environment,
    /// Which requests the access log shows (`log.access`, `log.slow`).
    pub access_log: AccessLog,
    /// The origin of `PUBLIC_URL`.
    pub public_origin: Option<Origin>,
}

impl GateConfig {
    /// Returns every limit in force, with the template of the route that it belongs to.
    pub fn limits(&self) -> Vec<(Option<Arc<str>>, &Limit)> {
        self.rate_limit_rules().into_iter().map(|(route, rule)| (route, &rule.limit)).collect()
    }

    pub(crate) fn rate_limit_rules(&self) -> Vec<PlacedRule<'_>> {
        let of_routes = self.routes.routes().flat_map(|route| {
            let rules = route.limits.all();
            rules.map(|rule| (Some(Arc::clone(&route.template)), rule))
        });
        self.limits.all().map(|rule| (None, rule)).chain(of_routes).collect()
    }

    /// Whether an address in canonical form is one of the trusted proxies.
    pub(crate) fn is_trusted_proxy(&self, address: IpAddr) -> bool {
        self.trusted_proxies.iter().any(|net| net.contains(&address))
    }
}
