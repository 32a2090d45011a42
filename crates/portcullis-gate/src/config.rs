//! Everything the gate decides by, as one value that is swapped whole.

use std::time::Duration;

use ipnet::IpNet;
use portcullis_model::policy::Environment;

use crate::cors::Cors;
use crate::csrf::CsrfTokens;
use crate::limits::Limits;
use crate::origin::Origin;
use crate::route_table::RouteTable;
use crate::security_headers::SecurityHeaders;
use crate::versions::Versions;

/// One configuration of the gate. A request is judged by one of them from
/// beginning to end, also when it is swapped meanwhile.
pub struct GateConfig {
    /// Built-in endpoints and proxied routes.
    pub routes: RouteTable,
    /// The API versions served.
    pub versions: Versions,
    /// Origins that may read answers.
    pub cors: Cors,
    /// What tells browsers to be careful.
    pub headers: SecurityHeaders,
    /// The CSRF rules.
    pub csrf: CsrfConfig,
    /// The limits that hold everywhere.
    pub limits: Limits,
    /// How long a client may pause within a body.
    pub body_timeout: Duration,
    /// Whose `X-Forwarded-*` count.
    pub trusted_proxies: Vec<IpNet>,
    /// Development, production or test.
    pub environment: Environment,
    /// `PUBLIC_URL`'s origin.
    pub public_origin: Option<Origin>,
}

/// The CSRF rules.
#[derive(Debug)]
pub struct CsrfConfig {
    /// Makes and checks tokens.
    pub tokens: CsrfTokens,
    /// Which requests need one.
    pub mode: CsrfMode,
}

/// Which unsafe requests need a token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CsrfMode {
    /// All.
    #[default]
    Always,
    /// Those that carry the session cookie.
    Cookie,
    /// All; but whoever has none is written down and let through, to find out what enforcing would break.
    Report,
}
