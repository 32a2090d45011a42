//! The gate: every phase a request passes, in the order it passes them.
//!
//! | phase | why there |
//! |---|---|
//! | identify | everything later logs, traces and answers by the request id |
//! | framing | a request whose length is ambiguous must not be read further |
//! | path | matched on one spelling, the one an upstream gets |
//! | route | 404 and 405 are for everyone, so that they tell nobody anything |
//! | size | needs the route's limit, and stands before the version as all of framing does |
//! | version | needs the route: its refusals come after 404 |
//! | CORS | preflights carry no credential and cost no limit |
//! | limit by address | before any work an anonymous client could make us do |
//! | classify | finds out who calls, and refuses nothing |
//! | limit by principal | needs to know who calls |
//! | CSRF | before authentication: another site must not learn who is signed in |
//! | authorise | the last word before the destination |

use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use http::header::{ACCEPT, CONTENT_LENGTH, HeaderMap, HeaderName, ORIGIN, TRANSFER_ENCODING};
use http::{Method, Request};
use hyper::body::Incoming;
use portcullis_model::policy::{AuthRequirement, Environment, LimitClass, RoutePolicy};
use portcullis_model::{AccessTokens, Clock, Random, SessionSource, SharedLimits, Timestamp};
use portcullis_telemetry::Metrics;

use crate::asked::{check_version, is_api, locate};
use crate::body::InboundBody;
use crate::client_address::Origination;
use crate::config::{CsrfMode, GateConfig};
use crate::context::{Context, is_client_request_id};
use crate::cookies::{CookieName, Cookies};
use crate::credential::{Classifier, Credential, Presented, Via};
use crate::csrf_check::{check_csrf, must_be_same_site, needs_csrf, pre_session, presented_csrf, without_csrf};
use crate::framing::AmbiguousHead;
use crate::limits::{Limiter, Standing, Subject};
use crate::origin::same_site;
use crate::path;
use crate::permit::Permit;
use crate::refusal::{Malformation, Refusal};
use crate::request_id::{RequestIds, TraceContext};
use crate::route_table::{Destination, Matched, Route};
use crate::streams::LiveStreams;

/// The longest request target, in bytes (RFC 9110 §4.1 recommends at least 8000).
const MAX_URL_BYTES: usize = 16 * 1024;
// As constants, because a name given as text is parsed at every look-up.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Decides on every request.
pub struct Gate {
    config: ArcSwap<GateConfig>,
    classifier: Classifier,
    limiter: Limiter,
    streams: Arc<LiveStreams>,
    ids: RequestIds,
    clock: Clock,
    random: Random,
    metrics: Metrics,
}

/// What a gate is made of.
pub struct GateParts {
    /// Verifies access tokens.
    pub tokens: Arc<dyn AccessTokens>,
    /// Looks sessions up.
    pub sessions: Arc<dyn SessionSource>,
    /// Where replicas count limits together; `None` when each counts for itself.
    pub shared_limits: Option<Arc<dyn SharedLimits>>,
    /// The clock of limits and lifetimes.
    pub clock: Clock,
    /// For CSRF tokens and request ids.
    pub random: Random,
    /// Counts refusals.
    pub metrics: Metrics,
}

/// A request that went through the gate, permitted or not.
pub struct Passage {
    /// What [`Gate::finish`] needs for the answer, whoever gives it.
    pub context: Context,
    /// The permit, or why there is none.
    pub verdict: Result<(Permit, Request<InboundBody>), Refusal>,
}

/// A new CSRF token, and the pre-session that goes with it if there was none.
#[derive(Debug)]
pub struct IssuedCsrf {
    /// The token, for the page and for the cookie.
    pub token: String,
    /// The pre-session cookie to set.
    pub new_pre_session: Option<String>,
}

impl Gate {
    /// A gate that decides by `config` until it is swapped.
    pub fn new(parts: GateParts, config: GateConfig) -> Self {
        let GateParts { tokens, sessions, shared_limits, clock, random, metrics } = parts;
        Self {
            config: ArcSwap::from_pointee(config),
            classifier: Classifier::new(tokens, sessions),
            limiter: Limiter::new(clock.clone(), shared_limits),
            streams: LiveStreams::new(),
            ids: RequestIds::new(&random),
            clock,
            random,
            metrics,
        }
    }

    /// Decides by another configuration from the next request on.
    pub fn swap(&self, config: GateConfig) {
        self.config.store(Arc::new(config));
    }

    /// The configuration in force.
    pub fn config(&self) -> Arc<GateConfig> {
        self.config.load_full()
    }

    /// The registry of live streams.
    pub fn streams(&self) -> &Arc<LiveStreams> {
        &self.streams
    }

    /// Takes a request through all phases. Awaits nothing when its session is
    /// known here, `_csrf` does not stand in its body and limits are counted here.
    pub async fn pass(&self, peer: SocketAddr, request: Request<Incoming>) -> Passage {
        let (parts, body) = request.into_parts();
        let config = self.config.load_full();

        // identify
        let request_id = self.ids.next();
        let mut context = Context {
            request_id,
            client_request_id: parts.headers.get(REQUEST_ID).filter(|id| is_client_request_id(id)).cloned(),
            uri: parts.uri.clone(),
            accept: parts.headers.get(ACCEPT).cloned(),
            flight: None,
            allowed_origin: None,
            preflight: false,
            ambiguous: parts.extensions.get::<AmbiguousHead>().is_some(),
            // Until the path is known to be something else: every answer under /api names its version.
            version: is_api(parts.uri.path()).then(|| config.versions.default_index()),
            standing: None,
            careful: true,
            config,
        };
        let method = parts.method.clone();
        let verdict = self.judge(&mut context, peer, parts, body).await;
        if context.flight.is_none() {
            context.flight = Some(context.config.routes.unmatched().begin(&method));
        }
        if let Err(refusal) = &verdict {
            self.count(refusal, &context);
        }
        Passage { context, verdict }
    }

    async fn judge(
        &self,
        context: &mut Context,
        peer: SocketAddr,
        parts: http::request::Parts,
        body: Incoming,
    ) -> Result<(Permit, Request<InboundBody>), Refusal> {
        let config = Arc::clone(&context.config);
        let now = self.clock.unix_seconds();
        let headers = &parts.headers;

        // CORS headers go on every answer, so the origin is looked at first; it refuses nothing.
        context.allowed_origin =
            headers.get(ORIGIN).filter(|origin| origin.to_str().is_ok_and(|o| config.cors.allows(o))).cloned();

        // framing
        if context.ambiguous || !is_framed(headers) {
            context.ambiguous = true;
            return Err(Refusal::Malformed(Malformation::Framing));
        }
        if parts.uri.path_and_query().is_some_and(|target| target.as_str().len() > MAX_URL_BYTES) {
            return Err(Refusal::UrlTooLong);
        }

        // path
        let spelled = path::normalise(parts.uri.path()).map_err(|_| Refusal::Malformed(Malformation::Path))?;

        // route
        let preflight_for = preflight_method(&parts.method, headers);
        let wanted = preflight_for.as_ref().unwrap_or(&parts.method);
        let asked = locate(&config, &spelled, headers, parts.uri.query(), context)?;
        let (route, metrics, parameters) = match config.routes.find(&asked.path, wanted) {
            Matched::Route { route, metrics, parameters } => (Arc::clone(route), metrics, parameters),
            Matched::WrongMethod { allow, metrics } => {
                context.flight = Some(metrics.begin(&parts.method));
                return Err(Refusal::MethodNotAllowed { allow: allow.to_owned() });
            }
            Matched::Nothing => return Err(Refusal::NotFound),
        };
        context.flight = Some(metrics.begin(&parts.method));
        context.careful = route.policy.security_headers;

        // size
        if content_length(headers).is_some_and(|length| route.policy.max_body.exceeded_by(length)) {
            return Err(Refusal::PayloadTooLarge);
        }

        // version
        check_version(&config, &asked, &self.clock)?;

        // CORS
        if preflight_for.is_some() {
            context.preflight = true;
            return Err(Refusal::Preflight);
        }

        // limit by address
        let from = Origination::find(peer.ip(), headers, &config.trusted_proxies);
        self.limit_by_address(&config, &route.policy, &from, context).await?;

        // classify
        let cookies = Cookies::read(headers, config.environment);
        let presented = Presented::read(headers, &cookies);
        let (credential, cookie_session) = self.classifier.classify(&presented, now).await;

        // limit by principal
        self.limit_by_route(&route, &credential, &from, context).await?;

        // CSRF
        let mut body = InboundBody::new(body, route.policy.max_body);
        let csrf_session = cookie_session.as_ref().map(|session| session.id.to_string().into_boxed_str());
        if must_be_same_site(&route.policy, &parts.method, cookie_session.is_some())
            && !same_site(headers, &config, &from)
        {
            self.enforce(&config, context, Refusal::CrossSite)?;
        }
        let by_key = matches!(&credential, Credential::Good(principal) if principal.via == Via::ApiKey);
        if !by_key && needs_csrf(&config, &route.policy, &parts.method, &cookies, cookie_session.as_ref()) {
            let identifier = csrf_session.as_deref().or_else(|| pre_session(&cookies));
            let presented_token = presented_csrf(headers, parts.uri.query(), &mut body).await?;
            if let Err(reason) = check_csrf(&config, &cookies, identifier, presented_token.as_deref()) {
                let refusal = Refusal::InvalidCsrf { reason, bearer_only: presented.is_bearer_only() };
                self.enforce(&config, context, refusal)?;
            }
        }

        // authorise
        authorise(&route.policy, &parts.method, &credential)?;

        let built_in = matches!(route.destination, Destination::BuiltIn(_));
        let permit = Permit {
            parameters: if built_in {
                parameters.iter().map(|(k, v)| (k.into(), v.into())).collect()
            } else {
                Vec::new()
            },
            request_id: context.request_id,
            trace: TraceContext::continue_from(
                headers.get(TRACEPARENT).and_then(|value| value.to_str().ok()),
                context.request_id,
                self.ids.span(),
            ),
            query: parts.uri.query().map(without_csrf),
            path: asked.path.into_owned().into_boxed_str(),
            from,
            cookies,
            credential,
            csrf_session,
            route,
            config,
        };
        Ok((permit, Request::from_parts(parts, body)))
    }

    async fn limit_by_address(
        &self,
        config: &GateConfig,
        policy: &RoutePolicy,
        from: &Origination,
        context: &mut Context,
    ) -> Result<(), Refusal> {
        let (name, id, rate) = match policy.limit_class {
            LimitClass::Auth => ("auth", 0, config.limits.auth),
            LimitClass::Api => ("api", 1, config.limits.api),
            LimitClass::Exempt => return Ok(()),
        };
        let Some(rate) = rate else { return Ok(()) };
        settle(context, self.limiter.count(name, id, rate, Subject::address(from.client)).await)
    }

    async fn limit_by_route(
        &self,
        route: &Route,
        credential: &Credential,
        from: &Origination,
        context: &mut Context,
    ) -> Result<(), Refusal> {
        let Some(rate) = route.policy.rate_limit else { return Ok(()) };
        let subject = match credential {
            Credential::Good(principal) if principal.via == Via::ApiKey => Subject::Key(principal.session.id),
            Credential::Good(principal) => Subject::User(principal.session.user_id),
            _ => Subject::address(from.client),
        };
        settle(context, self.limiter.count("route", route.limit_id, rate, subject).await)
    }

    /// Refuses for CSRF, or only writes it down (`csrf.mode = "report"`).
    fn enforce(&self, config: &GateConfig, context: &Context, refusal: Refusal) -> Result<(), Refusal> {
        if config.csrf.mode != CsrfMode::Report {
            return Err(refusal);
        }
        let reason = csrf_reason(&refusal).unwrap_or("other");
        self.metrics.csrf_report(reason);
        let (request_id, route) = (context.request_id.as_str(), context.route());
        tracing::info!(request_id, route, reason, "csrf.mode = \"always\" would refuse this request");
        Ok(())
    }

    fn count(&self, refusal: &Refusal, context: &Context) {
        if let Some(reason) = csrf_reason(refusal) {
            self.metrics.csrf_refusal(reason);
        }
        if let Refusal::RateLimited { .. } = refusal {
            self.metrics.rate_limited(context.standing.map_or("api", |standing| standing.name));
        }
    }

    /// The token for the request's session or pre-session: the one it carries
    /// while that is valid, because tabs share one cookie jar.
    pub fn issue_csrf(&self, permit: &Permit) -> IssuedCsrf {
        let tokens = &permit.config.csrf.tokens;
        let known = permit.csrf_session.as_deref().or_else(|| pre_session(&permit.cookies));
        let Some(identifier) = known else {
            let pre = self.random.hex::<32>();
            return IssuedCsrf { token: tokens.issue(&pre, &self.random), new_pre_session: Some(pre) };
        };
        let carried = permit.cookies.csrf.value().filter(|token| tokens.verify(identifier, token));
        let token = carried.map_or_else(|| tokens.issue(identifier, &self.random), str::to_owned);
        IssuedCsrf { token, new_pre_session: None }
    }

    /// A cookie's name in this environment.
    pub fn cookie_name(&self, name: CookieName) -> &'static str {
        name.on_wire(self.config.load().environment)
    }

    /// `GET /api/versions`.
    pub fn versions_document(&self, now: Timestamp) -> serde_json::Value {
        self.config.load().versions.document(now)
    }

    pub(crate) fn unix_seconds(&self) -> i64 {
        self.clock.unix_seconds()
    }

    /// The environment in force.
    pub fn environment(&self) -> Environment {
        self.config.load().environment
    }
}

/// The label of a refusal for CSRF.
fn csrf_reason(refusal: &Refusal) -> Option<&'static str> {
    match refusal {
        Refusal::InvalidCsrf { reason, .. } => Some(reason.as_str()),
        Refusal::CrossSite => Some("cross_site"),
        _ => None,
    }
}

/// Requirement 39 for a parser that leaves both headers standing; what hyper
/// settles by itself is found by [`HeadGuard`](crate::HeadGuard).
fn is_framed(headers: &HeaderMap) -> bool {
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let one_length = lengths.next().is_some();
    lengths.next().is_none() && !(one_length && headers.contains_key(TRANSFER_ENCODING))
}

pub(crate) fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// The method a CORS preflight asks about.
fn preflight_method(method: &Method, headers: &HeaderMap) -> Option<Method> {
    if *method != Method::OPTIONS || !headers.contains_key(ORIGIN) {
        return None;
    }
    Method::from_bytes(headers.get("access-control-request-method")?.as_bytes()).ok()
}

/// Keeps the tighter of two standings for the answer's headers.
fn settle(context: &mut Context, standing: Standing) -> Result<(), Refusal> {
    let tighter = context.standing.is_none_or(|known| standing.remaining <= known.remaining);
    if tighter || standing.retry.is_some() {
        context.standing = Some(standing);
    }
    match standing.retry {
        Some(retry) => Err(Refusal::RateLimited { retry }),
        None => Ok(()),
    }
}

fn authorise(policy: &RoutePolicy, method: &Method, credential: &Credential) -> Result<(), Refusal> {
    if policy.auth == AuthRequirement::None {
        return Ok(());
    }
    let session = match credential {
        Credential::Two => return Err(Refusal::TwoCredentials),
        Credential::Bad => return Err(Refusal::InvalidCredential),
        Credential::Unknown => return Err(Refusal::Unavailable),
        Credential::None if policy.auth == AuthRequirement::Required => return Err(Refusal::CredentialRequired),
        Credential::None => return Ok(()),
        Credential::Good(principal) => &principal.session,
    };
    if policy.signed_in_only && !session.is_signed_in() {
        return Err(Refusal::SignInRequired);
    }
    let role = policy.minimum_role.is_none_or(|minimum| session.role_in_force() >= Some(minimum));
    // What answers GET answers HEAD, for the same permissions.
    let name = if *method == Method::HEAD && !policy.permissions.by_method.contains_key("HEAD") {
        "GET"
    } else {
        method.as_str()
    };
    let by_method = policy.permissions.by_method.get(name).into_iter().flatten();
    let held =
        policy.permissions.always.iter().chain(by_method).all(|permission| session.permissions.contains(permission));
    if role && held { Ok(()) } else { Err(Refusal::NotPermitted) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn sr_39_two_lengths_are_malformed() {
        let mut headers = HeaderMap::new();
        assert!(is_framed(&headers));
        headers.insert(CONTENT_LENGTH, HeaderValue::from_static("5"));
        assert!(is_framed(&headers));
        headers.append(CONTENT_LENGTH, HeaderValue::from_static("5"));
        assert!(!is_framed(&headers), "equal ones too");
        headers.insert(CONTENT_LENGTH, HeaderValue::from_static("5"));
        headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        assert!(!is_framed(&headers));
        headers.remove(CONTENT_LENGTH);
        assert!(is_framed(&headers));
    }
}
