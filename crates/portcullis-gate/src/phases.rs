//! The gate: every phase a request passes, in the order it passes them.
//!
//! | phase | why there |
//! |---|---|
//! | identify | everything later logs, traces and answers by the request id |
//! | framing | a request whose length is ambiguous must not be read further |
//! | path | matched on one spelling, the one an upstream gets |
//! | route | 404 and 405 are for everyone, so that they tell nobody anything |
//! | version | needs the route; its refusals come right after 404 |
//! | size | needs the route's limit; nothing was read yet |
//! | CORS | preflights carry no credential and cost no limit |
//! | limit by address | before any work an anonymous client could make us do |
//! | classify | finds out who calls, and refuses nothing |
//! | limit by principal | needs to know who calls |
//! | CSRF | before authentication: another site must not learn who is signed in |
//! | authorise | the last word before the destination |

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use http::header::{
    ACCEPT, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue, ORIGIN, TRANSFER_ENCODING,
};
use http::{Method, Request, Uri};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use portcullis_model::policy::{AuthRequirement, CsrfPolicy, Environment, LimitClass, RoutePolicy};
use portcullis_model::secret::constant_time_eq;
use portcullis_model::{AccessTokens, Clock, Random, SessionSource, SessionState, Timestamp};
use portcullis_telemetry::{InFlight, Metrics};

use crate::body::InboundBody;
use crate::client_address::Origination;
use crate::config::{CsrfMode, GateConfig};
use crate::cookies::{Carried, CookieName, Cookies};
use crate::credential::{Classifier, Credential, Presented};
use crate::csrf::is_pre_session;
use crate::limits::{Limiter, Standing, Subject};
use crate::path;
use crate::permit::Permit;
use crate::refusal::{CsrfReason, Malformation, Refusal};
use crate::request_id::{RequestId, RequestIds, TraceContext};
use crate::route_table::{Destination, Matched, Route};
use crate::streams::LiveStreams;
use crate::versions::{self, ApiPath, VersionFault};

/// The longest request target, in bytes (RFC 9110 §4.1 recommends at least 8000).
const MAX_URL_BYTES: usize = 16 * 1024;
/// The longest body that is looked into for `_csrf`, in bytes (contract §5).
const MAX_CSRF_BODY: u64 = 64 * 1024;
/// How long such a body may take to arrive.
const CSRF_BODY_TIMEOUT: Duration = Duration::from_secs(10);

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

/// What is known of a request whether it is permitted or not.
pub struct Context {
    pub(crate) config: Arc<GateConfig>,
    pub(crate) request_id: RequestId,
    pub(crate) client_request_id: Option<HeaderValue>,
    pub(crate) uri: Uri,
    pub(crate) accept: Option<HeaderValue>,
    pub(crate) flight: Option<InFlight>,
    pub(crate) allowed_origin: Option<HeaderValue>,
    pub(crate) preflight: bool,
    pub(crate) version: Option<usize>,
    pub(crate) standing: Option<Standing>,
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
        let GateParts { tokens, sessions, clock, random, metrics } = parts;
        Self {
            config: ArcSwap::from_pointee(config),
            classifier: Classifier::new(tokens, sessions),
            limiter: Limiter::new(clock.clone()),
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
    /// known here and `_csrf` does not stand in its body.
    pub async fn pass(&self, peer: SocketAddr, request: Request<Incoming>) -> Passage {
        let (parts, body) = request.into_parts();
        let config = self.config.load_full();

        // identify
        let request_id = self.ids.next();
        let mut context = Context {
            request_id,
            client_request_id: parts.headers.get("x-request-id").filter(|id| is_client_request_id(id)).cloned(),
            uri: parts.uri.clone(),
            accept: parts.headers.get(ACCEPT).cloned(),
            flight: None,
            allowed_origin: None,
            preflight: false,
            version: None,
            standing: None,
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
        check_framing(headers)?;
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

        // version
        check_version(&config, &asked, self.clock.now())?;

        // size
        if content_length(headers).is_some_and(|length| route.policy.max_body.exceeded_by(length)) {
            return Err(Refusal::PayloadTooLarge);
        }

        // CORS
        if preflight_for.is_some() {
            context.preflight = true;
            return Err(Refusal::Preflight);
        }

        // limit by address
        let from = Origination::find(peer.ip(), headers, &config.trusted_proxies);
        self.limit_by_address(&config, &route.policy, &from, context)?;

        // classify
        let cookies = Cookies::read(headers, config.environment);
        let presented = Presented::read(headers, &cookies);
        let (credential, cookie_session) = self.classifier.classify(&presented, now).await;

        // limit by principal
        self.limit_by_route(&route, &credential, &from, context)?;

        // CSRF
        let mut body = InboundBody::new(body, route.policy.max_body);
        let csrf_session = cookie_session.as_ref().map(|session| session.id.to_string().into_boxed_str());
        if needs_csrf(&config, &route.policy, &parts.method, &cookies, cookie_session.as_ref()) {
            if cookie_session.is_some() && !crate::origin::same_site(headers, &config, &from) {
                return Err(Refusal::CrossSite);
            }
            let identifier = csrf_session.as_deref().or_else(|| pre_session(&cookies));
            let presented_token = presented_csrf(headers, parts.uri.query(), &mut body).await?;
            check_csrf(&config, &cookies, identifier, presented_token.as_deref())
                .map_err(|reason| Refusal::InvalidCsrf { reason, bearer_only: presented.is_bearer_only() })?;
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
                headers.get("traceparent").and_then(|value| value.to_str().ok()),
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

    fn limit_by_address(
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
        settle(context, self.limiter.take(name, id, rate, Subject::address(from.client)))
    }

    fn limit_by_route(
        &self,
        route: &Route,
        credential: &Credential,
        from: &Origination,
        context: &mut Context,
    ) -> Result<(), Refusal> {
        let Some(rate) = route.policy.rate_limit else { return Ok(()) };
        let subject = match credential {
            Credential::Good(principal) => Subject::User(principal.session.user_id),
            _ => Subject::address(from.client),
        };
        settle(context, self.limiter.take("route", route.limit_id, rate, subject))
    }

    fn count(&self, refusal: &Refusal, context: &Context) {
        match refusal {
            Refusal::InvalidCsrf { reason, .. } => self.metrics.csrf_refusal(reason.as_str()),
            Refusal::CrossSite => self.metrics.csrf_refusal("cross_site"),
            Refusal::RateLimited { .. } => {
                self.metrics.rate_limited(context.standing.map_or("api", |standing| standing.name));
            }
            _ => {}
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

/// The canonical path of a request and what it asked for beside it.
struct Asked<'a> {
    path: Cow<'a, str>,
    version: Option<usize>,
    fault: Option<VersionFault>,
}

/// `/api/x` means `/api/v1/x`; which version is found as the contract orders.
fn locate<'a>(
    config: &GateConfig,
    path: &'a Cow<'_, str>,
    headers: &HeaderMap,
    query: Option<&str>,
    context: &mut Context,
) -> Result<Asked<'a>, Refusal> {
    let versions = &config.versions;
    match versions::split(path) {
        ApiPath::Other => Ok(Asked { path: Cow::Borrowed(path), version: None, fault: None }),
        ApiPath::Invalid => {
            context.version = Some(versions.default_index());
            Err(Refusal::InvalidVersion)
        }
        ApiPath::Versioned { version } => {
            let version = versions.find(version);
            context.version = Some(version.unwrap_or(versions.default_index()));
            // A version that is not served has no routes.
            if version.is_none() {
                return Err(Refusal::NotFound);
            }
            Ok(Asked { path: Cow::Borrowed(path), version, fault: None })
        }
        ApiPath::Alias { rest } => {
            let (version, fault) = match versions.asked(headers, query) {
                Ok(asked) => (asked.unwrap_or(versions.default_index()), None),
                Err(fault) => (versions.default_index(), Some(fault)),
            };
            context.version = Some(version);
            let path = format!("/api/{}/{rest}", versions.get(version).name);
            Ok(Asked { path: Cow::Owned(path), version: Some(version), fault })
        }
    }
}

fn check_version(config: &GateConfig, asked: &Asked<'_>, now: Timestamp) -> Result<(), Refusal> {
    match asked.fault {
        Some(VersionFault::Invalid) => return Err(Refusal::InvalidVersion),
        Some(VersionFault::Unsupported) => {
            let supported = config.versions.supported().into_iter().map(str::to_owned).collect();
            return Err(Refusal::UnsupportedVersion { supported });
        }
        None => {}
    }
    let version = asked.version.map(|index| config.versions.get(index));
    match version {
        Some(version) if version.sunset_at.is_some_and(|at| at <= now) => {
            Err(Refusal::VersionSunset { successor: version.successor.clone() })
        }
        _ => Ok(()),
    }
}

/// Requirement 39, as far as it is not the HTTP parser's.
fn check_framing(headers: &HeaderMap) -> Result<(), Refusal> {
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let first = lengths.next();
    let two_lengths = lengths.any(|other| Some(other) != first);
    if two_lengths || (first.is_some() && headers.contains_key(TRANSFER_ENCODING)) {
        return Err(Refusal::Malformed(Malformation::Framing));
    }
    Ok(())
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
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

fn needs_csrf(
    config: &GateConfig,
    policy: &RoutePolicy,
    method: &Method,
    cookies: &Cookies,
    cookie_session: Option<&Arc<SessionState>>,
) -> bool {
    if matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) {
        return false;
    }
    if config.csrf.mode == CsrfMode::Cookie && cookies.session == Carried::No {
        return false;
    }
    match policy.csrf {
        CsrfPolicy::Checked => true,
        CsrfPolicy::ExemptUnlessCookie => cookie_session.is_some(),
        CsrfPolicy::ExemptButOrigin | CsrfPolicy::Exempt => false,
    }
}

fn pre_session(cookies: &Cookies) -> Option<&str> {
    cookies.pre.value().filter(|value| is_pre_session(value))
}

/// The token beside the cookie: in the header, else in the query, else in a
/// small body, which is read only then and passes on unchanged.
async fn presented_csrf(
    headers: &HeaderMap,
    query: Option<&str>,
    body: &mut InboundBody,
) -> Result<Option<String>, Refusal> {
    let mut values = headers.get_all("x-csrf-token").iter();
    if let Some(value) = values.next() {
        let only = values.next().is_none();
        return Ok(Some(value.to_str().ok().filter(|_| only).unwrap_or_default().to_owned()));
    }
    if let Some(token) =
        query.filter(|query| query.contains("_csrf")).and_then(|query| versions::query_value(query, "_csrf"))
    {
        return Ok(Some(token));
    }
    let small = content_length(headers).is_some_and(|length| length <= MAX_CSRF_BODY);
    if !small || headers.contains_key(CONTENT_ENCODING) {
        return Ok(None);
    }
    let essence = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = essence.split(';').next().unwrap_or_default().trim();
    let json = essence.eq_ignore_ascii_case("application/json");
    if !json && !essence.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        return Ok(None);
    }
    let gathering = tokio::time::timeout(CSRF_BODY_TIMEOUT, std::mem::take(body).collect());
    let bytes = match gathering.await {
        Ok(Ok(collected)) => collected.to_bytes(),
        Ok(Err(crate::body::BodyError::TooLarge)) => return Err(Refusal::PayloadTooLarge),
        Ok(Err(crate::body::BodyError::Transport(_))) | Err(_) => return Err(Refusal::Malformed(Malformation::Body)),
    };
    let token = if json {
        serde_json::from_slice::<WithCsrf>(&bytes).ok().and_then(|form| form.csrf)
    } else {
        form_urlencoded::parse(&bytes).find(|(key, _)| key == "_csrf").map(|(_, value)| value.into_owned())
    };
    *body = InboundBody::gathered(bytes);
    Ok(token)
}

#[derive(serde::Deserialize)]
struct WithCsrf {
    #[serde(rename = "_csrf")]
    csrf: Option<String>,
}

fn check_csrf(
    config: &GateConfig,
    cookies: &Cookies,
    identifier: Option<&str>,
    presented: Option<&str>,
) -> Result<(), CsrfReason> {
    let cookie = match &cookies.csrf {
        Carried::Once(cookie) => cookie,
        Carried::No => return Err(CsrfReason::NoCookie),
        Carried::Twice => return Err(CsrfReason::TwoCookies),
    };
    let presented = presented.ok_or(CsrfReason::NoToken)?;
    if !constant_time_eq(cookie.as_bytes(), presented.as_bytes()) {
        return Err(CsrfReason::Mismatch);
    }
    let signed = identifier.is_some_and(|identifier| config.csrf.tokens.verify(identifier, presented));
    if signed { Ok(()) } else { Err(CsrfReason::Forged) }
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
    let role = policy.minimum_role.is_none_or(|minimum| session.role >= minimum);
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

/// Requirement 42: `_csrf` never reaches an upstream.
fn without_csrf(query: &str) -> Box<str> {
    if !query.contains("_csrf") && !query.contains('%') {
        return query.into();
    }
    let is_csrf = |pair: &&str| form_urlencoded::parse(pair.as_bytes()).next().is_some_and(|(key, _)| key == "_csrf");
    let kept: Vec<&str> = query.split('&').filter(|pair| !is_csrf(pair)).collect();
    kept.join("&").into()
}

/// A client's own request id, if it is one that can be logged (contract §1).
fn is_client_request_id(value: &HeaderValue) -> bool {
    let bytes = value.as_bytes();
    (1..=64).contains(&bytes.len()) && bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(b))
}

impl Context {
    /// The path as the client wrote it.
    pub fn raw_path(&self) -> &str {
        self.uri.path()
    }

    /// Our name for the request.
    pub fn request_id(&self) -> &RequestId {
        &self.request_id
    }

    /// The client's own name for it, for logs.
    pub fn client_request_id(&self) -> Option<&str> {
        self.client_request_id.as_ref().and_then(|value| value.to_str().ok())
    }

    /// The route's template, or `unmatched`.
    pub fn route(&self) -> &str {
        self.flight.as_ref().map_or("unmatched", InFlight::template)
    }

    /// Whether the client prefers a problem document (RFC 9457) to the envelope.
    pub fn prefers_problem(&self) -> bool {
        let Some(accept) = self.accept.as_ref().and_then(|value| value.to_str().ok()) else { return false };
        let quality = |wanted: &str| {
            accept
                .split(',')
                .filter_map(|range| {
                    let mut parts = range.split(';').map(str::trim);
                    parts.next().filter(|kind| kind.eq_ignore_ascii_case(wanted))?;
                    let q = parts.find_map(|p| p.strip_prefix("q=")).and_then(|q| q.parse::<f32>().ok());
                    Some(q.unwrap_or(1.0))
                })
                .fold(0.0f32, f32::max)
        };
        let problem = quality("application/problem+json");
        problem > 0.0 && problem >= quality("application/json")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sr_42_the_token_is_taken_out_of_the_query_in_every_spelling() {
        for (query, left) in [
            ("a=1&_csrf=x&b=2", "a=1&b=2"),
            ("_csrf=x", ""),
            ("%5Fcsrf=x&a=1", "a=1"),
            ("_%63srf=x&a=%20", "a=%20"),
            ("a=_csrf", "a=_csrf"),
            ("_csrf", ""),
        ] {
            assert_eq!(&*without_csrf(query), left, "{query}");
        }
    }

    #[test]
    fn sr_39_two_lengths_are_malformed() {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_LENGTH, HeaderValue::from_static("5"));
        assert!(check_framing(&headers).is_ok());
        headers.append(CONTENT_LENGTH, HeaderValue::from_static("6"));
        assert!(check_framing(&headers).is_err());
        headers.remove(CONTENT_LENGTH);
        headers.insert(CONTENT_LENGTH, HeaderValue::from_static("5"));
        headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        assert!(check_framing(&headers).is_err());
    }

    #[test]
    fn a_client_request_id_is_kept_only_if_it_can_be_logged() {
        for (id, kept) in [
            ("abc-1.2_3", true),
            ("", false),
            ("a b", false),
            ("a\tb", false),
            (&"x".repeat(64), true),
            (&"x".repeat(65), false),
        ] {
            assert_eq!(is_client_request_id(&HeaderValue::from_str(id).expect("a value")), kept, "{id:?}");
        }
    }
}
